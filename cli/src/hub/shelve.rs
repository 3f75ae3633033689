//! The last step: links from a commit's paths to their contents, then the references that lead to the commit.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use imgd_models::{HubCache, PIN, RepoId, is_commit};

use super::RemoteFile;

/// What is linked last: whoever finds it finds the rest.
const LAST: &str = "model_index.json";

/// Says to programs that make backups that all this can be fetched again.
const CACHE_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
# This file is a cache directory tag created by imgctl, as huggingface_hub does.\n\
# For information about cache directory tags, see https://bford.info/cachedir/\n";

/// Makes the files visible, whose contents are all there, and remembers the commit: as what `revision` is, and as what was pulled
/// last. Gives the snapshot's folder.
pub(super) fn shelve(
    cache: &HubCache,
    repo: &RepoId,
    (revision, commit): (&str, &str),
    files: &[RemoteFile],
) -> io::Result<PathBuf> {
    let snapshot = cache.snapshot(repo, commit);
    fs::create_dir_all(&snapshot)?;
    let (last, first): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.path == LAST);
    for file in first.into_iter().chain(last) {
        link(&snapshot, file)?;
    }
    if !is_commit(revision) {
        write(&cache.reference(repo, revision), commit)?;
    }
    write(&cache.reference(repo, PIN), commit)?;
    let tag = cache.root().join("CACHEDIR.TAG");
    if !tag.exists() {
        fs::write(tag, CACHE_TAG)?;
    }
    Ok(snapshot)
}

/// A relative link from a path of the snapshot to the contents.
fn link(snapshot: &Path, file: &RemoteFile) -> io::Result<()> {
    let path = snapshot.join(&file.path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let up = "../".repeat(2 + file.path.matches('/').count());
    let target = PathBuf::from(format!("{up}blobs/{}", file.blob));
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_symlink() && fs::read_link(&path)? == target => return Ok(()),
        // Where a system has no links, huggingface_hub puts the contents here.
        Ok(found) if found.is_file() && found.len() == file.size => return Ok(()),
        _ => {}
    }
    let temporary = beside(&path);
    symlink(&target, &temporary)?;
    fs::rename(&temporary, &path)
}

/// Writes a small file at once or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = beside(path);
    fs::write(&temporary, text)?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, path)
}

/// A name of this process beside `path`.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_their_contents_and_references_to_the_commit() {
        let folder = tempfile::tempdir().unwrap();
        let cache = HubCache::new(folder.path());
        let repo = RepoId::parse("a/b").unwrap();
        let blob = "ab".repeat(32);
        fs::create_dir_all(cache.blobs(&repo)).unwrap();
        fs::write(cache.blobs(&repo).join(&blob), "hello").unwrap();
        let file = |path: &str| RemoteFile {
            path: path.to_owned(),
            blob: blob.clone(),
            size: 5,
        };
        let files = [file("model_index.json"), file("unet/deep/config.json")];
        let commit = "0".repeat(40);
        for _ in 0..2 {
            let snapshot = shelve(&cache, &repo, ("refs/pr/1", &commit), &files).unwrap();
            for file in &files {
                assert_eq!(
                    fs::read_to_string(snapshot.join(&file.path)).unwrap(),
                    "hello"
                );
            }
            let link = fs::read_link(snapshot.join("unet/deep/config.json")).unwrap();
            assert_eq!(link, PathBuf::from(format!("../../../../blobs/{blob}")));
        }
        for revision in ["refs/pr/1", PIN] {
            assert_eq!(
                cache.commit(&repo, revision).as_deref(),
                Some(commit.as_str())
            );
        }
        assert!(cache.find(&"hf:a/b".parse().unwrap()).is_some());
    }

    #[test]
    fn a_link_to_older_contents_is_turned() {
        let folder = tempfile::tempdir().unwrap();
        symlink("../../blobs/old", folder.path().join("x")).unwrap();
        let file = RemoteFile {
            path: "x".to_owned(),
            blob: "new".to_owned(),
            size: 1,
        };
        link(folder.path(), &file).unwrap();
        let target = fs::read_link(folder.path().join("x")).unwrap();
        assert_eq!(target, PathBuf::from("../../blobs/new"));
    }
}
