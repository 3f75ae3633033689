//! Pictures that a model names: files in allowed folders, or bytes that it brings along.
//!
//! A language model does what it reads, and it may read something that was written to mislead it. So a path leads to a picture or
//! to a refusal: only below folders that the user named, after every link is followed; only regular files that begin as a picture
//! does; and a path outside is refused with the same words whether anything is there or not.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use imgd_proto::limits::{INIT_IMAGE, Range};
use rustix::fs::OFlags;

use crate::refusal::{Refusal, Result};

/// The folders below which pictures may be read.
#[derive(Debug)]
pub(crate) struct Allowed {
    /// As the user named them; each is looked up when it is needed, so that it may be made later.
    pub(crate) folders: Vec<PathBuf>,
}

impl Allowed {
    /// The picture of a path, of base64, or of neither. `name` is the fields' beginning: `image` or `mask`.
    pub(crate) fn picture(
        &self,
        name: &str,
        path: Option<&str>,
        base64: Option<&str>,
    ) -> Result<Option<Vec<u8>>> {
        let (path_field, base64_field) = (format!("{name}_path"), format!("{name}_base64"));
        match (path, base64) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => {
                let message = format!("{path_field} and {base64_field} are both there");
                Err(Refusal::field(&path_field, message).hint("give one of the two"))
            }
            (Some(path), None) => self.file(&path_field, path).map(Some),
            (None, Some(text)) => decoded(&base64_field, text).map(Some),
        }
    }

    fn file(&self, field: &str, given: &str) -> Result<Vec<u8>> {
        let given = given.strip_prefix("file://").unwrap_or(given);
        let path = Path::new(given);
        if !path.is_absolute() {
            let message = format!("{field} must be an absolute path");
            return Err(Refusal::field(field, message).hint("paths that these tools returned are"));
        }
        let real = match path.canonicalize() {
            Ok(real) if self.contains(&real) => real,
            Ok(_) => return Err(self.outside(field)),
            Err(error) => {
                let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
                let is_allowed = folder.is_some_and(|folder| self.contains(&folder));
                return Err(match is_allowed {
                    true => Refusal::field(field, format!("{field} cannot be read: {error}")),
                    false => self.outside(field),
                });
            }
        };
        let bytes = read(&real)
            .map_err(|error| Refusal::field(field, format!("{field} cannot be read: {error}")))?;
        checked(field, bytes)
    }

    fn contains(&self, real: &Path) -> bool {
        let folders = self
            .folders
            .iter()
            .filter_map(|folder| folder.canonicalize().ok());
        folders.into_iter().any(|folder| real.starts_with(folder))
    }

    fn outside(&self, field: &str) -> Refusal {
        let folders: Vec<_> = self
            .folders
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        Refusal::field(field, format!("{field} is outside of the folders that may be read"))
            .hint(format!(
                "allowed are {}; the user can allow more with `imgctl mcp --allow-dir DIR`, or copy the picture there",
                folders.join(", ")
            ))
    }
}

/// The bytes of a regular file, at most one more than a picture may have.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes() + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn decoded(field: &str, text: &str) -> Result<Vec<u8>> {
    // A data URL is what models have seen most.
    let text = match text.strip_prefix("data:") {
        Some(rest) => rest.split_once(";base64,").map_or(rest, |(_, data)| data),
        None => text,
    };
    let text: String = text.split_whitespace().collect();
    let bytes = STANDARD
        .decode(&text)
        .map_err(|error| Refusal::field(field, format!("{field} is not base64: {error}")))?;
    checked(field, bytes)
}

/// The bytes, if they begin as a picture does and are not too many.
fn checked(field: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if bytes.len() as u64 > max_bytes() {
        let message = format!("{field} has more than {} MiB", max_bytes() >> 20);
        return Err(Refusal::field(field, message).hint("a smaller picture, or a JPEG"));
    }
    let is_picture = bytes.starts_with(b"\x89PNG\r\n\x1a\n")
        || bytes.starts_with(b"\xff\xd8\xff")
        || (bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"));
    if !is_picture {
        let message = format!("{field} is no PNG, JPEG or WebP picture");
        return Err(Refusal::field(field, message));
    }
    Ok(bytes)
}

fn max_bytes() -> u64 {
    match INIT_IMAGE.range {
        Range::Bytes { max } => max,
        _ => unreachable!("a picture is limited in bytes"),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and more";

    #[test]
    fn only_pictures_in_allowed_folders_are_read() {
        let root = tempfile::tempdir().unwrap();
        let (inside, outside) = (root.path().join("in"), root.path().join("out"));
        for folder in [&inside, &outside] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("a.png"), PNG).unwrap();
        }
        fs::write(inside.join("secret.txt"), "password").unwrap();
        symlink(outside.join("a.png"), inside.join("link.png")).unwrap();
        symlink(&outside, inside.join("folder")).unwrap();
        fs::create_dir(inside.join("no-file.png")).unwrap();
        let allowed = Allowed {
            folders: vec![inside.clone(), root.path().join("later")],
        };
        let read = |path: &Path| allowed.picture("image", Some(path.to_str().unwrap()), None);
        assert_eq!(read(&inside.join("a.png")).unwrap().unwrap(), PNG);
        let url = format!("file://{}", inside.join("a.png").display());
        assert!(allowed.picture("image", Some(&url), None).is_ok());

        let refused = |path: PathBuf| {
            let refusal = read(&path).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some("image_path"));
            refusal.message
        };
        for path in [
            outside.join("a.png"),
            inside.join("link.png"),
            inside.join("folder/a.png"),
            inside.join("../out/a.png"),
            // it is not told whether there is anything
            outside.join("nothing.png"),
            "/etc/shadow".into(),
            "/etc/nothing".into(),
        ] {
            let message = refused(path.clone());
            assert_eq!(
                message, "image_path is outside of the folders that may be read",
                "{path:?}"
            );
        }
        assert!(refused(inside.join("secret.txt")).contains("no PNG"));
        assert!(refused(inside.join("no-file.png")).contains("no regular file"));
        assert!(refused(inside.join("nothing.png")).contains("cannot be read"));
        assert!(refused("a.png".into()).contains("absolute"));
        // a folder that begins alike is another one
        fs::create_dir(root.path().join("in-secret")).unwrap();
        fs::write(root.path().join("in-secret/a.png"), PNG).unwrap();
        assert!(refused(root.path().join("in-secret/a.png")).contains("outside"));
    }

    #[test]
    fn base64_is_taken_with_and_without_what_browsers_put_before_it() {
        let allowed = Allowed {
            folders: Vec::new(),
        };
        let text = STANDARD.encode(PNG);
        let read = |text: &str| allowed.picture("mask", None, Some(text));
        assert_eq!(read(&text).unwrap().unwrap(), PNG);
        assert_eq!(
            read(&format!("data:image/png;base64,{text}"))
                .unwrap()
                .unwrap(),
            PNG
        );
        let refusal = read("no base64!").unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("mask_base64"));
        assert!(
            read(&STANDARD.encode("text"))
                .unwrap_err()
                .message
                .contains("no PNG")
        );
        assert!(allowed.picture("mask", Some("/a"), Some(&text)).is_err());
        assert_eq!(allowed.picture("mask", None, None), Ok(None));
    }
}
