//! Pictures that the user has: files named on the command line, read before anything is asked of the daemon.

use std::{fs::File, io::Read as _};

use imgd_proto::limits::{Limit, Range};

/// A picture's file, as it is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PictureFile {
    pub(crate) bytes: Vec<u8>,
}

impl std::fmt::Debug for PictureFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PictureFile of {} bytes", self.bytes.len())
    }
}

/// The parser of an argument that names a picture's file.
pub(crate) fn file(
    limit: &'static Limit,
) -> impl Fn(&str) -> Result<PictureFile, String> + Clone + Send + Sync + 'static {
    move |path| read(path, limit)
}

fn read(path: &str, limit: &Limit) -> Result<PictureFile, String> {
    let Range::Bytes { max } = limit.range else {
        unreachable!("a file is limited in bytes")
    };
    let cannot = |error: std::io::Error| format!("cannot read the picture: {error}");
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > max {
        return Err(format!(
            "the file has more than {} MiB; save the picture smaller, or as JPEG",
            max >> 20
        ));
    }
    let is_picture = bytes.starts_with(b"\x89PNG")
        || bytes.starts_with(b"\xff\xd8\xff")
        || bytes.get(8..12) == Some(b"WEBP");
    if !is_picture {
        return Err("it is no PNG, JPEG or WebP picture".to_owned());
    }
    Ok(PictureFile { bytes })
}

#[cfg(test)]
mod tests {
    use imgd_proto::limits;

    use super::*;

    #[test]
    fn files_that_are_no_pictures_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let argument = path.to_str().unwrap();
        let parse = file(&limits::INIT_IMAGE);
        assert!(parse(argument).unwrap_err().contains("cannot read"));
        std::fs::write(&path, "text").unwrap();
        assert!(parse(argument).unwrap_err().contains("no PNG"));
        std::fs::write(&path, b"\x89PNG\r\n").unwrap();
        assert_eq!(parse(argument).unwrap().bytes, b"\x89PNG\r\n");
        std::fs::write(&path, vec![0xff; (16 << 20) + 1]).unwrap();
        assert!(parse(argument).unwrap_err().contains("16 MiB"));
    }
}
