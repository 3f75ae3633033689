//! A folder of files that requests name: which there are, and what is said where there is none.

use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::found::ambiguous;
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

/// The files of a folder of ours and of those that other programs have, read once.
pub(super) struct Folder<'a> {
    root: &'a Path,
    kind: &'static Kind,
    files: Vec<Named>,
    /// Those of other programs, which are looked at where ours has none.
    others: Vec<Named>,
}

/// Name, which is the path in the folder without its ending; the place of the ending; path. In order.
type Named = (String, usize, PathBuf);

impl<'a> Folder<'a> {
    pub(super) fn read(root: &'a Path, others: &[PathBuf], kind: &'static Kind) -> Self {
        Self {
            files: files(root, kind),
            ..Self::of_others(root, others, kind)
        }
    }

    /// Folders of other programs alone; `root` is what messages name.
    pub(super) fn of_others(root: &'a Path, others: &[PathBuf], kind: &'static Kind) -> Self {
        let mut theirs: Vec<_> = others.iter().flat_map(|root| files(root, kind)).collect();
        theirs.sort();
        Self {
            root,
            kind,
            files: Vec::new(),
            others: theirs,
        }
    }

    /// The names of the files without their folders.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let all = self.files.iter().chain(&self.others);
        all.map(|(name, _, _)| last(name))
    }

    /// The file `name`, with or without its ending: below the folder, or anywhere in it where the name has no folder; else in those of
    /// other programs.
    ///
    /// Fails where there is none or where there are several; `field` is the request's that names it.
    pub(super) fn locate(&self, name: &str, field: &'static str) -> Result<&Path, Failure> {
        let endings = self.kind.endings.iter();
        let stem = endings.clone().find_map(|ending| name.strip_suffix(ending));
        let stem = stem.unwrap_or(name);
        let ours = best(&self.files, stem);
        let fitting = if ours.is_empty() {
            best(&self.others, stem)
        } else {
            ours
        };
        match fitting.as_slice() {
            [] => Err(self.unknown(name, field)),
            [only] => Ok(only),
            several => {
                let what = format!("{} are called `{name}`", self.kind.all);
                let paths: Vec<_> = several.iter().map(|path| (*path).to_owned()).collect();
                Err(ambiguous(field, &what, &paths))
            }
        }
    }

    /// The paths of the files, ours first, in order of their names.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        let all = self.files.iter().chain(&self.others);
        all.map(|(_, _, path)| path.as_path())
    }

    /// How a name is spelled here that was written in other upper and lower case; the first such.
    pub(super) fn spelled(&self, name: &str) -> Option<String> {
        let lower = name.to_lowercase();
        let endings = self.kind.endings.iter();
        let stem = endings
            .clone()
            .find_map(|ending| lower.strip_suffix(ending));
        let stem = stem.unwrap_or(&lower);
        let is_same = |name: &str| name.to_lowercase() == stem;
        let all = self.files.iter().chain(&self.others);
        let mut names = all.map(|(name, _, _)| name.as_str());
        names
            .find(|name| is_same(name) || is_same(last(name)))
            .map(str::to_owned)
    }

    /// What is said where none is named and there is none.
    pub(super) fn unknown_any(&self, field: &'static str) -> Failure {
        let message = format!("there is no {} in `{}`", self.kind.one, self.root.display());
        Failure::invalid(field, message).with_hint(self.kind.advice)
    }

    fn unknown(&self, name: &str, field: &'static str) -> Failure {
        let elsewhere = if self.others.is_empty() {
            ""
        } else {
            ", nor in the folders of other programs"
        };
        let message = format!(
            "there is no {} `{name}` in `{}`{elsewhere}",
            self.kind.one,
            self.root.display()
        );
        let all = self.files.iter().chain(&self.others);
        let known: Vec<_> = all.map(|(name, _, _)| name.as_str()).take(10).collect();
        let hint = if known.is_empty() {
            self.kind.advice.to_owned()
        } else {
            format!("known are `{}`{}", known.join("`, `"), self.kind.or_else)
        };
        Failure::invalid(field, message).with_hint(hint)
    }
}

/// The files that are called `stem`: by their whole name, else by its end; those of the best ending, and each file once.
fn best<'a>(files: &'a [Named], stem: &str) -> Vec<&'a Path> {
    let whole = |(name, _, _): &&Named| name == stem;
    let end = |(name, _, _): &&Named| last(name) == stem;
    let fitting: Vec<_> = match files.iter().any(|file| whole(&file)) {
        true => files.iter().filter(whole).collect(),
        false => files.iter().filter(end).collect(),
    };
    let best = fitting.iter().map(|(_, ending, _)| *ending).min();
    let fitting = fitting
        .into_iter()
        .filter(|(_, ending, _)| Some(*ending) == best);
    let paths: Vec<_> = fitting.map(|(_, _, path)| path.as_path()).collect();
    if paths.len() < 2 {
        return paths;
    }
    // Programs share files by links.
    let mut seen = BTreeSet::new();
    let is_new = |path: &&Path| {
        let Ok(metadata) = std::fs::metadata(path) else {
            return true;
        };
        seen.insert((metadata.dev(), metadata.ino()))
    };
    paths.into_iter().filter(is_new).collect()
}

/// The files of a folder and of those in it, in order.
fn files(root: &Path, kind: &'static Kind) -> Vec<Named> {
    let mut files = Vec::new();
    list(root, (root, kind), DEPTH, &mut files);
    files.sort();
    files
}

fn list(folder: &Path, (root, kind): (&Path, &'static Kind), depth: usize, files: &mut Vec<Named>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if files.len() >= MOST_FILES {
            return;
        }
        let below = path.strip_prefix(root).ok().and_then(Path::to_str);
        let mark = kind.folder_has;
        if let Some(below) = below
            && mark.is_some_and(|mark| path.join(mark).is_file())
        {
            files.push((below.to_owned(), 0, path));
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                list(&path, (root, kind), depth - 1, files);
            }
            continue;
        }
        let named = below.and_then(|below| {
            let mut endings = kind.endings.iter().enumerate();
            endings.find_map(|(place, ending)| Some((below.strip_suffix(ending)?, place)))
        });
        if let Some((name, place)) = named {
            files.push((name.to_owned(), place, path));
        }
    }
}

/// A name without its folders.
fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind {
        one: "LoRA",
        all: "LoRAs",
        endings: &[".safetensors"],
        folder_has: None,
        advice: "put one there",
        or_else: "",
    };

    #[test]
    fn ours_go_first_and_what_several_programs_have_is_told_apart_by_paths() {
        let root = tempfile::tempdir().unwrap();
        let path = |below: &str| root.path().join(below);
        for file in [
            "own/ink",
            "a/ink",
            "a/oil",
            "b/sub/oil",
            "a/once",
            "b/pen",
            "b/sub/pen",
        ] {
            let file = path(&format!("{file}.safetensors"));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let linked = path("b/once.safetensors");
        std::os::unix::fs::symlink(path("a/once.safetensors"), linked).unwrap();
        let own = path("own");
        let folder = Folder::read(&own, &[path("a"), path("b")], &KIND);
        let located = |name: &str| folder.locate(name, "loras");
        assert_eq!(located("ink").unwrap(), path("own/ink.safetensors"));
        assert_eq!(located("once").unwrap(), path("a/once.safetensors"));
        // The whole name goes before the end of another.
        assert_eq!(located("oil").unwrap(), path("a/oil.safetensors"));
        assert_eq!(located("sub/oil").unwrap(), path("b/sub/oil.safetensors"));
        std::fs::write(path("b/oil.safetensors"), "").unwrap();
        let folder = Folder::read(&own, &[path("a"), path("b")], &KIND);
        let failure = folder.locate("oil", "loras").unwrap_err();
        for part in [
            "2 LoRAs are called `oil`",
            "a/oil.safetensors",
            "b/oil.safetensors",
        ] {
            assert!(failure.message.contains(part), "{failure}");
        }
        let failure = folder.locate("nobody", "loras").unwrap_err();
        assert!(
            failure
                .message
                .contains("nor in the folders of other programs"),
            "{failure}"
        );
    }
}
