//! Writing a picture's file: whole or not at all, and never over another one unawares.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use imgd_client::sha256_hex;

/// More files of one name than this are a mistake.
const MAX_NUMBER: u32 = 10_000;

/// What to do when a name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Fail.
    Refuse,
    /// Try `name-2`, `name-3`…
    Number,
    /// Put the new file in the old one's place.
    Replace,
}

/// Writes a file and returns the path it got.
///
/// The bytes go to a new file in the same folder, which then gets its name in one step: nobody ever sees a part of
/// a picture, and a link that someone puts in the way is not followed.
pub(crate) fn file(path: &Path, bytes: &[u8], taken: Taken) -> io::Result<PathBuf> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut partial = tempfile::Builder::new()
        .prefix(".imgctl-")
        .suffix(".part")
        // As any new file: the user's umask decides.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    partial.write_all(bytes)?;
    // Disks over a network say only now that they are full.
    partial.as_file().sync_data()?;
    if taken == Taken::Replace {
        partial.persist(path).map_err(|error| error.error)?;
        return Ok(path.to_owned());
    }
    for number in 1..MAX_NUMBER {
        let numbered = if number == 1 {
            path.to_owned()
        } else {
            numbered(path, number)
        };
        match partial.persist_noclobber(&numbered) {
            Ok(_) => return Ok(numbered),
            Err(error)
                if taken == Taken::Number && error.error.kind() == io::ErrorKind::AlreadyExists =>
            {
                partial = error.file;
            }
            Err(error) => return Err(error.error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The file at `path`, or at the same name with a number, whose SHA-256 is `sha256`.
pub(crate) fn same(path: &Path, sha256: &str) -> Option<PathBuf> {
    let names = (1..MAX_NUMBER).map(|number| match number {
        1 => path.to_owned(),
        _ => numbered(path, number),
    });
    // The first name that is free ends the row.
    let taken = names.take_while(|name| name.symlink_metadata().is_ok());
    taken
        .filter(|name| name.is_file())
        .find(|name| fs::read(name).is_ok_and(|bytes| sha256_hex(&bytes) == sha256))
}

/// Writes to something that is no file: a device, a pipe.
pub(crate) fn device(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(bytes)
}

/// Writes to standard output.
pub(crate) fn stdout(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// `a.png` to `a-2.png`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn taken_names_get_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a-7.png");
        for expected in ["a-7.png", "a-7-2.png", "a-7-3.png"] {
            let written = file(&path, expected.as_bytes(), Taken::Number).unwrap();
            assert_eq!(written, folder.path().join(expected));
            assert_eq!(fs::read_to_string(&written).unwrap(), expected);
        }
        assert_eq!(names(folder.path()), ["a-7-2.png", "a-7-3.png", "a-7.png"]);
    }

    #[test]
    fn the_same_file_is_found_under_a_numbered_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        for bytes in ["one", "two", "three"] {
            file(&path, bytes.as_bytes(), Taken::Number).unwrap();
        }
        let find = |bytes: &str| same(&path, &sha256_hex(bytes.as_bytes()));
        assert_eq!(find("one"), Some(path.clone()));
        assert_eq!(find("three"), Some(folder.path().join("a-3.png")));
        assert_eq!(find("four"), None);
        assert_eq!(same(Path::new("/nonexistent/a.png"), ""), None);
    }

    #[test]
    fn a_file_or_link_in_the_way_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        symlink(folder.path().join("elsewhere"), &path).unwrap();
        let error = file(&path, b"new", Taken::Refuse).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(names(folder.path()), ["a.png"]);
        // Replacing puts a file in the link's place and does not follow it.
        file(&path, b"new", Taken::Replace).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(names(folder.path()), ["a.png"]);
    }

    #[test]
    fn the_users_umask_decides_who_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder.path().join("a.png"), b"x", Taken::Refuse).unwrap();
        let plain = folder.path().join("plain");
        fs::write(&plain, "x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let error = file(Path::new("/nonexistent/a.png"), b"x", Taken::Number).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
