//! The contact sheet: every preview enlarged, with its number and seed below it.

use std::io::Cursor;

use image::{
    DynamicImage, ExtendedColorType, ImageEncoder as _, ImageReader, Limits, Rgb, RgbImage,
    codecs::png::PngEncoder,
    imageops::{self, FilterType},
};

use super::font;

/// The longer side of an enlarged preview, in pixels.
const PICTURE_PX: u32 = 192;
/// Between pictures and around them, in pixels.
const GAP_PX: u32 = 12;
/// Height of what stands below a picture, in pixels.
const CAPTION_PX: u32 = 34;
/// Of many pictures each is smaller, so that the sheet is no wider than this, in pixels.
const MAX_WIDTH_PX: u32 = 2_000;

const BACKGROUND: Rgb<u8> = Rgb([24, 24, 27]);
const MISSING: Rgb<u8> = Rgb([63, 63, 70]);
const NUMBER: Rgb<u8> = Rgb([250, 250, 250]);
const SEED: Rgb<u8> = Rgb([161, 161, 170]);

/// A picture to put on the sheet.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its number, from 1.
    pub(super) number: u32,
    pub(super) seed: u64,
    /// A PNG; one that cannot be read leaves an empty frame.
    pub(super) preview: Vec<u8>,
}

/// Draws the sheet. `None` where there is nothing to draw.
pub(super) fn draw(entries: &[Entry]) -> Option<RgbImage> {
    let previews: Vec<_> = entries.iter().map(|entry| decode(&entry.preview)).collect();
    let count = u32::try_from(entries.len())
        .ok()
        .filter(|&count| count > 0)?;
    let columns = columns(count);
    let rows = count.div_ceil(columns);
    let side_px = PICTURE_PX
        .min((MAX_WIDTH_PX / columns).saturating_sub(GAP_PX))
        .max(48);
    // Pictures of one job are of one size.
    let shape = previews
        .iter()
        .flatten()
        .next()
        .map_or((1, 1), |preview| (preview.width(), preview.height()));
    let (width_px, height_px) = fitted(shape, side_px);
    let caption_px = CAPTION_PX * side_px.div_ceil(4) / PICTURE_PX.div_ceil(4);
    let (step_x, step_y) = (width_px + GAP_PX, height_px + caption_px + GAP_PX);
    let mut sheet = RgbImage::from_pixel(
        columns * step_x + GAP_PX,
        rows * step_y + GAP_PX,
        BACKGROUND,
    );
    for ((i, entry), preview) in (0..).zip(entries).zip(previews) {
        let (x, y) = (GAP_PX + i % columns * step_x, GAP_PX + i / columns * step_y);
        let picture = match preview {
            Some(preview) => {
                // Smooth: squares would look like a fault of the picture.
                let large = preview.resize_exact(width_px, height_px, FilterType::CatmullRom);
                large.into_rgb8()
            }
            None => RgbImage::from_pixel(width_px, height_px, MISSING),
        };
        imageops::replace(&mut sheet, &picture, x.into(), y.into());
        caption(&mut sheet, entry, (x, y + height_px), width_px);
    }
    Some(sheet)
}

/// The sheet as a PNG.
pub(super) fn png(sheet: &RgbImage) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes).write_image(
        sheet.as_raw(),
        sheet.width(),
        sheet.height(),
        ExtendedColorType::Rgb8,
    )?;
    Ok(bytes)
}

/// The number, and the seed behind it where both fit in the picture's width.
fn caption(sheet: &mut RgbImage, entry: &Entry, (x, y): (u32, u32), width_px: u32) {
    let number = entry.number.to_string();
    let dot_px = if width_px < 120 { 2 } else { 3 };
    font::draw(sheet, &number, (x, y + 6), dot_px, NUMBER);
    let behind = font::width_px(&number, dot_px) + 4 * dot_px;
    for (text, dot_px) in [
        (format!("seed {}", entry.seed), 2),
        (entry.seed.to_string(), 2),
        (format!("seed {}", entry.seed), 1),
        (entry.seed.to_string(), 1),
    ] {
        let needs = font::width_px(&text, dot_px);
        if behind + needs <= width_px {
            // On the number's base line, at the picture's right edge.
            let drop = font::HEIGHT_DOTS * if width_px < 120 { 2 } else { 3 };
            let top = y + 6 + drop - font::HEIGHT_DOTS * dot_px;
            font::draw(sheet, &text, (x + width_px - needs, top), dot_px, SEED);
            return;
        }
    }
}

/// Pictures in a row: the sheet is as wide as high, or a little wider.
pub(super) fn columns(count: u32) -> u32 {
    let root = count.isqrt();
    if root * root == count { root } else { root + 1 }
}

fn fitted((width, height): (u32, u32), side_px: u32) -> (u32, u32) {
    let longest = width.max(height).max(1);
    let scaled = |side: u32| (side * side_px / longest).max(1);
    (scaled(width), scaled(height))
}

fn decode(png: &[u8]) -> Option<DynamicImage> {
    let mut reader = ImageReader::new(Cursor::new(png))
        .with_guessed_format()
        .ok()?;
    let mut limits = Limits::default();
    // One pixel for each latent: an eighth of the largest picture.
    limits.max_image_width = Some(1_024);
    limits.max_image_height = Some(1_024);
    reader.limits(limits);
    reader.decode().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A preview that fades from one colour to another.
    pub(in super::super) fn preview(index: u8, width: u32, height: u32) -> Vec<u8> {
        let picture = RgbImage::from_fn(width, height, |x, y| {
            let fade = |at: u32, of: u32| u8::try_from(at * 255 / of).unwrap();
            Rgb([fade(x, width), fade(y, height), index.wrapping_mul(40)])
        });
        png(&picture).unwrap()
    }

    fn entries(count: u8, width: u32, height: u32) -> Vec<Entry> {
        (0..count)
            .map(|i| Entry {
                number: u32::from(i) + 1,
                seed: 1_234_567_890 + u64::from(i),
                preview: preview(i, width, height),
            })
            .collect()
    }

    #[test]
    fn a_sheet_has_a_place_for_every_picture() {
        for (count, columns, rows) in [(1, 1, 1), (2, 2, 1), (5, 3, 2), (16, 4, 4)] {
            let sheet = draw(&entries(count, 32, 16)).unwrap();
            assert_eq!(sheet.width(), columns * (192 + 12) + 12);
            assert_eq!(sheet.height(), rows * (96 + 34 + 12) + 12);
        }
        assert!(draw(&[]).is_none());
    }

    #[test]
    fn pictures_and_numbers_are_where_they_belong() {
        let mut entries = entries(4, 32, 32);
        entries[3].preview = b"no picture".to_vec();
        let sheet = draw(&entries).unwrap();
        // The second picture's top left corner, and the middle of the fourth's frame.
        assert_eq!(sheet.get_pixel(12 + 204, 12).0[2], 40);
        assert_eq!(*sheet.get_pixel(12 + 204 + 96, 12 + 238 + 96), MISSING);
        let caption = imageops::crop_imm(&sheet, 12, 12 + 192, 192, 34).to_image();
        for color in [NUMBER, SEED] {
            assert!(caption.pixels().any(|pixel| *pixel == color));
        }
    }

    #[test]
    fn a_sheet_of_many_is_no_wider_than_a_screen() {
        let sheet = draw(&entries(250, 8, 8)).unwrap();
        assert!(sheet.width() <= 2_048, "{}", sheet.width());
    }

    #[test]
    #[ignore = "writes a sheet to look at"]
    fn a_sheet_to_look_at() {
        let path = std::env::temp_dir().join("contact-sheet.png");
        std::fs::write(path, png(&draw(&entries(16, 32, 24)).unwrap()).unwrap()).unwrap();
    }
}
