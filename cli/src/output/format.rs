//! File formats and the extensions that name them.

use std::path::Path;

use imgd_client::ImageFormat;

use crate::failure::Failure;

/// A file format of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// 8 bits a channel, lossless
    Png,
    /// Lossy; see --jpeg-quality
    #[value(alias = "jpg")]
    Jpeg,
    /// Lossless WebP
    Webp,
}

impl Format {
    /// The extension of its files.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }

    /// The format that a path's extension names.
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        Self::of_extension(path.extension()?.to_str()?)
    }

    fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "png" => Some(Self::Png),
            "jpg" | "jpeg" => Some(Self::Jpeg),
            "webp" => Some(Self::Webp),
            _ => None,
        }
    }
}

impl From<ImageFormat> for Format {
    fn from(format: ImageFormat) -> Self {
        match format {
            ImageFormat::Unspecified | ImageFormat::Png => Self::Png,
            ImageFormat::Jpeg => Self::Jpeg,
            ImageFormat::Webp => Self::Webp,
        }
    }
}

impl From<Format> for ImageFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Png => Self::Png,
            Format::Jpeg => Self::Jpeg,
            Format::Webp => Self::Webp,
        }
    }
}

/// Extensions of pictures that imgd does not write: more likely a wish than a part of the name.
const OTHER_FORMATS: [&str; 12] = [
    "gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "jxl", "exr", "svg", "ppm", "pdf",
];

/// A file name in two parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    /// All but the extension.
    pub(crate) stem: &'a str,
    /// The extension as it was written, or the format's own.
    pub(crate) extension: &'a str,
    /// The format.
    pub(crate) format: Format,
}

/// Splits a file name at the extension of a picture; a name without one gets that of `wanted`, else of PNG.
///
/// Fails when the extension names another format than `wanted`, or one that imgd does not write.
pub(crate) fn split(path: &str, wanted: Option<Format>) -> Result<Name<'_>, Failure> {
    let name_start = path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = path[name_start..]
        .rfind('.')
        .filter(|&dot| dot > 0)
        .map(|dot| name_start + dot);
    let (stem, extension) = dot.map_or((path, ""), |dot| (&path[..dot], &path[dot + 1..]));
    if let Some(format) = Format::of_extension(extension) {
        if let Some(wanted) = wanted.filter(|&wanted| wanted != format) {
            let message = format!(
                "`{path}` ends in `.{extension}`, but --format asks for {}",
                wanted.extension()
            );
            return Err(Failure::usage(message)
                .field("format")
                .hint("leave one of them out"));
        }
        return Ok(Name {
            stem,
            extension,
            format,
        });
    }
    if OTHER_FORMATS.contains(&extension.to_ascii_lowercase().as_str()) {
        let message = format!("imgd does not write `.{extension}` files");
        return Err(Failure::usage(message)
            .field("format")
            .hint("it writes png, jpg and webp"));
    }
    // `v1.5` is a name with a dot in it.
    let format = wanted.unwrap_or(Format::Png);
    Ok(Name {
        stem: path,
        extension: format.extension(),
        format,
    })
}
