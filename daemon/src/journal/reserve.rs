//! Room set aside for the day on which the disk is full: deleting writes before it frees, and so does starting.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Enough for the pages and the log of a large job that is forgotten.
const BYTES: usize = 1 << 20;

/// A file that stands for room.
#[derive(Debug)]
pub(super) struct Reserve {
    file: PathBuf,
}

impl Reserve {
    /// That of a folder; it may have to be filled.
    pub(super) fn of(directory: &Path) -> Self {
        Self {
            file: directory.join("reserve"),
        }
    }

    /// Sets the room aside, where it is not yet and there is enough of it.
    pub(super) fn fill(&self) {
        let is_full = fs::metadata(&self.file).is_ok_and(|found| found.len() == BYTES as u64);
        if is_full {
            return;
        }
        if let Err(error) = self.write() {
            tracing::debug!("no room is set aside: {error}");
            // A part of it is of no use.
            self.spend();
        }
    }

    /// Gives the room back to the disk. Returns whether there was any.
    pub(super) fn spend(&self) -> bool {
        fs::remove_file(&self.file).is_ok()
    }

    fn write(&self) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.file)?;
        // Not zeros, which some file systems keep for nothing.
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..BYTES)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        file.write_all(&noise)?;
        file.sync_all()
    }
}
