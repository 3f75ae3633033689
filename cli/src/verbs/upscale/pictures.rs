//! The pictures that are enlarged: read before anything is asked of the daemon.

use std::path::{Path, PathBuf};

use imgd_proto::limits;

use crate::{
    failure::Failure,
    picture_file::{self, PictureFile},
};

/// A picture and where it is.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) path: PathBuf,
    pub(super) file: PictureFile,
}

impl Picture {
    /// The name of its file, without what follows the last dot.
    pub(super) fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }
}

/// Reads them all. Fails on the first that is none, naming it.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Picture>, Failure> {
    let parse = picture_file::file(&limits::INIT_IMAGE);
    let read = |path: &Path| {
        let text = path
            .to_str()
            .ok_or_else(|| "its path is not UTF-8".to_owned())?;
        parse(text)
    };
    let pictures = paths.iter().map(|path| match read(path) {
        Ok(file) => Ok(Picture {
            path: path.clone(),
            file,
        }),
        Err(why) => {
            let message = format!("`{}`: {why}", path.display());
            Err(Failure::usage(message).field(limits::INIT_IMAGE.field))
        }
    });
    pictures.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_picture_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let [picture, text] = ["a.b.png", "b.txt"].map(|name| folder.path().join(name));
        std::fs::write(&picture, b"\x89PNG\r\n").unwrap();
        std::fs::write(&text, "text").unwrap();
        let read_all = read(std::slice::from_ref(&picture)).unwrap();
        assert_eq!(read_all[0].name(), "a.b");
        let failure = read(&[picture, text]).unwrap_err();
        assert!(
            failure.message.contains("b.txt`: it is no PNG"),
            "{}",
            failure.message
        );
    }
}
