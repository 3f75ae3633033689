//! The texts that a picture's file carries. Files are of unknown origin: nothing is believed and little is unpacked.

use std::io::Cursor;

use image::{
    ImageDecoder, ImageFormat, ImageResult,
    codecs::{jpeg::JpegDecoder, webp::WebPDecoder},
};
use png::text_metadata::{ITXtChunk, ZTXtChunk};

use super::exif;

/// The most bytes that a compressed text is unpacked to: a file of 261 kB can hold 268 MB.
const MAX_TEXT_BYTES: usize = 64 << 10;
/// The most bytes of a PNG's chunks that are kept.
const MAX_CHUNK_BYTES: usize = 4 << 20;

/// The texts of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Texts {
    /// The JSON record that imgd writes.
    pub(super) record: Option<String>,
    /// The settings in A1111's form, by whichever program.
    pub(super) parameters: Option<String>,
}

/// Reads the texts of a PNG, JPEG or WebP file without decoding its pixels. What is damaged or too long is not there.
pub(super) fn read(bytes: &[u8]) -> Texts {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => of_png(bytes).unwrap_or_default(),
        Ok(ImageFormat::Jpeg) => of_exif(JpegDecoder::new(Cursor::new(bytes))),
        Ok(ImageFormat::WebP) => of_exif(WebPDecoder::new(Cursor::new(bytes))),
        _ => Texts::default(),
    }
}

fn of_exif(decoder: ImageResult<impl ImageDecoder>) -> Texts {
    decoder
        .and_then(|mut decoder| decoder.exif_metadata())
        .ok()
        .flatten()
        .map(|block| exif::texts(&block))
        .unwrap_or_default()
}

fn of_png(bytes: &[u8]) -> Option<Texts> {
    let limits = png::Limits {
        bytes: MAX_CHUNK_BYTES,
    };
    let decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    let reader = decoder.read_info().ok()?;
    let info = reader.info();
    let plain = info.uncompressed_latin1_text.iter();
    let plain = plain.map(|chunk| (&chunk.keyword, Some(chunk.text.clone())));
    let unicode = info.utf8_text.iter();
    let unicode = unicode.map(|chunk| (&chunk.keyword, unpacked_unicode(chunk)));
    let packed = info.compressed_latin1_text.iter();
    let packed = packed.map(|chunk| (&chunk.keyword, unpacked(chunk)));
    let mut texts = Texts::default();
    for (keyword, text) in plain.chain(unicode).chain(packed) {
        match keyword.as_str() {
            "imgd" => texts.record = texts.record.or(text),
            "parameters" => texts.parameters = texts.parameters.or(text),
            _ => {}
        }
    }
    Some(texts)
}

fn unpacked_unicode(chunk: &ITXtChunk) -> Option<String> {
    let mut chunk = chunk.clone();
    chunk.decompress_text_with_limit(MAX_TEXT_BYTES).ok()?;
    chunk.get_text().ok()
}

fn unpacked(chunk: &ZTXtChunk) -> Option<String> {
    let mut chunk = chunk.clone();
    chunk.decompress_text_with_limit(MAX_TEXT_BYTES).ok()?;
    chunk.get_text().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(write: impl FnOnce(&mut png::Encoder<'_, &mut Vec<u8>>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        write(&mut encoder);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[0]).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn every_kind_of_text_chunk_is_read() {
        let add = |keyword: &str, text: &str| (keyword.to_owned(), text.to_owned());
        let both = |texts: Texts| (texts.record.unwrap(), texts.parameters.unwrap());
        let plain = png(|encoder| {
            for (keyword, text) in [add("imgd", "{}"), add("parameters", "é")] {
                encoder.add_text_chunk(keyword, text).unwrap();
            }
        });
        assert_eq!(both(read(&plain)), ("{}".into(), "é".into()));
        let others = png(|encoder| {
            encoder.add_ztxt_chunk("imgd".into(), "{}".into()).unwrap();
            encoder
                .add_itxt_chunk("parameters".into(), "赤".into())
                .unwrap();
        });
        assert_eq!(both(read(&others)), ("{}".into(), "赤".into()));
    }

    #[test]
    fn a_text_that_unpacks_to_more_than_it_may_is_not_there() {
        let bomb = png(|encoder| {
            let text = "a".repeat(MAX_TEXT_BYTES + 1);
            encoder.add_ztxt_chunk("parameters".into(), text).unwrap();
            encoder.add_text_chunk("imgd".into(), "{}".into()).unwrap();
        });
        let texts = read(&bomb);
        assert_eq!(
            (texts.parameters, texts.record.as_deref()),
            (None, Some("{}"))
        );
    }

    #[test]
    fn what_is_no_picture_has_no_texts() {
        let whole = png(|encoder| encoder.add_text_chunk("imgd".into(), "{}".into()).unwrap());
        for bytes in [
            &b""[..],
            b"no picture",
            &whole[..20],
            b"\xff\xd8\xff\xe1",
            b"RIFF\0\0\0\0WEBP",
        ] {
            assert_eq!(read(bytes), Texts::default());
        }
    }
}
