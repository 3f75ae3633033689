//! Reading back what a picture's file says of how it was made. Files are of unknown origin.

use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ImageDecoder, ImageFormat};

use super::encode::{PARAMETERS_KEYWORD, RECORD_KEYWORD};
use super::{Metadata, exif, riff};
use crate::{Error, Result};

/// The most bytes a compressed text is unpacked to: 64 KiB. A bomb of 261 KB would make 268 MB.
pub const TEXT_LIMIT_BYTES: usize = 64 * 1024;
/// The most bytes of a PNG's chunks that are kept.
const PNG_CHUNKS_LIMIT_BYTES: usize = 4 << 20;

/// What a file says of how its picture was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The settings text in A1111's manner, by whichever program.
    pub parameters: Option<String>,
    /// The record, when this program wrote the file.
    pub record: Option<Metadata>,
}

/// Reads the metadata of a PNG, JPEG or WebP file; pixels are not decoded.
///
/// Compressed text beyond [`TEXT_LIMIT_BYTES`] is passed over. Fails with `InvalidArgument` when it is no such file.
pub fn read_metadata(bytes: &[u8]) -> Result<Found> {
    let texts = match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => png(bytes),
        Ok(ImageFormat::Jpeg) => JpegDecoder::new(Cursor::new(bytes))
            .and_then(exif_texts)
            .map_err(damaged),
        Ok(ImageFormat::WebP) if !riff::is_whole(bytes) => Err(Error::invalid(
            "image",
            "the picture is damaged: it ends before what it promises",
        )),
        Ok(ImageFormat::WebP) => WebPDecoder::new(Cursor::new(bytes))
            .and_then(exif_texts)
            .map_err(damaged),
        _ => Err(Error::invalid(
            "image",
            "the file is no PNG, JPEG or WebP picture",
        )),
    };
    let (parameters, record) = texts?;
    Ok(Found {
        parameters,
        record: record.as_deref().and_then(Metadata::from_json),
    })
}

type Texts = (Option<String>, Option<String>);

fn exif_texts(mut decoder: impl ImageDecoder) -> image::ImageResult<Texts> {
    Ok(decoder
        .exif_metadata()?
        .map(|block| exif::read(&block))
        .unwrap_or_default())
}

fn png(bytes: &[u8]) -> Result<Texts> {
    let limits = png::Limits {
        bytes: PNG_CHUNKS_LIMIT_BYTES,
    };
    let reader = png::Decoder::new_with_limits(Cursor::new(bytes), limits)
        .read_info()
        .map_err(damaged)?;
    let info = reader.info();
    let text = |keyword: &str| {
        let plain = info
            .uncompressed_latin1_text
            .iter()
            .find(|chunk| chunk.keyword == keyword);
        let packed = || {
            info.compressed_latin1_text
                .iter()
                .find(|chunk| chunk.keyword == keyword)
        };
        let unicode = || info.utf8_text.iter().find(|chunk| chunk.keyword == keyword);
        if let Some(chunk) = plain {
            return Some(chunk.text.clone());
        }
        if let Some(chunk) = unicode() {
            let mut chunk = chunk.clone();
            chunk.decompress_text_with_limit(TEXT_LIMIT_BYTES).ok()?;
            return chunk.get_text().ok();
        }
        let mut chunk = packed()?.clone();
        chunk.decompress_text_with_limit(TEXT_LIMIT_BYTES).ok()?;
        chunk.get_text().ok()
    };
    Ok((text(PARAMETERS_KEYWORD), text(RECORD_KEYWORD)))
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid("image", format!("the picture is damaged: {error}")).with_source(error)
}
