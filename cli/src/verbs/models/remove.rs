//! `imgctl models rm`: takes a pulled model out of the cache, and nothing that another commit of it needs.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use imgd_models::{HubCache, RepoId};
use serde_json::json;

use crate::{
    Context,
    failure::{Failure, exit},
    json, table,
    verbs::pull::named,
};

/// Deletes the commit of a model that its name leads to. Without `yes` it says what would go.
pub(super) fn remove(name: &str, yes: bool, context: &Context) -> Result<(), Failure> {
    let (_, source) = named(name)?;
    let cache = context.hub.cache()?;
    let Some(commit) = cache
        .commit_of(&source)
        .filter(|commit| cache.snapshot(&source.repo, commit).is_dir())
    else {
        return Err(super::not_pulled(name, &cache));
    };
    let failed = |error: io::Error| {
        let place = cache.repository(&source.repo);
        Failure::new(
            exit::FAILED,
            format!("cannot delete below {}: {error}", place.display()),
        )
    };
    let blobs = only_of(&cache, &source.repo, &commit).map_err(failed)?;
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |found| found.len());
    let bytes: u64 = blobs.iter().map(size).sum();
    let what = format!(
        "{name} at {}: {} files of {}",
        &commit[..12],
        blobs.len(),
        table::size(bytes)
    );
    if !yes {
        return Err(
            Failure::usage(format!("this would delete {what}")).hint("add --yes to delete it")
        );
    }
    delete(&cache, &source.repo, &commit, &blobs).map_err(failed)?;
    if context.json {
        let fields = json!({ "model": name, "commit": commit, "freed_bytes": bytes });
        return context
            .terminal
            .line(&json::object("removed_model", fields).to_string());
    }
    context.terminal.line(&format!("deleted {what}"))
}

/// The blobs that no other commit has, and parts of blobs.
fn only_of(cache: &HubCache, repo: &RepoId, commit: &str) -> io::Result<Vec<PathBuf>> {
    let snapshots = cache.repository(repo).join("snapshots");
    let mut kept = BTreeSet::new();
    for entry in fs::read_dir(snapshots)? {
        let path = entry?.path();
        if path.file_name() != Some(commit.as_ref()) {
            targets(&path, &mut kept)?;
        }
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(cache.blobs(repo))? {
        let entry = entry?;
        if !kept.contains(&entry.file_name()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The names of the blobs that a snapshot's links lead to.
fn targets(folder: &Path, found: &mut BTreeSet<OsString>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            targets(&path, found)?;
        } else if metadata.is_symlink() {
            found.extend(fs::read_link(&path)?.file_name().map(OsString::from));
        }
    }
    Ok(())
}

/// References first, so that nobody finds half a model.
fn delete(cache: &HubCache, repo: &RepoId, commit: &str, blobs: &[PathBuf]) -> io::Result<()> {
    let repository = cache.repository(repo);
    forget(&repository.join("refs"), commit)?;
    fs::remove_dir_all(cache.snapshot(repo, commit))?;
    for blob in blobs {
        fs::remove_file(blob)?;
    }
    let snapshots = repository.join("snapshots");
    if fs::read_dir(&snapshots)?.next().is_none() {
        fs::remove_dir_all(repository)?;
    }
    Ok(())
}

/// Deletes the references to a commit.
fn forget(folder: &Path, commit: &str) -> io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path, commit)?;
        } else if fs::read_to_string(&path).is_ok_and(|text| text.trim() == commit) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
