//! What tells that a file is another one than before, without reading it.

use std::path::Path;
use std::time::SystemTime;

/// A file's length and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(u64, Option<SystemTime>);

impl Stamp {
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self(metadata.len(), metadata.modified().ok()))
    }
}
