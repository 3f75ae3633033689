//! Why something cannot be read or written, and what that means to the user.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use imgd_proto::errors::{Failure, Reason};
use rusqlite::ErrorCode;

use super::open_error::OpenError;

/// Room below which an error of the file system is put down to a full disk, in bytes: SQLite says "I/O error" when
/// it cannot extend its index of the log, and a few pages are all that takes.
const NO_ROOM_BYTES: u64 = 128 << 10;

/// Why something was not written or read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// SQLite failed. Its messages quote no values.
    #[error("the journal failed")]
    Sqlite(#[from] rusqlite::Error),
    /// A picture's file failed.
    #[error("the library failed")]
    File { file: PathBuf, source: io::Error },
    /// What was asked for cannot be done.
    #[error("{0}")]
    Refused(Failure),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<prost::DecodeError> for Error {
    fn from(error: prost::DecodeError) -> Self {
        Self::Refused(damaged(&error.to_string()))
    }
}

impl Error {
    /// For one who opens the journal. `file`: the database, or the library's folder.
    pub(super) fn into_open(self, file: &Path) -> OpenError {
        match self {
            Self::Sqlite(error) => OpenError::sqlite("read", file)(error),
            Self::File { file, source } => OpenError::io("read or remove", &file)(source),
            Self::Refused(failure) => OpenError::Invalid {
                file: file.to_owned(),
                why: format!("cannot be used: {failure}"),
                remedy: failure.hint.unwrap_or_default(),
            },
        }
    }

    /// Whether the reason is a disk without room. `place`: a file or folder on it.
    pub(super) fn is_full(&self, place: &Path) -> bool {
        match self {
            Self::Refused(failure) => failure.reason == Reason::DiskFull,
            Self::File { source, .. } => {
                use io::ErrorKind::{QuotaExceeded, StorageFull};
                matches!(source.kind(), StorageFull | QuotaExceeded)
            }
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => true,
                Some(ErrorCode::SystemIoFailure) => has_no_room(place),
                _ => false,
            },
        }
    }

    /// In the user's words. `place`: a file or folder on the disk in question.
    pub(super) fn into_failure(self, place: &Path) -> Failure {
        let is_full = self.is_full(place);
        let why = match self {
            Self::Refused(failure) => return failure,
            Self::File { file, source } => format!("{}: {source}", file.display()),
            Self::Sqlite(error) => format!("{}: {error}", place.display()),
        };
        if is_full {
            Failure::new(Reason::DiskFull, format!("the disk is full: {why}"))
                .with_hint("make room; the daemon tries again by itself")
        } else {
            Failure::new(Reason::JournalFailed, format!("the journal failed: {why}"))
                .with_hint("see whether the disk and the folder can be written")
        }
    }
}

/// Whether a disk has not even room for a few pages.
pub(super) fn has_no_room(place: &Path) -> bool {
    rustix::fs::statvfs(place)
        .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < NO_ROOM_BYTES)
}

/// Something in the database is not what was written.
pub(super) fn damaged(what: &str) -> Failure {
    Failure::new(
        Reason::JournalFailed,
        format!("the journal is damaged: {what}"),
    )
    .with_hint("end the daemon and move its data folder away")
}

/// A picture's file is not what was written.
pub(super) fn damaged_file(file: &Path) -> Failure {
    let message = format!("the picture's file {} is damaged", file.display());
    Failure::new(Reason::JournalFailed, message)
        .with_hint("make it again: the job's settings and seed give the same picture")
        .with_file(file.to_string_lossy())
}

/// The thread is gone, as at the daemon's end: the next daemon has the answer.
pub(super) fn closed() -> Failure {
    let message = "the daemon is ending: its journal is closed";
    Failure::new(Reason::Draining, message)
        .with_hint("try again in a moment")
        .with_retry_after(Duration::from_secs(1))
}

/// No job has this id.
pub(super) fn no_such_job(id: &str) -> Failure {
    Failure::new(Reason::JobNotFound, format!("there is no job {id}"))
        .with_hint("`imgctl jobs` lists them")
}

/// The job has no such picture.
pub(super) fn no_such_image(id: &str, index: u32) -> Failure {
    Failure::new(
        Reason::ImageNotFound,
        format!("job {id} has no finished picture {index}"),
    )
    .with_hint(format!("`imgctl jobs show {id}` lists them"))
}
