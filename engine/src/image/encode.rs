//! The three formats and their fixed settings.

use std::borrow::Cow;
use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};
use png::text_metadata::{ITXtChunk, TEXtChunk};

use super::{Metadata, Rgb8, Texts, exif};
use crate::{Error, ErrorKind, Result};

/// Keyword of the PNG text that holds A1111's settings text. Galleries and other programs look for it.
pub(super) const PARAMETERS_KEYWORD: &str = "parameters";
/// Keyword of the PNG text that holds the JSON record.
pub(super) const RECORD_KEYWORD: &str = "imgd";

/// The format of a picture's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lossless, 8 bits a channel. Metadata in text chunks, of any length.
    Png,
    /// Lossy; `quality` from 1 to 100. Metadata in Exif, which holds less than 64 KiB.
    Jpeg {
        /// 1 (small) to 100 (good).
        quality: u8,
    },
    /// Lossless. Metadata in Exif, of any length.
    WebpLossless,
}

impl Format {
    /// The quality of a JPEG when nobody asks for another.
    pub const DEFAULT_JPEG_QUALITY: u8 = 95;

    /// The format of a name that users write: `png`, `jpg`, `jpeg` or `webp`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "png" => Some(Self::Png),
            "jpg" | "jpeg" => Some(Self::Jpeg {
                quality: Self::DEFAULT_JPEG_QUALITY,
            }),
            "webp" => Some(Self::WebpLossless),
            _ => None,
        }
    }

    /// The usual suffix of its files, without the dot.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg { .. } => "jpg",
            Self::WebpLossless => "webp",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg { .. } => "image/jpeg",
            Self::WebpLossless => "image/webp",
        }
    }
}

/// A picture as a file, with `metadata` in it if there is any. The same input gives the same bytes.
///
/// Metadata is never cut. A JPEG has room for less than 64 KiB: when both texts do not fit, the settings text is left
/// out and says so in its place; when the record alone does not fit, both are left out, and the place says why.
///
/// Fails with `InvalidArgument` on a quality outside 1 to 100 and with `Internal` on sizes the format cannot hold.
pub fn encode(picture: &Rgb8, format: Format, metadata: Option<&Metadata>) -> Result<Vec<u8>> {
    let texts = metadata.map(Metadata::texts);
    encode_with(picture, None, format, texts.as_ref())
}

/// The same with `alpha`, a byte for each pixel, which a JPEG has no place for.
pub(crate) fn encode_with(
    picture: &Rgb8,
    alpha: Option<&[u8]>,
    format: Format,
    texts: Option<&Texts>,
) -> Result<Vec<u8>> {
    match format {
        Format::Png => png(picture, alpha, png::Compression::Fast, texts),
        Format::Jpeg { quality } => jpeg(picture, quality, texts),
        Format::WebpLossless => webp(picture, alpha, texts),
    }
}

/// A small picture as PNG in as little time as possible, without metadata.
pub fn encode_preview_png(picture: &Rgb8) -> Result<Vec<u8>> {
    png(picture, None, png::Compression::Fastest, None)
}

/// The pixels, with alpha behind each where there is some.
fn with_alpha<'a>(picture: &'a Rgb8, alpha: Option<&[u8]>) -> Cow<'a, [u8]> {
    match alpha {
        None => Cow::Borrowed(&picture.pixels),
        Some(alpha) => {
            let pixels = picture.pixels.chunks_exact(3).zip(alpha);
            pixels
                .flat_map(|(pixel, alpha)| [pixel[0], pixel[1], pixel[2], *alpha])
                .collect()
        }
    }
}

fn png(
    picture: &Rgb8,
    alpha: Option<&[u8]>,
    compression: png::Compression,
    texts: Option<&Texts>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(picture.pixels.len() / 2 + 4096);
    let mut encoder = png::Encoder::new(&mut bytes, picture.width_px, picture.height_px);
    encoder.set_color(match alpha {
        None => png::ColorType::Rgb,
        Some(_) => png::ColorType::Rgba,
    });
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(compression);
    let mut writer = encoder.write_header().map_err(failed)?;
    if let Some(texts) = texts {
        for (keyword, text) in [
            (PARAMETERS_KEYWORD, &texts.parameters),
            (RECORD_KEYWORD, &texts.record),
        ] {
            if is_latin1(text) {
                writer
                    .write_text_chunk(&TEXtChunk::new(keyword, text))
                    .map_err(failed)?;
            } else {
                writer
                    .write_text_chunk(&ITXtChunk::new(keyword, text))
                    .map_err(failed)?;
            }
        }
    }
    let pixels = with_alpha(picture, alpha);
    writer.write_image_data(&pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

fn jpeg(picture: &Rgb8, quality: u8, texts: Option<&Texts>) -> Result<Vec<u8>> {
    if !(1..=100).contains(&quality) {
        return Err(Error::invalid(
            "format",
            format!("a JPEG's quality is from 1 to 100, not {quality}"),
        ));
    }
    let mut bytes = Vec::with_capacity(picture.pixels.len() / 4 + 4096);
    let mut encoder = JpegEncoder::new_with_quality(Cursor::new(&mut bytes), quality);
    if let Some(texts) = texts {
        let exif = exif::write_within(&texts.parameters, &texts.record, exif::JPEG_LIMIT_BYTES);
        encoder.set_exif_metadata(exif).map_err(failed)?;
    }
    encoder
        .write_image(
            &picture.pixels,
            picture.width_px,
            picture.height_px,
            ExtendedColorType::Rgb8,
        )
        .map_err(failed)?;
    Ok(bytes)
}

fn webp(picture: &Rgb8, alpha: Option<&[u8]>, texts: Option<&Texts>) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(picture.pixels.len() / 2 + 4096);
    let mut encoder = WebPEncoder::new_lossless(Cursor::new(&mut bytes));
    if let Some(texts) = texts {
        encoder
            .set_exif_metadata(exif::write(&texts.parameters, &texts.record))
            .map_err(failed)?;
    }
    encoder
        .write_image(
            &with_alpha(picture, alpha),
            picture.width_px,
            picture.height_px,
            match alpha {
                None => ExtendedColorType::Rgb8,
                Some(_) => ExtendedColorType::Rgba8,
            },
        )
        .map_err(failed)?;
    Ok(bytes)
}

/// Whether PNG's plain text chunk can hold it: Latin-1 without control characters other than the line feed.
fn is_latin1(text: &str) -> bool {
    text.chars()
        .all(|character| matches!(character, '\n' | ' '..='~' | '\u{a0}'..='\u{ff}'))
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("the picture cannot be encoded: {error}"),
    )
    .with_source(error)
}
