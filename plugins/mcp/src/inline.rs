//! Pictures as they travel in a reply: the file itself where it is small enough, else a smaller JPEG of it.
//!
//! Clients refuse replies that are too large (Claude's at about a megabyte), and base64 adds a third.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{DynamicImage, codecs::jpeg::JpegEncoder};
use imgd_client::{Image, ImageFormat};

/// All pictures of one reply together, in bytes before base64.
pub(crate) const BUDGET_BYTES: usize = 680 << 10;
/// Longest side of a smaller copy in pixels, tried one after the other.
const SIDES_PX: [u32; 5] = [1024, 768, 512, 384, 256];
const QUALITY: u8 = 85;

/// A picture in a reply.
pub(crate) struct Inline {
    pub(crate) base64: String,
    pub(crate) mime_type: &'static str,
    /// It is a smaller copy.
    pub(crate) is_preview: bool,
}

/// The picture in at most `budget` bytes; `None` where not even a small copy fits, or it cannot be read.
pub(crate) fn inline(image: &Image, budget: usize) -> Option<Inline> {
    if image.bytes.len() <= budget {
        return Some(Inline {
            base64: STANDARD.encode(&image.bytes),
            mime_type: match image.format {
                ImageFormat::Jpeg => "image/jpeg",
                ImageFormat::Webp => "image/webp",
                ImageFormat::Png | ImageFormat::Unspecified => "image/png",
            },
            is_preview: false,
        });
    }
    let pixels = image::load_from_memory(&image.bytes).ok()?;
    let copy = SIDES_PX
        .into_iter()
        .filter_map(|side| jpeg(&pixels, side))
        .find(|bytes| bytes.len() <= budget)?;
    Some(Inline {
        base64: STANDARD.encode(copy),
        mime_type: "image/jpeg",
        is_preview: true,
    })
}

/// A JPEG whose sides are at most `side_px` long.
fn jpeg(pixels: &DynamicImage, side_px: u32) -> Option<Vec<u8>> {
    let side = side_px.min(pixels.width().max(pixels.height()));
    // JPEG has no transparency.
    let small = pixels.thumbnail(side, side).to_rgb8();
    let mut bytes = Vec::new();
    small
        .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))
        .ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat as FileFormat, RgbImage};
    use imgd_client::{sha256_hex, v1::Settings};

    use super::*;

    /// A picture that cannot be made small without loss.
    fn noisy(width: u32, height: u32) -> Image {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24).to_le_bytes()[0]
        };
        let pixels = RgbImage::from_fn(width, height, |_, _| image::Rgb([next(), next(), next()]));
        let mut bytes = Vec::new();
        pixels
            .write_to(&mut Cursor::new(&mut bytes), FileFormat::Png)
            .unwrap();
        Image {
            index: 0,
            sha256: sha256_hex(&bytes),
            bytes,
            format: ImageFormat::Png,
            settings: Settings::default(),
            model_hash: String::new(),
            parameters: String::new(),
        }
    }

    #[test]
    fn a_small_picture_is_the_file_itself() {
        let image = noisy(64, 48);
        let inline = inline(&image, BUDGET_BYTES).unwrap();
        assert_eq!((inline.mime_type, inline.is_preview), ("image/png", false));
        assert_eq!(STANDARD.decode(inline.base64).unwrap(), image.bytes);
    }

    #[test]
    fn a_large_one_becomes_a_jpeg_that_fits() {
        let image = noisy(1200, 600);
        assert!(image.bytes.len() > BUDGET_BYTES);
        for budget in [BUDGET_BYTES, BUDGET_BYTES / 8] {
            let inline = inline(&image, budget).unwrap();
            assert!(inline.is_preview);
            let bytes = STANDARD.decode(inline.base64).unwrap();
            assert!(bytes.len() <= budget);
            let copy = image::load_from_memory_with_format(&bytes, FileFormat::Jpeg).unwrap();
            assert_eq!(copy.width(), 2 * copy.height());
        }
        assert!(inline(&image, 100).is_none());
    }
}
