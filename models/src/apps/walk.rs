//! What lies in folders that may be a model, by names alone: files of weights and diffusers directories.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{Found, Kind};

/// Folders below one that are looked into.
const DEPTH: usize = 5;
/// Files and folders that are looked at, of all folders together.
const MOST_ENTRIES: usize = 20_000;
/// What files of weights end with.
const ENDINGS: [&str; 2] = ["safetensors", "gguf"];
/// What a diffusers directory has.
const INDEX: &str = "model_index.json";

/// Something that may be a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The program that it belongs to.
    pub app: &'static str,
    /// The file, or the diffusers directory.
    pub path: PathBuf,
    /// Bytes of the file, or of the directory's index.
    pub bytes: u64,
    /// When that was written.
    pub modified: Option<SystemTime>,
}

/// Everything in the folders of models that may be one, each file once, in order of folders and paths. Adds to `found` what could
/// not be read.
pub fn candidates(found: &mut Found) -> Vec<Candidate> {
    let mut walk = Walk {
        candidates: Vec::new(),
        troubles: Vec::new(),
        seen: BTreeSet::new(),
        entries: 0,
    };
    for folder in found
        .folders
        .iter()
        .filter(|folder| folder.kind == Kind::Model)
    {
        walk.look(folder.app, &folder.path, DEPTH);
    }
    if walk.entries > MOST_ENTRIES {
        let why = format!(
            "the folders of models have more than {MOST_ENTRIES} files; the rest is not looked at"
        );
        walk.troubles.push(why);
    }
    found.troubles.append(&mut walk.troubles);
    walk.candidates
}

struct Walk {
    candidates: Vec<Candidate>,
    troubles: Vec<String>,
    /// What was looked at, by device and number: links may lead anywhere, in circles as well.
    seen: BTreeSet<(u64, u64)>,
    entries: usize,
}

impl Walk {
    fn look(&mut self, app: &'static str, folder: &Path, depth: usize) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                let why = format!("cannot look into {}: {error}", folder.display());
                return self.troubles.push(why);
            }
        };
        if let Ok(own) = fs::metadata(folder) {
            self.seen.insert((own.dev(), own.ino()));
        }
        let mut paths = Vec::new();
        for entry in entries.flatten() {
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                break;
            }
            let name = entry.file_name();
            if !name.as_encoded_bytes().starts_with(b".") {
                let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                let path = entry.path();
                // A link that leads nowhere is nothing.
                if let Ok(metadata) = fs::metadata(&path) {
                    paths.push((metadata.is_dir(), is_link, path, metadata));
                }
            }
        }
        // What is there itself goes before what a link leads to.
        paths.sort_unstable_by(|one, other| {
            (one.0, one.1, &one.2).cmp(&(other.0, other.1, &other.2))
        });
        for (is_folder, _, path, metadata) in paths {
            let is_weights = || {
                path.extension()
                    .is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
            };
            let is_candidate = is_folder || (metadata.is_file() && is_weights());
            if !is_candidate {
                continue;
            }
            if !self.seen.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            if !is_folder {
                self.take(app, path, &metadata);
            } else if let Ok(index) = fs::metadata(path.join(INDEX)) {
                self.take(app, path, &index);
            } else if depth > 0 {
                self.look(app, &path, depth - 1);
            }
        }
    }

    fn take(&mut self, app: &'static str, path: PathBuf, metadata: &fs::Metadata) {
        self.candidates.push(Candidate {
            app,
            path,
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::super::{AppFolder, Kind};
    use super::*;

    #[test]
    fn files_and_directories_are_found_once_and_circles_end() {
        let root = tempfile::tempdir().unwrap();
        let path = |below: &str| root.path().join(below);
        for folder in ["a/xl/unet", "b", ".git"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        for file in [
            "a/one.safetensors",
            "a/two.gguf",
            "a/no.ckpt",
            "a/xl/model_index.json",
            "a/xl/unet/weights.safetensors",
            ".git/three.safetensors",
        ] {
            fs::write(path(file), "x").unwrap();
        }
        symlink(path("a"), path("b/again")).unwrap();
        symlink(root.path(), path("a/circle")).unwrap();
        symlink("/nonexistent", path("b/nowhere.safetensors")).unwrap();
        symlink(path("a/one.safetensors"), path("b/one too.safetensors")).unwrap();
        let mut found = Found {
            folders: vec![AppFolder {
                app: "x",
                kind: Kind::Model,
                path: root.path().to_owned(),
            }],
            troubles: Vec::new(),
        };
        let names: Vec<_> = candidates(&mut found)
            .iter()
            .map(|one| {
                one.path
                    .strip_prefix(root.path())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(names, ["a/one.safetensors", "a/two.gguf", "a/xl"]);
        assert!(found.troubles.is_empty(), "{:?}", found.troubles);
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_told_and_the_others_are_read() {
        let root = tempfile::tempdir().unwrap();
        let closed = root.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(root.path().join("one.safetensors"), "x").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let is_root = fs::read_dir(&closed).is_ok();
        let gone = root.path().join("gone");
        let folder = |path: PathBuf| AppFolder {
            app: "x",
            kind: Kind::Model,
            path,
        };
        let mut found = Found {
            folders: vec![folder(gone), folder(root.path().to_owned())],
            troubles: Vec::new(),
        };
        assert_eq!(candidates(&mut found).len(), 1);
        // For root nothing is closed.
        assert_eq!(
            found.troubles.len(),
            if is_root { 1 } else { 2 },
            "{:?}",
            found.troubles
        );
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
