//! A folder of files that requests name: which there are, and what is said where there is none.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Folders below it that are looked into, and files that are looked at.
const DEPTH: usize = 4;
const MOST_FILES: usize = 10_000;

/// What lies in a folder.
pub(super) struct Kind {
    /// One of them, as in "there is no LoRA".
    pub(super) one: &'static str,
    /// All of them.
    pub(super) all: &'static str,
    /// What files' names end with, the best first.
    pub(super) endings: &'static [&'static str],
    /// A file that folders have which are one of them by themselves.
    pub(super) folder_has: Option<&'static str>,
    /// What to do where there is none at all.
    pub(super) advice: &'static str,
    /// What follows the names that there are.
    pub(super) or_else: &'static str,
}

/// The files of a folder, read once.
pub(super) struct Folder<'a> {
    root: &'a Path,
    kind: &'static Kind,
    /// Name, which is the path in the folder without its ending; the place of the ending; path. In order.
    files: Vec<(String, usize, PathBuf)>,
}

impl<'a> Folder<'a> {
    pub(super) fn read(root: &'a Path, kind: &'static Kind) -> Self {
        let mut folder = Self {
            root,
            kind,
            files: Vec::new(),
        };
        folder.list(root, DEPTH);
        folder.files.sort();
        folder
    }

    /// The names of the files without their folders.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(name, _, _)| last(name))
    }

    /// The file `name`, with or without its ending: below the folder, or anywhere in it where the name has no folder.
    ///
    /// Fails where there is none or where there are several; `field` is the request's that names it.
    pub(super) fn locate(&self, name: &str, field: &'static str) -> Result<&Path, Failure> {
        let endings = self.kind.endings.iter();
        let stem = endings.clone().find_map(|ending| name.strip_suffix(ending));
        let stem = stem.unwrap_or(name);
        let direct = self.files.iter().find(|(other, _, _)| other == stem);
        if let Some((_, _, path)) = direct {
            return Ok(path);
        }
        let fitting: Vec<_> = self
            .files
            .iter()
            .filter(|(other, _, _)| last(other) == stem)
            .collect();
        let best = fitting.iter().map(|(_, ending, _)| *ending).min();
        let mut fitting = fitting
            .into_iter()
            .filter(|(_, ending, _)| Some(*ending) == best);
        match (fitting.next(), fitting.count()) {
            (None, _) => Err(self.unknown(name, field)),
            (Some((_, _, path)), 0) => Ok(path),
            (Some(_), others) => {
                let message = format!(
                    "there are {} {} `{name}` in `{}`",
                    others + 1,
                    self.kind.all,
                    self.root.display()
                );
                Err(Failure::invalid(field, message)
                    .with_hint("name the folder too, as in `styles/ink`"))
            }
        }
    }

    fn unknown(&self, name: &str, field: &'static str) -> Failure {
        let message = format!(
            "there is no {} `{name}` in `{}`",
            self.kind.one,
            self.root.display()
        );
        let known = self.files.iter().map(|(name, _, _)| name.as_str());
        let known: Vec<_> = known.take(10).collect();
        let hint = if known.is_empty() {
            self.kind.advice.to_owned()
        } else {
            format!("known are `{}`{}", known.join("`, `"), self.kind.or_else)
        };
        Failure::invalid(field, message).with_hint(hint)
    }

    fn list(&mut self, folder: &Path, depth: usize) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if self.files.len() >= MOST_FILES {
                return;
            }
            let below = path.strip_prefix(self.root).ok().and_then(Path::to_str);
            let mark = self.kind.folder_has;
            if let Some(below) = below
                && mark.is_some_and(|mark| path.join(mark).is_file())
            {
                self.files.push((below.to_owned(), 0, path));
                continue;
            }
            if path.is_dir() {
                if depth > 0 {
                    self.list(&path, depth - 1);
                }
                continue;
            }
            let named = below.and_then(|below| {
                let mut endings = self.kind.endings.iter().enumerate();
                endings.find_map(|(place, ending)| Some((below.strip_suffix(ending)?, place)))
            });
            if let Some((name, place)) = named {
                self.files.push((name.to_owned(), place, path));
            }
        }
    }
}

/// A name without its folders.
fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
