//! Small pictures for lists of many.

use std::borrow::Cow;

use image::{RgbImage, imageops};

use super::{Format, Rgb8, encode};
use crate::{Error, Result};

/// Longest side of a thumbnail in pixels.
pub const THUMBNAIL_SIDE_PX: u32 = 256;

/// Of a thumbnail's JPEG: artefacts show at this size only when they are looked for.
const QUALITY: u8 = 85;

/// A JPEG of the picture with its sides in proportion, neither longer than [`THUMBNAIL_SIDE_PX`]: a smaller picture
/// keeps its size. Without metadata. The same picture gives the same bytes.
pub fn thumbnail(picture: &Rgb8) -> Result<Vec<u8>> {
    encode(
        shrunk(picture)?.as_ref(),
        Format::Jpeg { quality: QUALITY },
        None,
    )
}

/// The picture with its sides in proportion, neither longer than [`THUMBNAIL_SIDE_PX`].
pub(crate) fn shrunk(picture: &Rgb8) -> Result<Cow<'_, Rgb8>> {
    let (width_px, height_px) = within(picture.width_px, picture.height_px);
    if (width_px, height_px) == (picture.width_px, picture.height_px) {
        return Ok(Cow::Borrowed(picture));
    }
    let pixels = picture.pixels.clone();
    let whole = RgbImage::from_raw(picture.width_px, picture.height_px, pixels)
        .ok_or_else(|| Error::internal("a picture without all its pixels"))?;
    // Lanczos: keeps edges sharp, and takes every pixel of the original in.
    let small = imageops::resize(&whole, width_px, height_px, imageops::FilterType::Lanczos3);
    Ok(Cow::Owned(Rgb8 {
        width_px,
        height_px,
        pixels: small.into_raw(),
    }))
}

/// The largest sides in the same proportion, to the nearest pixel and at least one.
fn within(width_px: u32, height_px: u32) -> (u32, u32) {
    let longest = u64::from(width_px.max(height_px));
    if longest <= THUMBNAIL_SIDE_PX.into() {
        return (width_px, height_px);
    }
    let scaled = |side: u32| {
        let side = (u64::from(side) * u64::from(THUMBNAIL_SIDE_PX) + longest / 2) / longest;
        u32::try_from(side.max(1)).unwrap_or(THUMBNAIL_SIDE_PX)
    };
    (scaled(width_px), scaled(height_px))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Left half black, right half white.
    fn halves(width_px: u32, height_px: u32) -> Rgb8 {
        let row = (0..width_px).flat_map(|x| [if x < width_px / 2 { 0 } else { 255 }; 3]);
        let row: Vec<u8> = row.collect();
        Rgb8 {
            width_px,
            height_px,
            pixels: row.repeat(height_px as usize),
        }
    }

    #[test]
    fn sides_keep_their_proportion_and_no_picture_grows() {
        for (from, to) in [
            ((512, 512), (256, 256)),
            ((1024, 512), (256, 128)),
            ((600, 1000), (154, 256)),
            ((2048, 8), (256, 1)),
            ((2048, 1), (256, 1)),
            ((128, 64), (128, 64)),
            ((256, 256), (256, 256)),
        ] {
            assert_eq!(within(from.0, from.1), to, "{from:?}");
        }
    }

    #[test]
    fn a_thumbnail_shows_the_picture_and_is_the_same_every_time() {
        let picture = halves(512, 300);
        let bytes = thumbnail(&picture).unwrap();
        assert_eq!(bytes, thumbnail(&picture).unwrap());
        let small = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(small.dimensions(), (256, 150));
        assert!(small.get_pixel(40, 75).0.iter().all(|value| *value < 8));
        assert!(small.get_pixel(216, 75).0.iter().all(|value| *value > 247));
        for foreign in [b"Exif".as_slice(), b"imgd", b"Software"] {
            assert!(!bytes.windows(foreign.len()).any(|window| window == foreign));
        }
    }
}
