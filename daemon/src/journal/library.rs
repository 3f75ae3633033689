//! The library: pictures and thumbnails as files, named by the SHA-256 of the picture's bytes.
//!
//! A file has its name only once it is whole and on the disk. Knows nothing of jobs: who still needs a file is the
//! journal's to say.

use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use tonic::codegen::Bytes;

use super::{
    blob::Blob,
    error::{Error, damaged_file},
    open_error::OpenError,
    place,
};

/// How the name of a file that is not whole begins.
const TEMPORARY: &str = ".tmp-";

/// The folder of pictures.
#[derive(Debug)]
pub(super) struct Library {
    folder: PathBuf,
    written: AtomicU64,
}

impl Library {
    /// Opens it; makes it where there is none.
    pub(super) fn open(folder: &Path) -> Result<Self, OpenError> {
        place::make_private(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            written: AtomicU64::new(0),
        })
    }

    /// Writes a picture and its thumbnail, so that both outlast a loss of power. What is there already is kept.
    pub(super) fn put(&self, blob: &Blob, bytes: &[u8], thumbnail: &[u8]) -> Result<(), Error> {
        let shelf = self.shelf(blob);
        let failed = |source| Error::File {
            file: shelf.clone(),
            source,
        };
        if !shelf.exists() {
            place::make_private(&shelf).map_err(|error| Error::Refused(error.into()))?;
            place::sync(&self.folder).map_err(failed)?;
        }
        for (name, bytes) in [(blob.name(), bytes), (blob.thumbnail_name(), thumbnail)] {
            self.place(&shelf, &name, bytes).map_err(failed)?;
        }
        place::sync(&shelf).map_err(failed)
    }

    /// Whether it has a picture's file.
    pub(super) fn has(&self, blob: &Blob) -> bool {
        self.shelf(blob).join(blob.name()).is_file()
    }

    /// A picture's bytes, checked against their name.
    pub(super) fn picture(&self, blob: &Blob) -> Result<Option<Bytes>, Error> {
        let path = self.shelf(blob).join(blob.name());
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        if Blob::of(&bytes, blob.format) != *blob {
            return Err(damaged_file(&path).into());
        }
        Ok(Some(bytes.into()))
    }

    /// A thumbnail's bytes.
    pub(super) fn thumbnail(&self, blob: &Blob) -> Result<Option<Bytes>, Error> {
        let bytes = read(&self.shelf(blob).join(blob.thumbnail_name()))?;
        Ok(bytes.map(Bytes::from))
    }

    /// Removes a picture and its thumbnail, where they are.
    pub(super) fn remove(&self, blob: &Blob) -> Result<(), Error> {
        for name in [blob.name(), blob.thumbnail_name()] {
            remove(&self.shelf(blob).join(name))?;
        }
        Ok(())
    }

    /// Removes files that were not finished, and those that nobody needs. What is not named as ours stays. Returns how
    /// many went.
    pub(super) fn sweep(&self, needed: &HashSet<[u8; 32]>) -> Result<u64, Error> {
        let mut removed = 0;
        self.visit(|path, name| {
            if name.starts_with(TEMPORARY)
                || Blob::sha256_of(name).is_some_and(|sha256| !needed.contains(&sha256))
            {
                removed += 1;
                remove(path)?;
            }
            Ok(())
        })?;
        Ok(removed)
    }

    /// Whether it holds any picture.
    pub(super) fn is_empty(&self) -> Result<bool, Error> {
        let mut is_empty = true;
        self.visit(|_, _| {
            is_empty = false;
            Ok(())
        })?;
        Ok(is_empty)
    }

    /// Calls with path and name of every file on every shelf.
    fn visit(&self, mut call: impl FnMut(&Path, &str) -> Result<(), Error>) -> Result<(), Error> {
        let list = |folder: &Path| -> Result<Vec<PathBuf>, Error> {
            let paths = fs::read_dir(folder)
                .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
            paths.map_err(|source| Error::File {
                file: folder.to_owned(),
                source,
            })
        };
        for shelf in list(&self.folder)? {
            if !shelf.is_dir() {
                continue;
            }
            for path in list(&shelf)? {
                if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                    call(&path, name)?;
                }
            }
        }
        Ok(())
    }

    fn shelf(&self, blob: &Blob) -> PathBuf {
        self.folder.join(blob.shelf())
    }

    /// Writes one file under a temporary name, and gives it its own once it is on the disk.
    fn place(&self, shelf: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = shelf.join(name);
        if fs::read(&path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = shelf.join(format!("{TEMPORARY}{}-{number}", process::id()));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            match renameat_with(CWD, &temporary, CWD, &path, RenameFlags::NOREPLACE) {
                // It has the name of our bytes, but not the bytes: it was damaged. Some file systems know no flags;
                // the folder is ours alone, and nothing but these bytes gets this name.
                Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => fs::rename(&temporary, &path),
                result => Ok(result?),
            }
        };
        let written = write();
        if written.is_err() {
            // Its own failure says more than that of tidying up; the next start removes it.
            drop(fs::remove_file(&temporary));
        }
        written
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            file: path.to_owned(),
            source,
        }),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::File {
            file: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}
