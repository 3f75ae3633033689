//! The layout of the Hugging Face cache, for reading.
//!
//! A repository is a folder `models--org--name` with `blobs/<hash>`, `snapshots/<commit>/<path>` (links to blobs) and
//! `refs/<revision>` (files that hold a commit). Source: huggingface_hub, "Understand caching".

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use crate::{
    grammar::{is_commit, is_revision},
    source::{RepoId, Source},
};

/// The reference that `imgctl pull` keeps beside those of branches: the commit that it fetched last.
pub const PIN: &str = "imgd";

/// The cache below one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubCache {
    root: PathBuf,
}

impl HubCache {
    /// The cache in this folder, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A repository's folder.
    pub fn repository(&self, repo: &RepoId) -> PathBuf {
        self.root.join(repo.folder())
    }

    /// The folder of a repository's contents, each named by its hash.
    pub fn blobs(&self, repo: &RepoId) -> PathBuf {
        self.repository(repo).join("blobs")
    }

    /// The folder of a commit's files. `commit` is checked by [`is_commit`].
    pub fn snapshot(&self, repo: &RepoId, commit: &str) -> PathBuf {
        self.repository(repo).join("snapshots").join(commit)
    }

    /// The file that holds a revision's commit. `revision` is checked by [`is_revision`].
    pub fn reference(&self, repo: &RepoId, revision: &str) -> PathBuf {
        self.repository(repo).join("refs").join(revision)
    }

    /// The file whose lock is held while a blob is fetched, by huggingface_hub as well.
    pub fn lock(&self, repo: &RepoId, blob: &str) -> PathBuf {
        let locks = self.root.join(".locks").join(repo.folder());
        locks.join(format!("{blob}.lock"))
    }

    /// The commit that a revision was when it was fetched last.
    pub fn commit(&self, repo: &RepoId, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        if !is_revision(revision) {
            return None;
        }
        let mut text = String::new();
        let file = fs::File::open(self.reference(repo, revision)).ok()?;
        file.take(100).read_to_string(&mut text).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// The commit that a source means here: that of its revision, else the one pinned, else that of `main`.
    pub fn commit_of(&self, source: &Source) -> Option<String> {
        match &source.revision {
            Some(revision) => self.commit(&source.repo, revision),
            None => {
                let pinned = self.commit(&source.repo, PIN);
                pinned.or_else(|| self.commit(&source.repo, "main"))
            }
        }
    }

    /// The model's directory or file, where the cache has it: a file that was named, else a diffusers directory, else
    /// the one safetensors file of the snapshot.
    pub fn find(&self, source: &Source) -> Option<PathBuf> {
        let snapshot = self.snapshot(&source.repo, &self.commit_of(source)?);
        if let Some(file) = &source.file {
            return Some(snapshot.join(file)).filter(|path| path.is_file());
        }
        if snapshot.join("model_index.json").is_file() {
            return Some(snapshot);
        }
        let mut files = fs::read_dir(&snapshot)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension() == Some("safetensors".as_ref()) && path.is_file());
        match (files.next(), files.next()) {
            (Some(file), None) => Some(file),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "1111111111111111111111111111111111111111";
    const NEW: &str = "2222222222222222222222222222222222222222";

    fn cache(files: &[(&str, &str)]) -> (tempfile::TempDir, HubCache) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join("models--a--b").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let cache = HubCache::new(folder.path());
        (folder, cache)
    }

    #[test]
    fn the_pinned_commit_goes_before_main_and_a_named_revision_before_both() {
        let model = |commit: &str| format!("snapshots/{commit}/model_index.json");
        let (_folder, cache) = cache(&[
            ("refs/main", NEW),
            ("refs/v1", &format!("{NEW}\n")),
            (&model(OLD), "{}"),
            (&model(NEW), "{}"),
        ]);
        let found = |text: &str| {
            let path = cache.find(&text.parse().unwrap())?;
            Some(path.file_name()?.to_string_lossy().into_owned())
        };
        assert_eq!(found("hf:a/b").as_deref(), Some(NEW));
        fs::write(cache.reference(&RepoId::parse("a/b").unwrap(), PIN), OLD).unwrap();
        assert_eq!(found("hf:a/b").as_deref(), Some(OLD));
        assert_eq!(found("hf:a/b@v1").as_deref(), Some(NEW));
        assert_eq!(found(&format!("hf:a/b@{OLD}")).as_deref(), Some(OLD));
        assert_eq!(found("hf:a/b@v2"), None);
        assert_eq!(found("hf:a/c"), None);
    }

    #[test]
    fn a_reference_that_holds_no_commit_leads_nowhere() {
        let (_folder, cache) = cache(&[("refs/main", "../../.."), ("refs/imgd", &NEW[1..])]);
        assert_eq!(cache.find(&"hf:a/b".parse().unwrap()), None);
    }

    #[test]
    fn a_file_is_a_model_where_it_is_named_or_the_only_one() {
        let file = |name: &str| format!("snapshots/{NEW}/{name}");
        let (_folder, cache) = cache(&[
            ("refs/main", NEW),
            (&file("one.safetensors"), "x"),
            (&file("notes.txt"), "x"),
        ]);
        let name = |text: &str| {
            let path = cache.find(&text.parse().unwrap())?;
            Some(path.file_name()?.to_string_lossy().into_owned())
        };
        assert_eq!(name("hf:a/b").as_deref(), Some("one.safetensors"));
        assert_eq!(name("hf:a/b:notes.txt").as_deref(), Some("notes.txt"));
        assert_eq!(name("hf:a/b:two.safetensors"), None);
        let snapshot = cache.snapshot(&RepoId::parse("a/b").unwrap(), NEW);
        fs::write(snapshot.join("two.safetensors"), "x").unwrap();
        assert_eq!(name("hf:a/b"), None);
    }
}
