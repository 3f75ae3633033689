//! Masks as OpenAI gives them, transparent where is painted, as masks of the contract, light where is painted.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, GrayImage, ImageFormat, ImageReader, Limits, imageops::FilterType};

use crate::problem::Problem;

/// Longest side of a picture, in pixels, and most memory that one may take while it is read.
const MAX_SIDE_PX: u32 = 4096;
const MAX_ALLOC_BYTES: u64 = 256 << 20;

/// The contract's mask for a picture whose transparent parts are to be painted. `field` is the caller's name of it.
///
/// A file without transparency is taken as a mask of the contract: light where is painted. What is half transparent is
/// half painted.
pub(crate) fn of_transparency(file: &Bytes, field: &str) -> Result<Bytes, Problem> {
    let picture = read(file, field)?;
    if !picture.color().has_alpha() {
        return Ok(file.clone());
    }
    let alpha = picture.into_rgba8();
    let mut mask = GrayImage::new(alpha.width(), alpha.height());
    for (to, from) in mask.pixels_mut().zip(alpha.pixels()) {
        to.0 = [255 - from.0[3]];
    }
    png(&DynamicImage::ImageLuma8(mask), field)
}

/// The mask that a picture has in itself: `None` where nothing of it is transparent.
pub(crate) fn within(file: &Bytes, field: &str) -> Result<Option<Bytes>, Problem> {
    let picture = read(file, field)?;
    if !picture.color().has_alpha() || picture.to_rgba8().pixels().all(|pixel| pixel.0[3] == 255) {
        return Ok(None);
    }
    of_transparency(file, field).map(Some)
}

/// A small preview, brought to the size of the picture that it is of.
pub(crate) fn enlarged(preview: &[u8], width_px: u32, height_px: u32) -> Option<Vec<u8>> {
    let small = image::load_from_memory_with_format(preview, ImageFormat::Png).ok()?;
    let (width_px, height_px) = (
        width_px.clamp(1, MAX_SIDE_PX),
        height_px.clamp(1, MAX_SIDE_PX),
    );
    let large = small.resize_exact(width_px, height_px, FilterType::CatmullRom);
    let mut bytes = Cursor::new(Vec::new());
    large.write_to(&mut bytes, ImageFormat::Png).ok()?;
    Some(bytes.into_inner())
}

fn read(file: &Bytes, field: &str) -> Result<DynamicImage, Problem> {
    let unreadable = |reason: String| {
        Problem::field(
            field,
            "invalid_image",
            format!("{field} cannot be read as PNG, JPEG or WebP: {reason}"),
        )
    };
    let mut reader = ImageReader::new(Cursor::new(file))
        .with_guessed_format()
        .map_err(|error| unreadable(error.to_string()))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    limits.max_alloc = Some(MAX_ALLOC_BYTES);
    reader.limits(limits);
    reader
        .decode()
        .map_err(|error| unreadable(error.to_string()))
}

fn png(picture: &DynamicImage, field: &str) -> Result<Bytes, Problem> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| Problem::value(field, error.to_string()))?;
    Ok(bytes.into_inner().into())
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    fn file(picture: RgbaImage) -> Bytes {
        png(&DynamicImage::ImageRgba8(picture), "mask").unwrap()
    }

    #[test]
    fn transparent_becomes_light() {
        let mut picture = RgbaImage::from_pixel(3, 1, Rgba([9, 9, 9, 255]));
        picture.put_pixel(1, 0, Rgba([9, 9, 9, 0]));
        picture.put_pixel(2, 0, Rgba([9, 9, 9, 55]));
        let mask = of_transparency(&file(picture.clone()), "mask").unwrap();
        let mask = read(&mask, "mask").unwrap().into_luma8();
        assert_eq!(mask.into_raw(), [0, 255, 200]);
        assert!(within(&file(picture), "image").unwrap().is_some());
        let whole = RgbaImage::from_pixel(2, 2, Rgba([1, 2, 3, 255]));
        assert!(within(&file(whole), "image").unwrap().is_none());
    }

    #[test]
    fn a_mask_without_transparency_stays_as_it_is() {
        let gray = DynamicImage::ImageLuma8(GrayImage::from_pixel(2, 2, image::Luma([255])));
        let file = png(&gray, "mask").unwrap();
        assert_eq!(of_transparency(&file, "mask").unwrap(), file);
    }

    #[test]
    fn what_is_no_picture_names_its_field() {
        let problem = of_transparency(&Bytes::from_static(b"GIF89a"), "mask").unwrap_err();
        assert_eq!(problem.json()["error"]["param"], "mask");
    }
}
