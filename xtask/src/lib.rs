//! Rules of the house that no compiler holds: which crate may know which, where unsafe code and the environment
//! may be touched, that lists are whole and that the documents name what exists.
//!
//! Each rule is a function from the repository to what breaks it, in sentences. `cargo xtask check` prints them,
//! `tests/house.rs` fails on them.

pub mod arrows;
pub mod documents;
pub mod lists;
mod metadata;
pub mod notices;
pub mod sources;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The folders of the workspace's crates.
pub const CRATES: [&str; 12] = [
    "benches",
    "cli",
    "client",
    "daemon",
    "e2e",
    "engine",
    "manual",
    "models",
    "plugins/gateway",
    "plugins/mcp",
    "proto",
    "xtask",
];

/// A rule: its name and the function that finds what breaks it.
pub type Rule = (&'static str, fn(&Path) -> io::Result<Vec<String>>);

/// All rules.
pub const RULES: [Rule; 9] = [
    (
        "crates know only what the arrows allow",
        arrows::between_crates,
    ),
    (
        "crates stay free of what they must not know",
        arrows::to_foreign_crates,
    ),
    ("unsafe code is where it may be", sources::unsafe_code),
    (
        "the environment is read where it may be",
        sources::environment,
    ),
    ("the supervisor computes nothing", sources::supervisor),
    ("no source file is left out of its crate", lists::no_orphans),
    ("samplers and their list agree", lists::samplers),
    (
        "every file of a listed folder is in its list",
        lists::listed,
    ),
    ("the documents name what exists", documents::names),
];

/// The root of the repository: the nearest folder above the current one that has all crates.
///
/// Not a path known at compile time: checkouts may share a build folder.
pub fn root() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let is_root = |folder: &&Path| CRATES.iter().all(|name| folder.join(name).is_dir());
    here.ancestors()
        .find(is_root)
        .unwrap_or(&here)
        .to_path_buf()
}

/// Files below `folder` with this extension, sorted, as paths relative to `root`. Nothing when the folder is missing.
pub(crate) fn files(root: &Path, folder: &str, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() && path.file_name() != Some("target".as_ref()) {
                folders.push(path);
            } else if path.extension() == Some(extension.as_ref()) {
                found.push(path.strip_prefix(root).unwrap_or(&path).to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The Rust sources of all crates, as paths relative to `root`.
pub(crate) fn rust_files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for folder in CRATES {
        all.extend(files(root, folder, "rs")?);
    }
    Ok(all)
}
