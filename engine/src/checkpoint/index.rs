//! Weights in several files: the `*.safetensors.index.json` that says which tensor is in which file.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::source::Source;
use crate::{Error, Result};

/// The most files that one component may be split into.
const SHARD_LIMIT: usize = 1_000;

/// The part of an index that is used; sizes in its `metadata` are not trusted.
#[derive(Deserialize)]
struct File {
    weight_map: BTreeMap<String, String>,
}

/// A checked index: every name in it is a plain file name.
pub(super) struct Index {
    /// The files, in order of their names.
    pub(super) shards: Vec<String>,
    /// For each tensor the file it is in.
    pub(super) weight_map: BTreeMap<String, String>,
}

/// Reads the index at `path`; the files are expected beside it.
pub(super) fn read(source: &Source, path: &str) -> Result<Index> {
    let File { weight_map } = source.read_json(path)?;
    let name = source.full_name(path);
    let shards: BTreeSet<&String> = weight_map.values().collect();
    if shards.is_empty() || shards.len() > SHARD_LIMIT {
        let count = shards.len();
        return Err(Error::model(format!(
            "`{name}` names {count} files; 1 to {SHARD_LIMIT} are read"
        )));
    }
    if let Some(shard) = shards.iter().find(|shard| !is_plain_safetensors(shard)) {
        let shard: String = shard.chars().take(80).collect();
        return Err(Error::model(format!(
            "`{name}` points to {shard:?}; only `.safetensors` files in the same directory are read"
        )));
    }
    let shards = shards.into_iter().cloned().collect();
    Ok(Index { shards, weight_map })
}

/// Whether it names a file in the same directory: no separator, nothing hidden, nothing above.
fn is_plain_safetensors(file: &str) -> bool {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    file.ends_with(".safetensors")
        && !file.starts_with('.')
        && file.len() <= 255
        && file.chars().all(plain)
}
