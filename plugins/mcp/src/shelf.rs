//! The folder that pictures are written to: each whole or not at all, none over another, and none twice.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use directories::UserDirs;
use imgd_client::{Image, ImageFormat, Reason, sha256_hex};

use crate::refusal::{Refusal, Result};

/// More files of one name than this are a mistake.
const MAX_NUMBER: u32 = 10_000;
/// A name has so many bytes of the prompt at most.
const MAX_SLUG_BYTES: usize = 60;

/// `imgd` in the user's folder of pictures; `None` without a home.
pub fn default_output_dir() -> Option<PathBuf> {
    let user = UserDirs::new()?;
    let pictures = user
        .picture_dir()
        .map_or_else(|| user.home_dir().join("Pictures"), Path::to_owned);
    Some(pictures.join("imgd"))
}

/// The folder.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) folder: PathBuf,
}

impl Shelf {
    /// Fails where the folder could not be written to, or not be made. Changes nothing.
    pub(crate) fn check(&self) -> io::Result<()> {
        for folder in self.folder.ancestors() {
            match tempfile::tempfile_in(folder) {
                // What is missing is made with the first picture.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => return outcome.map(drop),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Writes a picture under a name made of `words` and its seed, and returns the path. One of the same bytes that is there already
    /// under such a name is left as it is, and its path returned.
    pub(crate) fn put(&self, words: &str, image: &Image) -> Result<PathBuf> {
        let settings = &image.settings;
        let stem = match settings.upscale.as_ref() {
            Some(upscale) => format!(
                "{}-{}",
                slug(words, "enlarged"),
                slug(&upscale.upscaler, "x")
            ),
            None => format!("{}-{}", slug(words, "picture"), settings.seed),
        };
        let extension = match image.format {
            ImageFormat::Jpeg => "jpg",
            ImageFormat::Webp => "webp",
            ImageFormat::Png | ImageFormat::Unspecified => "png",
        };
        write(&self.folder, &stem, extension, image).map_err(|error| {
            let message = format!("cannot write into `{}`: {error}", self.folder.display());
            Refusal::new(Reason::OutputNotCreated, message)
                .hint("the user can name another folder with `imgctl mcp --output-dir DIR`; the daemon keeps the picture, `imgctl get` writes it")
        })
    }
}

fn write(folder: &Path, stem: &str, extension: &str, image: &Image) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let mut partial = tempfile::Builder::new()
        .prefix(".imgctl-")
        .suffix(".part")
        // As any new file: the user's umask decides.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    partial.write_all(&image.bytes)?;
    // Disks over a network say only now that they are full.
    partial.as_file().sync_data()?;
    for number in 1..MAX_NUMBER {
        let name = match number {
            1 => format!("{stem}.{extension}"),
            number => format!("{stem}-{number}.{extension}"),
        };
        let path = folder.join(OsStr::new(&name));
        match partial.persist_noclobber(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                if is_same(&path, image) {
                    return Ok(path);
                }
                partial = error.file;
            }
            Err(error) => return Err(error.error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether the file at `path` is this picture; a link is not followed.
fn is_same(path: &Path, image: &Image) -> bool {
    let length = image.bytes.len() as u64;
    let is_candidate = fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.len() == length);
    is_candidate && fs::read(path).is_ok_and(|bytes| sha256_hex(&bytes) == image.sha256)
}

/// The text's letters and digits with hyphens between words; `default` where there are none.
fn slug(text: &str, default: &str) -> String {
    let mut slug = String::new();
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric());
    for word in words.filter(|word| !word.is_empty()) {
        if slug.len() + 1 + word.len() > MAX_SLUG_BYTES {
            break;
        }
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.push_str(word);
    }
    match slug.is_empty() {
        true => default.to_owned(),
        false => slug,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use imgd_client::v1::Settings;

    use super::*;

    fn image(bytes: &[u8]) -> Image {
        Image {
            index: 0,
            bytes: bytes.to_vec(),
            format: ImageFormat::Png,
            settings: Settings {
                seed: 7,
                ..Settings::default()
            },
            model_hash: String::new(),
            sha256: sha256_hex(bytes),
            parameters: String::new(),
        }
    }

    #[test]
    fn no_picture_is_written_over_another_and_none_twice() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf {
            folder: root.path().join("a/b"),
        };
        let put = |bytes: &[u8]| shelf.put("A red, red apple!", &image(bytes)).unwrap();
        let first = put(b"one");
        assert_eq!(first, shelf.folder.join("a-red-red-apple-7.png"));
        let second = put(b"two");
        assert_eq!(second, shelf.folder.join("a-red-red-apple-7-2.png"));
        assert_eq!(put(b"one"), first);
        assert_eq!(put(b"two"), second);
        assert_eq!(fs::read(&first).unwrap(), b"one");
        assert_eq!(fs::read_dir(&shelf.folder).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_that_cannot_be_is_known_before_a_picture_is_drawn() {
        let root = tempfile::tempdir().unwrap();
        let check = |path: &str| {
            Shelf {
                folder: root.path().join(path),
            }
            .check()
        };
        check("").unwrap();
        check("a/b/c").unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        for path in ["file", "file/folder"] {
            assert_eq!(
                check(path).unwrap_err().kind(),
                io::ErrorKind::NotADirectory
            );
        }
        let names: Vec<_> = fs::read_dir(root.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let shelf = Shelf {
            folder: root.path().join("out"),
        };
        fs::create_dir(&shelf.folder).unwrap();
        let elsewhere = root.path().join("elsewhere");
        fs::write(&elsewhere, "one").unwrap();
        symlink(&elsewhere, shelf.folder.join("x-7.png")).unwrap();
        let written = shelf.put("x", &image(b"one")).unwrap();
        assert_eq!(written, shelf.folder.join("x-7-2.png"));
    }

    #[test]
    fn names_are_safe_whatever_the_words_are() {
        assert_eq!(slug("../../etc/passwd", "picture"), "etc-passwd");
        assert_eq!(slug("…", "picture"), "picture");
        assert_eq!(slug("赤い りんご", "picture"), "赤い-りんご");
        assert!(slug(&"word ".repeat(100), "picture").len() <= MAX_SLUG_BYTES);
    }
}
