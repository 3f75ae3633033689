//! What a hub says of a repository: which commit a revision is, and which files it has.

use std::collections::BTreeSet;

use imgd_models::{RepoId, check_path, is_blob_name, is_commit};
use serde_json::Value;
use ureq::http::header;

use super::{
    RemoteFile,
    client::{Hub, Reply, text},
    digest::Digest,
    trouble::{Trouble, failed, quoted, refused},
    url::{Url, encoded},
};
use crate::failure::Failure;

/// Longer answers are no lists of files.
const MAX_JSON_BYTES: u64 = 32 << 20;

/// More pages and files than any model has.
const MAX_PAGES: usize = 100;
const MAX_FILES: usize = 100_000;

/// Largest file that is believed, in bytes: 4 TB.
const MAX_SIZE: u64 = 4_000_000_000_000;

/// The commit that a revision is.
pub(super) fn commit(hub: &Hub, repo: &RepoId, revision: &str) -> Result<String, Trouble> {
    let path = format!("/api/models/{repo}/revision/{}", part(revision));
    let answer = json(hub.get(&hub.url(&path), 0, repo)?)?;
    let said = answer["sha"].as_str().unwrap_or_default();
    if !is_commit(said) {
        let message = format!("the hub names the commit {}", quoted(said));
        return Err(refused(&message).into());
    }
    if is_commit(revision) && said != revision {
        let message = format!("asked for the commit {revision}, the hub answers with {said}");
        return Err(refused(&message).into());
    }
    Ok(said.to_owned())
}

/// Every file of a commit.
pub(super) fn files(hub: &Hub, repo: &RepoId, commit: &str) -> Result<Vec<RemoteFile>, Trouble> {
    let mut files = Vec::new();
    let mut next = Some(hub.url(&format!("/api/models/{repo}/tree/{commit}?recursive=true")));
    let mut pages = 0;
    while let Some(url) = next {
        pages += 1;
        let reply = hub.get(&url, 0, repo)?;
        next = next_page(hub, &url, &reply)?;
        let answer = json(reply)?;
        let Some(entries) = answer.as_array() else {
            return Err(refused("the hub's list of files is none").into());
        };
        for entry in entries.iter().filter(|entry| entry["type"] == "file") {
            files.push(file(entry)?);
        }
        if pages > MAX_PAGES || files.len() > MAX_FILES {
            return Err(refused("the hub's list of files has no end").into());
        }
    }
    no_two_in_one_place(&files)?;
    Ok(files)
}

/// The contents of a small file, which are hashed.
pub(super) fn small_file(
    hub: &Hub,
    repo: &RepoId,
    commit: &str,
    file: &RemoteFile,
) -> Result<Vec<u8>, Trouble> {
    let path = format!("/{repo}/resolve/{commit}/{}", encoded(&file.path));
    let bytes = bytes(hub.get(&hub.url(&path), 0, repo)?, file.size)?;
    let mut digest = Digest::for_blob(&file.blob, file.size);
    digest.update(&bytes);
    if digest.finish() != file.blob {
        let message = format!(
            "`{}` comes with other bytes than the hub lists: its hash is not {}",
            file.path, file.blob
        );
        return Err(refused(&message).into());
    }
    Ok(bytes)
}

/// One entry of the list.
fn file(entry: &Value) -> Result<RemoteFile, Failure> {
    let path = entry["path"].as_str().unwrap_or_default();
    check_path(path).map_err(|why| {
        refused(&format!(
            "the hub lists the file {}: it {why}",
            quoted(path)
        ))
    })?;
    let lfs = &entry["lfs"];
    let (name, size) = if lfs.is_object() {
        let oid = lfs["oid"].as_str().unwrap_or_default();
        (oid.strip_prefix("sha256:").unwrap_or(oid), &lfs["size"])
    } else {
        (entry["oid"].as_str().unwrap_or_default(), &entry["size"])
    };
    if !is_blob_name(name) || lfs.is_object() != (name.len() == 64) {
        let message = format!("the hub names the hash {} for `{path}`", quoted(name));
        return Err(refused(&message));
    }
    let size = size
        .as_u64()
        .filter(|&size| size <= MAX_SIZE)
        .ok_or_else(|| refused(&format!("the hub names the size {size} for `{path}`")))?;
    Ok(RemoteFile {
        path: path.to_owned(),
        blob: name.to_owned(),
        size,
    })
}

/// Refuses lists in which a file is named twice, or lies below another.
fn no_two_in_one_place(files: &[RemoteFile]) -> Result<(), Failure> {
    let mut paths = BTreeSet::new();
    for file in files {
        if !paths.insert(file.path.as_str()) {
            return Err(refused(&format!("the hub lists `{}` twice", file.path)));
        }
    }
    for path in &paths {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        for above in above {
            if paths.contains(above) {
                let message = format!("the hub lists `{path}` below the file `{above}`");
                return Err(refused(&message));
            }
        }
    }
    Ok(())
}

/// The address of the next page of a list: on the hub's own host.
fn next_page(hub: &Hub, url: &Url, reply: &Reply) -> Result<Option<Url>, Failure> {
    let links = text(&reply.headers, header::LINK.as_str()).unwrap_or_default();
    let next = links.split(',').find_map(|link| {
        let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        rest.contains("rel=\"next\"").then_some(target)
    });
    let Some(target) = next else {
        return Ok(None);
    };
    match url.join(target) {
        Ok(next) if hub.is_own(&next) => Ok(Some(next)),
        _ => Err(refused(&format!(
            "the hub continues its list of files at {}, another host",
            quoted(target)
        ))),
    }
}

fn json(reply: Reply) -> Result<Value, Trouble> {
    serde_json::from_slice(&bytes(reply, MAX_JSON_BYTES)?).map_err(|_invalid| {
        failed("the hub answered with something else than JSON")
            .hint(
                "a web page in between, such as a network's sign-in? check HF_ENDPOINT and proxies",
            )
            .into()
    })
}

/// A whole body of at most so many bytes.
fn bytes(mut reply: Reply, limit: u64) -> Result<Vec<u8>, Trouble> {
    let read = reply.body.with_config().limit(limit).read_to_vec();
    read.map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(_) => refused("the hub's answer is too long").into(),
        error => Trouble::passing(format!("the hub's answer broke off: {error}")),
    })
}

/// A revision as one part of an address.
fn part(revision: &str) -> String {
    encoded(revision).replace('/', "%2F")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SHA1: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn small_files_go_by_gits_hash_and_large_ones_by_sha256() {
        let small = file(&json!({"type": "file", "path": "a.json", "oid": SHA1, "size": 3}));
        assert_eq!(small.unwrap().blob, SHA1);
        let sha256 = "ab".repeat(32);
        let large = json!({
            "path": "a", "oid": SHA1, "size": 130, "lfs": {"oid": sha256, "size": 9, "pointerSize": 130},
        });
        let large = file(&large).unwrap();
        assert_eq!((large.blob, large.size), (sha256, 9));
    }

    #[test]
    fn lists_that_would_leave_the_cache_are_refused() {
        let sha256 = "ab".repeat(32);
        for entry in [
            json!({"path": "../../x", "oid": SHA1, "size": 1}),
            json!({"path": "/etc/x", "oid": SHA1, "size": 1}),
            json!({"path": "x", "oid": "/tmp/x", "size": 1}),
            json!({"path": "x", "oid": SHA1, "size": -1}),
            json!({"path": "x", "oid": SHA1, "size": u64::MAX}),
            json!({"path": "x", "oid": sha256, "size": 1}),
            json!({"path": "x", "oid": SHA1, "size": 1, "lfs": {"oid": SHA1, "size": 1}}),
            json!({"path": "x", "oid": SHA1, "size": 1, "lfs": {"oid": "../x", "size": 1}}),
            json!({}),
        ] {
            assert!(file(&entry).is_err(), "{entry}");
        }
    }

    #[test]
    fn a_place_is_for_one_file() {
        let listed = |paths: &[&str]| {
            let file = |path: &&str| RemoteFile {
                path: (*path).to_owned(),
                blob: SHA1.to_owned(),
                size: 1,
            };
            no_two_in_one_place(&paths.iter().map(file).collect::<Vec<_>>())
        };
        assert!(listed(&["a", "ab", "b/a", "b/c"]).is_ok());
        assert!(listed(&["a", "a"]).is_err());
        assert!(listed(&["a/b/c", "a"]).is_err());
    }
}
