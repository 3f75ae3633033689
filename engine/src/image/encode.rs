//! The three formats and their fixed settings.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};
use png::text_metadata::{ITXtChunk, TEXtChunk};

use super::{Metadata, Rgb8, exif};
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
    match format {
        Format::Png => png(picture, png::Compression::Fast, metadata),
        Format::Jpeg { quality } => jpeg(picture, quality, metadata),
        Format::WebpLossless => webp(picture, metadata),
    }
}

/// A small picture as PNG in as little time as possible, without metadata.
pub fn encode_preview_png(picture: &Rgb8) -> Result<Vec<u8>> {
    png(picture, png::Compression::Fastest, None)
}

fn png(
    picture: &Rgb8,
    compression: png::Compression,
    metadata: Option<&Metadata>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(picture.pixels.len() / 2 + 4096);
    let mut encoder = png::Encoder::new(&mut bytes, picture.width_px, picture.height_px);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(compression);
    let mut writer = encoder.write_header().map_err(failed)?;
    if let Some(metadata) = metadata {
        for (keyword, text) in [
            (PARAMETERS_KEYWORD, metadata.parameters()),
            (RECORD_KEYWORD, metadata.to_json()),
        ] {
            if is_latin1(&text) {
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
    writer.write_image_data(&picture.pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

fn jpeg(picture: &Rgb8, quality: u8, metadata: Option<&Metadata>) -> Result<Vec<u8>> {
    if !(1..=100).contains(&quality) {
        return Err(Error::invalid(
            "format",
            format!("a JPEG's quality is from 1 to 100, not {quality}"),
        ));
    }
    let mut bytes = Vec::with_capacity(picture.pixels.len() / 4 + 4096);
    let mut encoder = JpegEncoder::new_with_quality(Cursor::new(&mut bytes), quality);
    if let Some(metadata) = metadata {
        let exif = exif::write_within(
            &metadata.parameters(),
            &metadata.to_json(),
            exif::JPEG_LIMIT_BYTES,
        );
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

fn webp(picture: &Rgb8, metadata: Option<&Metadata>) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(picture.pixels.len() / 2 + 4096);
    let mut encoder = WebPEncoder::new_lossless(Cursor::new(&mut bytes));
    if let Some(metadata) = metadata {
        encoder
            .set_exif_metadata(exif::write(&metadata.parameters(), &metadata.to_json()))
            .map_err(failed)?;
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
