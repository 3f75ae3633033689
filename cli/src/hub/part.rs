//! What is there of a blob: a file beside it that grows, and the hash of what is in it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::{RemoteFile, digest::Digest};

/// Bytes read at once.
const CHUNK: usize = 1 << 18;

/// A blob that is not whole yet. It stays on disk when dropped, for the next attempt.
pub(super) struct Part {
    path: PathBuf,
    file: File,
    digest: Digest,
    length: u64,
    blob: String,
    size: u64,
}

impl Part {
    /// Where the part of a blob is; huggingface_hub called it so as long as it continued downloads.
    pub(super) fn path(blobs: &Path, blob: &str) -> PathBuf {
        blobs.join(format!("{blob}.incomplete"))
    }

    /// Opens what is there and hashes it; an empty file where nothing is.
    pub(super) fn open(blobs: &Path, wanted: &RemoteFile) -> io::Result<Self> {
        let path = Self::path(blobs, &wanted.blob);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            let message = format!("{} is no file", path.display());
            return Err(io::Error::other(message));
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        let mut digest = Digest::for_blob(&wanted.blob, wanted.size);
        let mut length = 0;
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            digest.update(&buffer[..count]);
            length += count as u64;
        }
        let mut part = Self {
            path,
            file,
            digest,
            length,
            blob: wanted.blob.clone(),
            size: wanted.size,
        };
        if part.length > part.size {
            part.restart()?;
        }
        Ok(part)
    }

    /// Bytes that are there.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes that lack.
    pub(super) fn missing(&self) -> u64 {
        self.size - self.length
    }

    /// Takes the next bytes in; no more than [`Self::missing`].
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Forgets everything.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.length = 0;
        self.digest = Digest::for_blob(&self.blob, self.size);
        Ok(())
    }

    /// Whether these are the bytes that the blob is named by.
    pub(super) fn is_right(&self) -> bool {
        self.length == self.size && self.digest.clone().finish() == self.blob
    }

    /// Makes it the blob: on disk first, then under its name.
    pub(super) fn finish(self, blobs: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, blobs.join(&self.blob))?;
        File::open(blobs)?.sync_all()
    }

    /// Deletes its file, where that can be.
    pub(super) fn delete(&self) {
        drop(fs::remove_file(&self.path));
    }

    /// Deletes it.
    pub(super) fn discard(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> RemoteFile {
        RemoteFile {
            path: "hello.txt".to_owned(),
            blob: "ce013625030ba8dba906f756967f9e9ca394464a".to_owned(),
            size: 6,
        }
    }

    #[test]
    fn a_part_goes_on_where_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut part = Part::open(folder.path(), &hello()).unwrap();
        part.append(b"hel").unwrap();
        drop(part);
        let mut part = Part::open(folder.path(), &hello()).unwrap();
        assert_eq!(
            (part.length(), part.missing(), part.is_right()),
            (3, 3, false)
        );
        part.append(b"lo\n").unwrap();
        assert!(part.is_right());
        part.finish(folder.path()).unwrap();
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(
            fs::read(folder.path().join(hello().blob)).unwrap(),
            b"hello\n"
        );
    }

    #[test]
    fn wrong_bytes_are_known_and_what_is_too_long_begins_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut part = Part::open(folder.path(), &hello()).unwrap();
        part.append(b"jello\n").unwrap();
        assert!(!part.is_right());
        part.restart().unwrap();
        part.append(b"hello\n").unwrap();
        assert!(part.is_right());
        drop(part);
        fs::write(Part::path(folder.path(), &hello().blob), b"much too long").unwrap();
        assert_eq!(Part::open(folder.path(), &hello()).unwrap().length(), 0);
    }
}
