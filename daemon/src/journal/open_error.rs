//! Why the journal cannot be opened, and what that means to the user.

use std::{
    io,
    path::{Path, PathBuf},
};

use imgd_proto::errors::{Failure, Reason};

use super::error::Error;

/// A journal that cannot be used. Its file was not touched.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon has it.
    #[error("another imgd{} uses {}", of_process(*.pid), directory.display())]
    Busy {
        /// The folder.
        directory: PathBuf,
        /// The other's process, where it says.
        pid: Option<u32>,
    },
    /// It is damaged, of a newer imgd, or another program's.
    #[error("the journal {} {why}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// What is wrong, to follow its name.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// The folder is not the daemon's alone.
    #[error("{} {why}", directory.display())]
    Unsafe {
        /// The folder.
        directory: PathBuf,
        /// What is wrong, to follow its name.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("failed to {what} {}", file.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        file: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// SQLite cannot open, read or migrate it.
    #[error("failed to {what} the journal {}", file.display())]
    Sqlite {
        /// What was tried.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why it failed.
        source: rusqlite::Error,
    },
}

fn of_process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

impl OpenError {
    pub(super) fn io(what: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Io { what, file, source }
    }

    pub(super) fn sqlite(what: &'static str, file: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Sqlite { what, file, source }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let because = std::error::Error::source(&error)
            .map_or_else(String::new, |source| format!(": {source}"));
        let message = format!("{error}{because}");
        match error {
            OpenError::Busy { .. } => Self::new(Reason::NotIdle, message)
                .with_hint("end that one first, or give this one another `data_dir`"),
            OpenError::Invalid { file, remedy, .. } => Self::new(Reason::JournalInvalid, message)
                .with_hint(remedy)
                .with_file(file.to_string_lossy()),
            OpenError::Unsafe { directory, .. } => Self::new(Reason::ConfigInvalid, message)
                .with_hint("set `data_dir` to a folder of your own")
                .with_file(directory.to_string_lossy()),
            OpenError::Io { file, source, .. } => Self {
                message,
                ..Error::File { file, source }.into_failure(Path::new("/"))
            },
            OpenError::Sqlite { file, source, .. } => Self {
                message,
                ..Error::Sqlite(source).into_failure(&file)
            },
        }
    }
}
