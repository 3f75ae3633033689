//! Files that `imgctl service install` writes: each says so and has the hash of the rest, so that one that a person
//! changed is never overwritten or removed unasked.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use imgd_client::sha256_hex;

use crate::failure::{Failure, exit};

/// How the mark begins; the hash follows.
const MARK: &str = "written by imgctl service install; as long as this is the SHA-256 of the rest, that may change it:";

/// A file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) path: PathBuf,
    /// Without the mark.
    pub(super) text: String,
}

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// It is as `install` wrote it, this time or another.
    Ours,
    /// A person wrote or changed it.
    Theirs,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    Unchanged,
    Removed,
    /// It is a person's, and stays.
    Kept,
}

impl Outcome {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Written => "wrote",
            Self::Unchanged => "unchanged",
            Self::Removed => "removed",
            Self::Kept => "kept",
        }
    }
}

impl Marked {
    /// What is written: the text with its mark, as a comment of the file's form. In a plist it stands at the end, where
    /// the declaration does not have to be first.
    pub(super) fn whole(&self) -> String {
        let mark = format!("{MARK} {}", sha256_hex(self.text.as_bytes()));
        if is_xml(&self.path) {
            format!("{}<!-- {mark} -->\n", self.text)
        } else {
            format!("# {mark}\n{}", self.text)
        }
    }

    /// What lies in its place. A file without a mark that has the very text was put there by hand and never changed.
    pub(super) fn found(&self) -> io::Result<Found> {
        match found(&self.path)? {
            Found::Theirs if read(&self.path)?.as_deref() == Some(&self.text) => Ok(Found::Ours),
            found => Ok(found),
        }
    }

    /// Writes it, whole or not at all. A person's file is put aside as `NAME.old`.
    pub(super) fn write(&self) -> io::Result<Outcome> {
        let whole = self.whole();
        if read(&self.path)?.as_deref() == Some(&whole) {
            return Ok(Outcome::Unchanged);
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        if self.found()? == Found::Theirs {
            fs::rename(&self.path, with_suffix(&self.path, ".old"))?;
        }
        let mut partial = tempfile::Builder::new()
            .prefix(".imgctl-")
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(folder)?;
        io::Write::write_all(&mut partial, whole.as_bytes())?;
        partial.as_file().sync_all()?;
        partial.persist(&self.path).map_err(|error| error.error)?;
        Ok(Outcome::Written)
    }
}

/// Removes a file that is as it was written, or any with `force`. A folder of drop-ins that is empty then goes with it.
pub(super) fn remove(path: &Path, force: bool) -> io::Result<Option<Outcome>> {
    match found(path)? {
        Found::Nothing => return Ok(None),
        Found::Theirs if !force => return Ok(Some(Outcome::Kept)),
        Found::Ours | Found::Theirs => fs::remove_file(path)?,
    }
    if let Some(folder) = path.parent()
        && folder.extension().is_some_and(|ending| ending == "d")
    {
        // Others may have a file there.
        drop(fs::remove_dir(folder));
    }
    Ok(Some(Outcome::Removed))
}

/// What lies at a path, by its mark. A link is a person's: systemd's masks are such.
pub(super) fn found(path: &Path) -> io::Result<Found> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.is_file() => return Ok(Found::Theirs),
        Ok(_) => {}
    }
    let whole = read(path)?.unwrap_or_default();
    let (mark, text) = if is_xml(path) {
        let body = whole.trim_end_matches('\n');
        match body.rfind("<!-- ") {
            Some(start) => (body[start..].trim_end_matches(" -->"), &body[..start]),
            None => ("", body),
        }
    } else {
        whole.split_once('\n').unwrap_or(("", &whole))
    };
    let hash = mark.split_once(MARK).map(|(_, hash)| hash.trim());
    Ok(match hash == Some(&sha256_hex(text.as_bytes())) {
        true => Found::Ours,
        false => Found::Theirs,
    })
}

/// What to say where a file could not be read or written.
pub(super) fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        exit::CANNOT_CREATE,
        format!("cannot write `{}`: {error}", path.display()),
    )
}

/// The text of a file; none where there is none, and where it is no text.
fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_xml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "plist")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_changed_is_known_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "imgd.service",
            "dev.imgd.imgd.plist",
            "x.timer.d/imgctl.conf",
        ] {
            let file = Marked {
                path: folder.path().join(name),
                text: "[Unit]\nA=1\n".to_owned(),
            };
            let path = &file.path;
            assert_eq!(found(path).unwrap(), Found::Nothing);
            assert_eq!(file.write().unwrap(), Outcome::Written);
            assert_eq!(file.write().unwrap(), Outcome::Unchanged);
            assert_eq!(found(path).unwrap(), Found::Ours);
            // Another version of ours may take its place.
            let next = Marked {
                text: "[Unit]\nA=2\n".to_owned(),
                ..file.clone()
            };
            assert_eq!(next.write().unwrap(), Outcome::Written);
            assert!(!with_suffix(path, ".old").exists());

            let changed = fs::read_to_string(path).unwrap().replace("A=2", "A=3");
            fs::write(path, &changed).unwrap();
            assert_eq!(found(path).unwrap(), Found::Theirs);
            assert_eq!(remove(path, false).unwrap(), Some(Outcome::Kept));
            assert_eq!(file.write().unwrap(), Outcome::Written);
            let old = fs::read_to_string(with_suffix(path, ".old")).unwrap();
            assert_eq!(old, changed);
            assert_eq!(remove(path, false).unwrap(), Some(Outcome::Removed));
            assert_eq!(remove(path, false).unwrap(), None);
            fs::remove_file(with_suffix(path, ".old")).unwrap();
        }
    }

    #[test]
    fn a_file_that_was_copied_by_hand_is_ours_and_a_mask_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = Marked {
            path: folder.path().join("imgd.socket"),
            text: "[Socket]\n".to_owned(),
        };
        fs::write(&file.path, &file.text).unwrap();
        assert_eq!(file.found().unwrap(), Found::Ours);
        fs::remove_file(&file.path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &file.path).unwrap();
        assert_eq!(file.found().unwrap(), Found::Theirs);
    }
}
