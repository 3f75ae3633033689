//! Models of other programs on the machine, by names that tell them apart.
//!
//! A name is what a user would type: that of the file without its ending, with as many folders before it as are needed. It follows from
//! the names of all files; what is in them is looked at when they are listed, and remembered for as long as a file does not change.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use imgd_engine::recognise::{Recognised, recognise};
use imgd_models::apps::{self, AppPlace, Candidate, Kind};
use imgd_proto::limits;

use crate::failure::{Failure, Reason};

/// Longest part of a path that names tell apart: a file in three folders.
const MOST_PARTS: usize = 4;

/// Paths that a message names.
const TOLD: usize = 4;

/// Where other programs are, and what was seen there.
#[derive(Debug, Clone, Default)]
pub struct FoundModels {
    places: Vec<AppPlace>,
    home: Option<PathBuf>,
    seen: Arc<Mutex<BTreeMap<PathBuf, Seen>>>,
}

/// What a file was when it was looked at.
#[derive(Debug)]
struct Seen {
    bytes: u64,
    modified: Option<SystemTime>,
    recognised: Option<Recognised>,
}

/// A model of another program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundModel {
    pub(super) name: String,
    pub(super) app: &'static str,
    pub(super) path: PathBuf,
    pub(super) recognised: Recognised,
}

impl FoundModels {
    /// The models in `places`; `home` is the user's home directory.
    pub fn new(places: Vec<AppPlace>, home: Option<PathBuf>) -> Self {
        Self {
            places,
            home,
            seen: Arc::default(),
        }
    }

    /// The folders of one kind, of all programs.
    pub(super) fn folders(&self, kind: Kind) -> Vec<PathBuf> {
        let found = apps::folders(&self.places, self.home.as_deref());
        found.of(kind).map(Path::to_owned).collect()
    }

    /// The file or directory of that name; none where no file has it.
    ///
    /// Fails naming the paths where several have.
    pub(super) fn find(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        let fitting: Vec<_> = self
            .candidates()
            .0
            .into_iter()
            .map(|candidate| candidate.path)
            .filter(|path| forms(path).any(|form| form == name))
            .collect();
        match fitting.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only.clone())),
            several => Err(ambiguous(
                "model",
                &format!("models are called `{name}`"),
                several,
            )),
        }
    }

    /// The name that leads to this path alone, and is not taken; none where it lies in no program's folder of models.
    pub(super) fn name_of(&self, path: &Path, is_taken: impl Fn(&str) -> bool) -> Option<String> {
        // Most paths lie elsewhere: nothing is walked for those.
        if !self
            .folders(Kind::Model)
            .iter()
            .any(|folder| path.starts_with(folder))
        {
            return None;
        }
        let (candidates, _) = self.candidates();
        let counts = counts(&candidates);
        let candidate = candidates.iter().find(|candidate| candidate.path == path)?;
        Some(name(&candidate.path, &counts, is_taken))
    }

    /// The names of all files that may be a model.
    pub(super) fn names(&self, is_taken: impl Fn(&str) -> bool) -> Vec<String> {
        let (candidates, _) = self.candidates();
        let counts = counts(&candidates);
        let names = candidates.iter();
        names
            .map(|candidate| name(&candidate.path, &counts, &is_taken))
            .collect()
    }

    /// Every model that is one of a known family, and what could not be read. `is_taken` says that a name means another model.
    pub(super) fn list(&self, is_taken: impl Fn(&str) -> bool) -> (Vec<FoundModel>, Vec<String>) {
        let (candidates, troubles) = self.candidates();
        let counts = counts(&candidates);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // What is gone is forgotten.
        let mut before = std::mem::take(&mut *seen);
        let mut models = Vec::new();
        for candidate in candidates {
            let known = before.remove(&candidate.path).filter(|seen| {
                (seen.bytes, seen.modified) == (candidate.bytes, candidate.modified)
            });
            let known = known.unwrap_or_else(|| look(&candidate));
            if let Some(recognised) = &known.recognised {
                models.push(FoundModel {
                    name: name(&candidate.path, &counts, &is_taken),
                    app: candidate.app,
                    path: candidate.path.clone(),
                    recognised: recognised.clone(),
                });
            }
            seen.insert(candidate.path, known);
        }
        (models, troubles)
    }

    fn candidates(&self) -> (Vec<Candidate>, Vec<String>) {
        let mut found = apps::folders(&self.places, self.home.as_deref());
        let candidates = apps::candidates(&mut found);
        (candidates, found.troubles)
    }
}

/// Reads the header. A file that cannot be read is no model.
fn look(candidate: &Candidate) -> Seen {
    let recognised = recognise(&candidate.path).unwrap_or_else(|error| {
        tracing::debug!("{} is passed over: {error}", candidate.path.display());
        None
    });
    Seen {
        bytes: candidate.bytes,
        modified: candidate.modified,
        recognised,
    }
}

/// The failure of a name that several files have.
pub(super) fn ambiguous(field: &'static str, what: &str, paths: &[PathBuf]) -> Failure {
    let shown = paths
        .iter()
        .take(TOLD)
        .map(|path| format!("`{}`", path.display()));
    let shown = shown.collect::<Vec<_>>().join(", ");
    let more = if paths.len() > TOLD {
        " and others"
    } else {
        ""
    };
    let message = format!("{} {what}: {shown}{more}", paths.len());
    Failure::new(Reason::InvalidField, message)
        .with_field(field)
        .with_hint("name the folder too, as in `folder/name`, or give the path")
}

/// What a path may be called, the shortest first: with and without the ending, with none to three folders before it.
fn forms(path: &Path) -> impl Iterator<Item = String> {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let is_utf8 = parts.len() == path.iter().count();
    let whole = parts.join("/").replacen("//", "/", 1);
    let stem = if path
        .extension()
        .is_some_and(|ending| ending == "safetensors" || ending == "gguf")
    {
        let bare = path.with_extension("");
        bare.file_name()
            .and_then(|name| name.to_str())
            .map(str::to_owned)
    } else {
        None
    };
    let last = parts.last().copied().unwrap_or_default().to_owned();
    let folders: Vec<String> = (0..MOST_PARTS.min(parts.len().saturating_sub(1)))
        .map(|count| {
            let folders = &parts[parts.len() - 1 - count..parts.len() - 1];
            folders.iter().map(|folder| format!("{folder}/")).collect()
        })
        .collect();
    let named = folders.into_iter().flat_map(move |before| {
        let bare = stem.as_ref().map(|stem| format!("{before}{stem}"));
        bare.into_iter().chain([format!("{before}{last}")])
    });
    // A name that no request may give is none.
    named
        .chain([whole])
        .filter(move |form| is_utf8 && limits::validate_model(form).is_ok())
}

/// How many files each name leads to.
fn counts(candidates: &[Candidate]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for form in candidates
        .iter()
        .flat_map(|candidate| forms(&candidate.path))
    {
        *counts.entry(form).or_default() += 1;
    }
    counts
}

/// The shortest name that is this path's alone.
fn name(path: &Path, counts: &BTreeMap<String, usize>, is_taken: impl Fn(&str) -> bool) -> String {
    forms(path)
        .find(|form| counts.get(form) == Some(&1) && !is_taken(form))
        .unwrap_or_else(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A safetensors file that has these tensors, of one number each.
    fn safetensors(tensors: &[&str]) -> Vec<u8> {
        let entry = |(at, name): (usize, &&str)| {
            let (start, end) = (4 * at, 4 * at + 4);
            format!(r#""{name}":{{"dtype":"F32","shape":[1],"data_offsets":[{start},{end}]}}"#)
        };
        let entries: Vec<_> = tensors.iter().enumerate().map(entry).collect();
        let header = format!("{{{}}}", entries.join(","));
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes(), &vec![0; 4 * tensors.len()]].concat()
    }

    const SDXL: &[&str] = &["model.diffusion_model.label_emb.0.0.weight"];

    fn house(files: &[(&str, &[&str])]) -> (tempfile::TempDir, FoundModels) {
        let root = tempfile::tempdir().unwrap();
        for (file, tensors) in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, safetensors(tensors)).unwrap();
        }
        let found = FoundModels::new(
            vec![AppPlace {
                path: root.path().to_owned(),
                is_named: true,
            }],
            None,
        );
        (root, found)
    }

    fn names(found: &FoundModels) -> Vec<String> {
        found
            .list(|name| name == "taken")
            .0
            .into_iter()
            .map(|model| model.name)
            .collect()
    }

    #[test]
    fn names_are_as_long_as_they_must_be() {
        let (root, found) = house(&[
            ("models/checkpoints/dream.safetensors", SDXL),
            ("models/checkpoints/xl/sharp (v2).safetensors", SDXL),
            ("models/checkpoints/xl/twice.safetensors", SDXL),
            ("models/checkpoints/old/twice.safetensors", SDXL),
            ("models/checkpoints/-odd.safetensors", SDXL),
            ("models/checkpoints/taken.safetensors", SDXL),
            ("models/checkpoints/adapter.safetensors", &["lora.up"]),
        ]);
        let odd = root
            .path()
            .join("models/checkpoints/-odd.safetensors")
            .display()
            .to_string();
        assert_eq!(
            names(&found),
            [
                odd.as_str(),
                "dream",
                "taken.safetensors",
                "old/twice",
                "sharp (v2)",
                "xl/twice"
            ]
        );
        for (name, path) in [
            ("dream", "dream.safetensors"),
            ("dream.safetensors", "dream.safetensors"),
            ("checkpoints/dream", "dream.safetensors"),
            ("xl/twice", "xl/twice.safetensors"),
        ] {
            let path = root.path().join("models/checkpoints").join(path);
            assert_eq!(found.find(name).unwrap(), Some(path.clone()), "{name}");
            assert!(names(&found).contains(&found.name_of(&path, |_| false).unwrap()));
        }
        assert_eq!(found.find("../dream").unwrap(), None);
        assert_eq!(found.find("nobody").unwrap(), None);
        assert_eq!(
            found.name_of(Path::new("/elsewhere/dream.safetensors"), |_| false),
            None
        );
        let failure = found.find("twice").unwrap_err();
        assert!(
            failure.message.contains("xl/twice.safetensors"),
            "{failure}"
        );
        assert!(
            failure.message.contains("old/twice.safetensors"),
            "{failure}"
        );
    }

    #[test]
    fn what_is_in_files_counts_and_is_looked_at_again_when_they_change() {
        let (root, found) = house(&[("models/checkpoints/one.safetensors", SDXL)]);
        let listed = found.list(|_| false).0;
        assert_eq!(listed[0].recognised.family, "sdxl");
        assert!(listed[0].recognised.lacks.contains(&"vae"), "{listed:?}");
        assert_eq!(listed[0].app, "ComfyUI");
        let path = root.path().join("models/checkpoints/one.safetensors");
        std::fs::write(&path, safetensors(&["lora.up", "lora.down"])).unwrap();
        assert!(names(&found).is_empty());
        // A damaged one is passed over.
        std::fs::write(&path, "short").unwrap();
        assert!(names(&found).is_empty());
    }
}
