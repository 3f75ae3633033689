//! The journal's folder: made, safe, and ours alone as long as the lock is held.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
    process,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::open_error::OpenError;

/// A folder that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder.
    pub(super) directory: PathBuf,
    lock: File,
}

impl Drop for Place {
    /// Closing the file is not enough: a process that was just forked has it too, until it runs its own program.
    fn drop(&mut self) {
        if let Err(error) = flock(&self.lock, FlockOperation::Unlock) {
            tracing::debug!("the lock goes with the process: {error}");
        }
    }
}

impl Place {
    /// Makes the folder where there is none, and takes its lock.
    pub(super) fn claim(directory: &Path) -> Result<Self, OpenError> {
        make_private(directory)?;
        let path = directory.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(OpenError::io("open the lock", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Whom it says is for the message alone.
                drop(lock.read_to_string(&mut holder));
                return Err(OpenError::Busy {
                    directory: directory.to_owned(),
                    pid: holder.trim().parse().ok(),
                });
            }
            Err(error) => return Err(OpenError::io("lock", &path)(error.into())),
        }
        // The lock holds without it.
        if let Err(error) = sign(&mut lock) {
            tracing::debug!("the lock names no process: {error}");
        }
        Ok(Self {
            directory: directory.to_owned(),
            lock,
        })
    }
}

fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", process::id())
}

/// Makes a folder that only its owner may enter, or makes it so. Refused where it belongs to another user.
pub(super) fn make_private(directory: &Path) -> Result<(), OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(OpenError::io("make the folder", directory))?;
    let found = fs::metadata(directory).map_err(OpenError::io("look at", directory))?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(OpenError::Unsafe {
            directory: directory.to_owned(),
            why: "belongs to another user".to_owned(),
        });
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(directory, Permissions::from_mode(0o700))
            .map_err(OpenError::io("close to others", directory))?;
    }
    Ok(())
}

/// Makes the names in a folder last through a loss of power.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
