//! A batch that the service manager starts: its name, its file of prompts, its folder of pictures.

use std::path::{Path, PathBuf};

use super::{Places, at::At};
use crate::failure::Failure;

/// Forms of a file of prompts that are looked for, by their endings; the first that is there is taken.
const ENDINGS: [&str; 3] = ["txt", "csv", "jsonl"];

/// A name that can be part of a unit's and a file's: letters, digits, `_`, `-`, `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    /// Fails, for a person, where it is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let is_name = (1..=64).contains(&text.len())
            && text.chars().all(is_allowed)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric());
        match is_name {
            true => Ok(Self(text.to_owned())),
            false => Err("must be a name of letters, digits, `_`, `-` and `.`, as of a file without its ending".into()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A batch that is to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) name: Name,
    pub(super) at: At,
    /// The file of prompts.
    pub(super) prompts: PathBuf,
    /// Where its pictures go.
    pub(super) pictures: PathBuf,
}

impl Batch {
    /// Finds its file. Fails, and says how to make one, where there is none.
    pub(super) fn find(name: &Name, at: At, places: &Places) -> Result<Self, Failure> {
        let home = places.home.as_deref().ok_or_else(no_home)?;
        let folder = prompts_folder(places).ok_or_else(no_home)?;
        let file = |ending: &&str| folder.join(format!("{}.{ending}", name.as_str()));
        let mut files = ENDINGS.iter().map(file);
        let Some(prompts) = files.find(|path| path.is_file()) else {
            let wanted = folder.join(format!("{}.txt", name.as_str()));
            return Err(Failure::usage(format!(
                "there is no file of prompts `{}` (nor one that ends in .csv or .jsonl)",
                wanted.display()
            ))
            .field("batch")
            .hint(format!(
                "write a prompt a line into it; `mkdir -p '{}'` makes its folder",
                folder.display()
            )));
        };
        Ok(Self {
            name: name.clone(),
            at,
            prompts,
            pictures: home.join("Pictures/imgd").join(name.as_str()),
        })
    }

    /// The ending of its file.
    pub(super) fn ending(&self) -> &str {
        let ending = self.prompts.extension().and_then(|ending| ending.to_str());
        ending.unwrap_or(ENDINGS[0])
    }
}

/// Where files of prompts lie: beside imgd's configuration.
fn prompts_folder(places: &Places) -> Option<PathBuf> {
    let config = if cfg!(target_os = "macos") {
        places.home.as_deref()?.join("Library/Application Support")
    } else {
        config_home(places)?
    };
    Some(config.join("imgd/batch"))
}

/// `$XDG_CONFIG_HOME`, or where it is without that.
pub(super) fn config_home(places: &Places) -> Option<PathBuf> {
    let usual = || {
        places
            .home
            .as_deref()
            .map(|home: &Path| home.join(".config"))
    };
    places.config_home.clone().or_else(usual)
}

pub(super) fn no_home() -> Failure {
    Failure::usage("HOME is not set: there is no place to install anything")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_folder_or_its_unit() {
        for right in ["wallpapers", "a-b_c.2"] {
            assert_eq!(Name::parse(right).unwrap().as_str(), right);
        }
        for wrong in [
            "",
            "..",
            "a/b",
            "-x",
            "a b",
            "a%i",
            ".x",
            "ä",
            &"a".repeat(65),
        ] {
            assert!(Name::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    #[cfg(not(target_os = "macos"))]
    fn a_missing_file_of_prompts_is_said_and_any_form_is_found() {
        let home = tempfile::tempdir().unwrap();
        let places = Places {
            home: Some(home.path().to_owned()),
            ..Places::default()
        };
        let name = Name::parse("night").unwrap();
        let find = || Batch::find(&name, "03:00".parse().unwrap(), &places);
        let failure = find().unwrap_err();
        assert!(failure.message.contains(".config/imgd/batch/night.txt"));
        let folder = home.path().join(".config/imgd/batch");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("night.csv"), "prompt\nx\n").unwrap();
        let batch = find().unwrap();
        assert_eq!(batch.ending(), "csv");
        assert_eq!(batch.pictures, home.path().join("Pictures/imgd/night"));
    }
}
