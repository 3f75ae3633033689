//! A user's picture as pixels. Files are of unknown origin: their sizes are checked before memory is taken.

use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, Limits};

use super::{Rgb8, resample::resized, riff};
use crate::{Error, Result};

/// Largest side of a picture that is read, in pixels.
pub const INPUT_SIDE_LIMIT_PX: u32 = 8192;
/// Most memory that decoding one may take, in bytes.
const MEMORY_LIMIT_BYTES: u64 = 512 << 20;

/// A picture's file, its header read and its size checked.
struct Opened<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    field: &'static str,
}

/// Width and height in pixels, as they are shown.
///
/// `field` is the request's name of the picture. Fails with `InvalidArgument` when it is no PNG, JPEG or WebP file, is
/// damaged, or is larger than [`INPUT_SIDE_LIMIT_PX`].
pub fn size_of(bytes: &[u8], field: &'static str) -> Result<(u32, u32)> {
    let mut opened = open(bytes, field)?;
    let (width, height) = opened.decoder.dimensions();
    let orientation = opened.orientation()?;
    Ok(match orientation {
        image::metadata::Orientation::Rotate90
        | image::metadata::Orientation::Rotate270
        | image::metadata::Orientation::Rotate90FlipH
        | image::metadata::Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    })
}

/// The picture in the given size in pixels, as it is shown; transparency is dropped. Fails as [`size_of`] does.
///
/// Another size is made by Lanczos' filter over the whole picture, whatever that does to its proportions, as diffusers'
/// `VaeImageProcessor` does.
pub fn read_rgb(bytes: &[u8], (width, height): (u32, u32), field: &'static str) -> Result<Rgb8> {
    let picture = open(bytes, field)?.decode()?.into_rgb8();
    let from = picture.dimensions();
    Ok(Rgb8 {
        width_px: width,
        height_px: height,
        pixels: resized(&picture.into_raw(), 3, from, (width, height)),
    })
}

/// The picture in its own size, as it is shown, and how opaque its pixels are, a byte each, where not all are. Fails as
/// [`size_of`] does.
pub(crate) fn read_with_alpha(
    bytes: &[u8],
    field: &'static str,
) -> Result<(Rgb8, Option<Vec<u8>>)> {
    let picture = open(bytes, field)?.decode()?;
    let alpha = picture.color().has_alpha().then(|| -> Vec<u8> {
        let rgba = picture.to_rgba8();
        rgba.pixels().map(|pixel| pixel.0[3]).collect()
    });
    let picture = picture.into_rgb8();
    let (width_px, height_px) = picture.dimensions();
    let picture = Rgb8 {
        width_px,
        height_px,
        pixels: picture.into_raw(),
    };
    let is_opaque = |alpha: &Vec<u8>| alpha.iter().all(|alpha| *alpha == u8::MAX);
    Ok((picture, alpha.filter(|alpha| !is_opaque(alpha))))
}

/// The picture's lightness in the given size, row by row from the top: `width * height` bytes. Fails as [`size_of`] does.
///
/// Source of the weights: Pillow's conversion to `L`.
pub fn read_grey(
    bytes: &[u8],
    (width, height): (u32, u32),
    field: &'static str,
) -> Result<Vec<u8>> {
    let picture = open(bytes, field)?.decode()?;
    let is_grey = !picture.color().has_color();
    let rgb = picture.into_rgb8();
    let grey = image::GrayImage::from_fn(rgb.width(), rgb.height(), |x, y| {
        let [r, g, b] = rgb.get_pixel(x, y).0.map(u32::from);
        let light = if is_grey {
            r
        } else {
            (r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16
        };
        image::Luma([u8::try_from(light).unwrap_or(u8::MAX)])
    });
    let from = grey.dimensions();
    Ok(resized(&grey.into_raw(), 1, from, (width, height)))
}

fn open<'a>(bytes: &'a [u8], field: &'static str) -> Result<Opened<'a>> {
    let damaged = |error: image::ImageError| damaged(field, &error);
    let limits = || {
        let mut limits = Limits::default();
        limits.max_image_width = Some(INPUT_SIDE_LIMIT_PX);
        limits.max_image_height = Some(INPUT_SIDE_LIMIT_PX);
        limits.max_alloc = Some(MEMORY_LIMIT_BYTES);
        limits
    };
    let cursor = Cursor::new(bytes);
    let mut decoder: Box<dyn ImageDecoder + 'a> = match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => {
            Box::new(PngDecoder::with_limits(cursor, limits()).map_err(damaged)?)
        }
        Ok(ImageFormat::Jpeg) => Box::new(JpegDecoder::new(cursor).map_err(damaged)?),
        Ok(ImageFormat::WebP) if !riff::is_whole(bytes) => {
            let message = format!("`{field}` is damaged: it ends before what it promises");
            return Err(Error::invalid(field, message));
        }
        Ok(ImageFormat::WebP) => Box::new(WebPDecoder::new(cursor).map_err(damaged)?),
        _ => {
            let message = format!("`{field}` is no PNG, JPEG or WebP picture");
            return Err(Error::invalid(field, message));
        }
    };
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 || width.max(height) > INPUT_SIDE_LIMIT_PX {
        let message = format!(
            "`{field}` has {width}x{height} pixels; 1 to {INPUT_SIDE_LIMIT_PX} on a side are read"
        );
        return Err(Error::invalid(field, message));
    }
    decoder.set_limits(limits()).map_err(damaged)?;
    Ok(Opened { decoder, field })
}

impl Opened<'_> {
    fn orientation(&mut self) -> Result<image::metadata::Orientation> {
        self.decoder
            .orientation()
            .map_err(|error| damaged(self.field, &error))
    }

    fn decode(mut self) -> Result<DynamicImage> {
        let orientation = self.orientation()?;
        let mut picture = DynamicImage::from_decoder(self.decoder)
            .map_err(|error| damaged(self.field, &error))?;
        picture.apply_orientation(orientation);
        Ok(picture)
    }
}

fn damaged(field: &'static str, error: &image::ImageError) -> Error {
    Error::invalid(field, format!("`{field}` is damaged: {error}"))
        .with_hint("save the picture again as PNG, JPEG or WebP")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Format, encode};

    fn png(width_px: u32, height_px: u32) -> Vec<u8> {
        let pixels = (0..3 * width_px * height_px)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        let picture = Rgb8 {
            width_px,
            height_px,
            pixels,
        };
        encode(&picture, Format::Png, None).unwrap()
    }

    #[test]
    fn a_picture_of_the_size_comes_back_as_it_was() {
        let bytes = png(16, 8);
        assert_eq!(size_of(&bytes, "image").unwrap(), (16, 8));
        let picture = read_rgb(&bytes, (16, 8), "image").unwrap();
        assert_eq!(picture.pixels[..5], [0, 1, 2, 3, 4]);
        let smaller = read_rgb(&bytes, (8, 8), "image").unwrap();
        assert_eq!(smaller.pixels.len(), 8 * 8 * 3);
        assert_eq!(read_grey(&bytes, (16, 8), "mask").unwrap().len(), 128);
    }

    #[test]
    fn what_is_no_picture_or_too_large_is_refused_by_field() {
        for bytes in [&b"GIF89a"[..], b"", b"\x89PNG\r\n\x1a\nrest"] {
            assert_eq!(
                size_of(bytes, "init_image").unwrap_err().field(),
                Some("init_image")
            );
        }
        // A header of 65 bytes that promises 60,000 x 60,000 pixels.
        let mut bomb = png(8, 8);
        bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        assert!(size_of(&bomb, "mask").is_err());
        let cut = &png(64, 64)[..200];
        assert!(read_rgb(cut, (64, 64), "init_image").is_err());
    }
}
