//! A folder of files that requests name: from a name to a path.

use std::path::{Path, PathBuf};

use crate::failure::{Failure, Reason};

/// What follows the name of a file.
const ENDING: &str = ".safetensors";
/// What a diffusers directory has.
const CONFIG: &str = "config.json";
/// Folders below the folder that are looked into, and files that are looked at.
const DEPTH: usize = 4;
const MOST_FILES: usize = 10_000;

/// A folder and what lies in it.
pub(super) struct Folder<'a> {
    pub(super) path: &'a Path,
    /// The request's field.
    pub(super) field: &'static str,
    /// What one of them is called.
    pub(super) what: &'static str,
    /// Whether some are diffusers directories.
    pub(super) has_directories: bool,
}

impl Folder<'_> {
    /// Puts the path in the place of a name; an absolute path stays.
    ///
    /// Fails naming the field when nothing has the name, or several have.
    pub(super) fn find(&self, name: &mut String) -> Result<(), Failure> {
        if name.starts_with('/') {
            return Ok(());
        }
        let path = self.locate(name)?;
        *name = path.to_str().map(str::to_owned).ok_or_else(|| {
            let message = format!("the path of the folder of {}s is no UTF-8", self.what);
            Failure::invalid(self.field, message)
        })?;
        Ok(())
    }

    /// What is called `name`: below the folder, or anywhere in it where the name has no folder.
    fn locate(&self, name: &str) -> Result<PathBuf, Failure> {
        let stem = name.strip_suffix(ENDING).unwrap_or(name);
        let direct = self.path.join(format!("{stem}{ENDING}"));
        if direct.is_file() {
            return Ok(direct);
        }
        let direct = self.path.join(name);
        if self.is_directory_of_one(&direct) {
            return Ok(direct);
        }
        let mut found = Vec::new();
        self.list(self.path, DEPTH, &mut found);
        found.sort();
        let fitting = found.iter().filter(|path| {
            let own = path.file_name().and_then(|own| own.to_str());
            own.is_some_and(|own| own.strip_suffix(ENDING).unwrap_or(own) == stem)
        });
        match fitting.collect::<Vec<_>>().as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(self.unknown(name, &found)),
            several => Err(Failure::invalid(
                self.field,
                format!(
                    "there are {} {}s `{name}` in `{}`",
                    several.len(),
                    self.what,
                    self.path.display()
                ),
            )
            .with_hint("name the folder too, as in `styles/ink`")),
        }
    }

    fn unknown(&self, name: &str, found: &[PathBuf]) -> Failure {
        let Self { path, what, .. } = self;
        let message = format!("there is no {what} `{name}` in `{}`", path.display());
        let known: Vec<_> = found
            .iter()
            .filter_map(|file| {
                let name = file.strip_prefix(path).ok()?.to_str()?;
                Some(name.strip_suffix(ENDING).unwrap_or(name))
            })
            .take(10)
            .collect();
        let hint = if known.is_empty() {
            "put its safetensors file there, or give its path".to_owned()
        } else {
            format!("known are `{}`; others by their path", known.join("`, `"))
        };
        Failure::new(Reason::InvalidField, message)
            .with_field(self.field)
            .with_hint(hint)
    }

    fn list(&self, folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if found.len() >= MOST_FILES {
                return;
            }
            if self.is_directory_of_one(&path) {
                found.push(path);
            } else if path.is_dir() {
                if depth > 0 {
                    self.list(&path, depth - 1, found);
                }
            } else if path.extension().is_some_and(|end| end == "safetensors") {
                found.push(path);
            }
        }
    }

    fn is_directory_of_one(&self, path: &Path) -> bool {
        self.has_directories && path.join(CONFIG).is_file()
    }
}
