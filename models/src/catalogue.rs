//! The models that have a name: one file each in `models/<family>/<model>.toml`, compiled in.
//!
//! A file says where a model comes from, under which licence, and with which settings its authors draw. It says no hash and
//! no commit: those are what the hub states when a model is fetched first.

use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::source::Source;

/// THE LIST of files, those of one family together.
const FILES: &[&str] = &[
    include_str!("../sd/1.5.toml"),
    include_str!("../sd/1.5-inpaint.toml"),
    include_str!("../sd/turbo.toml"),
    include_str!("../sd/dreamshaper-8.toml"),
    include_str!("../sd/realistic-vision.toml"),
    include_str!("../sdxl/base.toml"),
    include_str!("../sdxl/turbo.toml"),
    include_str!("../sdxl/inpaint.toml"),
    include_str!("../sdxl/dreamshaper.toml"),
    include_str!("../sdxl/realvis.toml"),
    include_str!("../sdxl/juggernaut.toml"),
    include_str!("../sdxl/animagine.toml"),
    include_str!("../sd3/medium.toml"),
    include_str!("../sd3/3.5-medium.toml"),
    include_str!("../sd3/3.5-large.toml"),
    include_str!("../sd3/3.5-large-turbo.toml"),
    include_str!("../flux/schnell.toml"),
    include_str!("../flux/dev.toml"),
    include_str!("../flux/krea.toml"),
    include_str!("../flux2/klein-4b.toml"),
    include_str!("../flux2/klein-9b.toml"),
    include_str!("../flux2/klein-base-4b.toml"),
    include_str!("../z-image/turbo.toml"),
    include_str!("../z-image/base.toml"),
    include_str!("../qwen-image/base.toml"),
    include_str!("../qwen-image/2512.toml"),
];

/// A model that has a name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `family:variant`.
    pub name: String,
    /// Other names, besides `family-variant`.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What it is, in a few words.
    pub title: String,
    /// Where it comes from.
    #[serde(deserialize_with = "source")]
    pub source: Source,
    /// Parameters of all parts that are loaded, in thousands of millions, as its authors count them; rounded.
    pub parameters_billions: f64,
    /// What it may be used for.
    pub licence: Licence,
    /// What a request gets that names nothing. What is silent here is as the model's own files say.
    pub defaults: Defaults,
}

/// What a model may be used for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// Its name, as in SPDX where that has one.
    pub name: String,
    /// Where to read it.
    pub url: String,
    /// Whether the hub asks for a name and consent before it hands the files out.
    pub gated: bool,
}

/// Settings of a request. A request that says one keeps its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// The sampler.
    pub sampler: Option<String>,
    /// The schedule; only with a sampler.
    pub schedule: Option<String>,
    /// Steps.
    pub num_inference_steps: u32,
    /// Guidance scale.
    pub guidance_scale: f64,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
}

impl Entry {
    /// `family` of `family:variant`.
    pub fn family(&self) -> &str {
        self.name.split(':').next().unwrap_or_default()
    }

    /// Every name that leads here: its own, that with `-`, and its aliases.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let aliases = self.aliases.iter().cloned();
        [self.name.clone(), self.name.replace(':', "-")]
            .into_iter()
            .chain(aliases)
    }

    /// Bytes that the weights take in memory at two bytes a parameter; twice as much in float32. From the count of
    /// parameters: what a model really takes is known once its files are there.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few thousand millions, rounded on purpose"
    )]
    pub fn weights_bytes(&self) -> u64 {
        (self.parameters_billions * 2e9) as u64
    }
}

/// Every model that has a name.
pub fn catalogue() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        FILES
            .iter()
            .map(|text| toml::from_str(text).expect("a test reads every file of the list"))
            .collect()
    });
    &ENTRIES
}

/// The model of that name or alias, however its letters are cased.
pub fn entry(name: &str) -> Option<&'static Entry> {
    let name = name.to_ascii_lowercase();
    catalogue()
        .iter()
        .find(|entry| entry.names().any(|known| known == name))
}

/// Names that begin with what was asked for, or lie in a family of that name.
pub fn nearest(name: &str) -> Vec<&'static str> {
    let name = name.to_ascii_lowercase();
    let starts = |entry: &&Entry| entry.names().any(|known| known.starts_with(&name));
    let found = catalogue().iter().filter(starts);
    found.map(|entry| entry.name.as_str()).collect()
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Source, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use super::*;

    /// The file of an entry below `models/`.
    fn file_of(entry: &Entry) -> PathBuf {
        let (family, variant) = entry.name.split_once(':').unwrap_or_default();
        Path::new(family).join(format!("{variant}.toml"))
    }

    #[test]
    fn every_file_is_in_the_list_and_named_as_its_model() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut on_disk = BTreeSet::new();
        for family in fs::read_dir(root).unwrap() {
            let family = family.unwrap().path();
            for file in family
                .is_dir()
                .then(|| fs::read_dir(&family).unwrap())
                .into_iter()
                .flatten()
            {
                let path = file.unwrap().path();
                if path.extension() == Some("toml".as_ref()) {
                    on_disk.insert(path.strip_prefix(root).unwrap().to_path_buf());
                }
            }
        }
        let listed: BTreeSet<_> = catalogue().iter().map(file_of).collect();
        assert_eq!(listed, on_disk);
        assert_eq!(catalogue().len(), listed.len());
    }

    #[test]
    fn a_name_belongs_to_one_model() {
        let mut names = BTreeSet::from(["starter".to_owned()]);
        for name in catalogue().iter().flat_map(Entry::names) {
            assert_eq!(name, name.to_ascii_lowercase());
            assert!(!name.contains('/') && names.insert(name.clone()), "{name}");
        }
    }

    #[test]
    fn settings_are_of_sane_size() {
        for entry in catalogue() {
            let defaults = &entry.defaults;
            assert!(
                (1..=60).contains(&defaults.num_inference_steps),
                "{}",
                entry.name
            );
            assert!(
                (0.0..=10.0).contains(&defaults.guidance_scale),
                "{}",
                entry.name
            );
            for side in [defaults.width_px, defaults.height_px] {
                assert!(
                    side.is_multiple_of(16) && (512..=1328).contains(&side),
                    "{}",
                    entry.name
                );
            }
            assert!(
                defaults.schedule.is_none() || defaults.sampler.is_some(),
                "{}",
                entry.name
            );
            assert!(
                (0.5..=40.0).contains(&entry.parameters_billions),
                "{}",
                entry.name
            );
            assert!(entry.licence.url.starts_with("https://"), "{}", entry.name);
        }
    }

    #[test]
    fn models_are_found_by_any_of_their_names() {
        for name in ["flux:schnell", "flux-schnell", "FLUX-Schnell", "schnell"] {
            assert_eq!(entry(name).unwrap().name, "flux:schnell", "{name}");
        }
        assert_eq!(entry("flux"), None);
        assert!(nearest("flux").contains(&"flux:dev"));
    }
}
