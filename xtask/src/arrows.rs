//! Which crate may know which: `cli → client → proto ← daemon → engine → candle`, `cli → models ← daemon`,
//! `cli → manual ← daemon` and `cli → {gateway, mcp} → client`.

use std::{collections::BTreeSet, io, path::Path};

use crate::metadata::Metadata;

/// A crate of ours, those of ours that it may know, and those that its tests may know besides.
type Arrow = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const ARROWS: [Arrow; 12] = [
    ("imgd-proto", &[], &[]),
    ("imgd-models", &[], &[]),
    ("imgd-manual", &[], &[]),
    ("imgd-engine", &[], &[]),
    (
        "imgd",
        &["imgd-proto", "imgd-engine", "imgd-models", "imgd-manual"],
        &["imgd-client"],
    ),
    ("imgd-client", &["imgd-proto"], &["imgd-e2e"]),
    (
        "imgctl",
        &[
            "imgd-client",
            "imgd-gateway",
            "imgd-manual",
            "imgd-mcp",
            "imgd-models",
            "imgd-proto",
        ],
        &["imgd-e2e"],
    ),
    // HTTP, which `imgctl gateway` serves
    (
        "imgd-gateway",
        &["imgd-client", "imgd-proto"],
        &["imgd-e2e"],
    ),
    // tools of a language model, which `imgctl mcp` runs
    ("imgd-mcp", &["imgd-client", "imgd-proto"], &[]),
    // it knows the programs from outside and speaks the contract with them
    ("imgd-e2e", &["imgd-proto"], &["imgd-client"]),
    (
        "imgd-benches",
        &["imgd-client", "imgd-engine", "imgd-e2e"],
        &["imgd-e2e"],
    ),
    ("xtask", &[], &[]),
];

/// A crate of ours and the foreign crates that must not be in it, directly or through others.
const FREE_OF: [(&str, &[&str]); 8] = [
    (
        "imgd-engine",
        &[
            "tokio",
            "tonic",
            "prost",
            "clap",
            "hyper",
            "tracing-subscriber",
        ],
    ),
    ("imgd-proto", &["candle-core", "clap", "rusqlite"]),
    ("imgd-client", &["candle-core", "clap", "rusqlite", "rmcp"]),
    ("imgctl", &["candle-core", "rusqlite", "gemm", "tokenizers"]),
    (
        "imgd-gateway",
        &["candle-core", "clap", "rusqlite", "ureq", "rustls"],
    ),
    ("imgd-models", &["tokio", "clap", "ureq"]),
    ("imgd-manual", &["tokio", "ureq"]),
    // `imgctl pull` and `imgctl gateway` alone talk to a network
    ("imgd", &["ureq", "rustls", "reqwest", "rmcp", "multer"]),
];

/// Crates of ours that know one of ours which they must not know.
pub fn between_crates(root: &Path) -> io::Result<Vec<String>> {
    let metadata = Metadata::read(root)?;
    let names = metadata.names();
    let mut broken = Vec::new();
    for (id, (name, _)) in names.iter().filter(|(_, (_, ours))| *ours) {
        let Some((_, allowed, in_tests)) = ARROWS.iter().find(|(known, ..)| known == name) else {
            broken.push(format!(
                "`{name}` has no line in ARROWS of xtask/src/arrows.rs"
            ));
            continue;
        };
        for (needed, only_tests) in metadata.needs(id) {
            let Some((needed, true)) = names.get(needed) else {
                continue;
            };
            if !(allowed.contains(needed) || only_tests && in_tests.contains(needed)) {
                let tests = if only_tests { " (in tests)" } else { "" };
                broken.push(format!("`{name}` must not know `{needed}`{tests}"));
            }
        }
    }
    Ok(broken)
}

/// Foreign crates in the tree of a crate of ours that must be free of them.
pub fn to_foreign_crates(root: &Path) -> io::Result<Vec<String>> {
    let metadata = Metadata::read(root)?;
    let names = metadata.names();
    let mut broken = Vec::new();
    for (name, forbidden) in FREE_OF {
        let Some((id, _)) = names
            .iter()
            .find(|(_, (known, ours))| *ours && *known == name)
        else {
            broken.push(format!("there is no crate `{name}`"));
            continue;
        };
        // breadth first, remembering through whom, so that the sentence can say it
        let mut seen = BTreeSet::from([*id]);
        let mut paths = vec![(*id, name.to_owned())];
        while let Some((id, path)) = paths.pop() {
            for (needed, only_tests) in metadata.needs(id) {
                if only_tests || !seen.insert(needed) {
                    continue;
                }
                let needed_name = names.get(needed).map_or("?", |(name, _)| name);
                let path = format!("{path} → {needed_name}");
                if forbidden.contains(&needed_name) {
                    broken.push(path.clone());
                }
                paths.push((needed, path));
            }
        }
    }
    Ok(broken)
}
