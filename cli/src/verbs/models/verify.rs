//! `imgctl models verify`: whether the bytes in the cache are those that their names say.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use imgd_models::is_blob_name;
use serde_json::json;

use crate::{
    Context,
    failure::{Failure, exit},
    hub::Digest,
    json, table,
    verbs::pull::named,
};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Hashes every file of a pulled model.
pub(super) fn verify(name: &str, context: &Context) -> Result<(), Failure> {
    let (_, source) = named(name)?;
    let cache = context.hub.cache()?;
    let commit = cache
        .commit_of(&source)
        .filter(|_| cache.find(&source).is_some());
    let Some(commit) = commit else {
        return Err(super::not_pulled(name, &cache));
    };
    let snapshot = cache.snapshot(&source.repo, &commit);
    let mut files = Vec::new();
    list(&snapshot, &mut files).map_err(|error| unreadable(&snapshot, &error))?;
    files.sort();
    let mut damaged = Vec::new();
    let mut bytes = 0;
    for path in &files {
        let shown = path
            .strip_prefix(&snapshot)
            .unwrap_or(path)
            .display()
            .to_string();
        let (size, is_right) = check(path).map_err(|error| unreadable(path, &error))?;
        bytes += size;
        if context.json {
            let fields = json!({ "path": shown, "size_bytes": size, "is_right": is_right });
            let object = json::object("verified_file", fields);
            context.terminal.line(&object.to_string())?;
        }
        if !is_right {
            damaged.push(shown);
        }
    }
    if !damaged.is_empty() {
        let message = format!("damaged: {}", damaged.join(", "));
        return Err(Failure::new(exit::FAILED, message).hint(format!(
            "`imgctl models rm {name}` and `imgctl pull {name}` fetch it anew"
        )));
    }
    if context.json {
        return Ok(());
    }
    context.terminal.line(&format!(
        "{name}: {} files of {}, every hash is right",
        files.len(),
        table::size(bytes)
    ))
}

/// The links below a snapshot.
fn list(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if fs::symlink_metadata(&path)?.is_dir() {
            list(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// The file's size, and whether its bytes have the hash that its blob is named by.
fn check(path: &Path) -> io::Result<(u64, bool)> {
    let target = fs::read_link(path).map_err(|_no_link| {
        io::Error::other("it is no link to a blob, whose name would be its hash")
    })?;
    let name = target
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if !is_blob_name(name) {
        return Ok((size, false));
    }
    let mut digest = Digest::for_blob(name, size);
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((size, digest.finish() == name));
        }
        digest.update(&buffer[..count]);
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        exit::FAILED,
        format!("cannot read {}: {error}", path.display()),
    )
}
