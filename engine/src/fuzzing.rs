//! Doors into rooms that are closed otherwise, for the targets in `fuzz/`.

use std::path::Path;

use crate::{Result, adapters, embeddings};

/// Reads every change in a LoRA's file, each for a layer whose weight has `shape`: rows, and numbers in a row.
pub fn adapter(path: &Path, shape: (usize, usize)) -> Result<()> {
    adapters::read_all(path, shape)
}

/// Reads an embedding's file.
pub fn embedding(path: &Path) -> Result<()> {
    embeddings::read(path)
}
