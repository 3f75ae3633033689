//! The few characters that stand on a contact sheet, drawn dot by dot.

use image::{Rgb, RgbImage};

/// Dots of a character, and the column between two.
pub(super) const WIDTH_DOTS: u32 = 6;
/// Dots of a character from top to bottom.
pub(super) const HEIGHT_DOTS: u32 = 7;

const fn glyph(character: char) -> [&'static [u8; 5]; 7] {
    match character {
        '0' => [
            b" ### ", b"#   #", b"#  ##", b"# # #", b"##  #", b"#   #", b" ### ",
        ],
        '1' => [
            b"  #  ", b" ##  ", b"  #  ", b"  #  ", b"  #  ", b"  #  ", b" ### ",
        ],
        '2' => [
            b" ### ", b"#   #", b"    #", b"   # ", b"  #  ", b" #   ", b"#####",
        ],
        '3' => [
            b"#####", b"   # ", b"  #  ", b"   # ", b"    #", b"#   #", b" ### ",
        ],
        '4' => [
            b"   # ", b"  ## ", b" # # ", b"#  # ", b"#####", b"   # ", b"   # ",
        ],
        '5' => [
            b"#####", b"#    ", b"#### ", b"    #", b"    #", b"#   #", b" ### ",
        ],
        '6' => [
            b"  ## ", b" #   ", b"#    ", b"#### ", b"#   #", b"#   #", b" ### ",
        ],
        '7' => [
            b"#####", b"    #", b"   # ", b"  #  ", b" #   ", b" #   ", b" #   ",
        ],
        '8' => [
            b" ### ", b"#   #", b"#   #", b" ### ", b"#   #", b"#   #", b" ### ",
        ],
        '9' => [
            b" ### ", b"#   #", b"#   #", b" ####", b"    #", b"   # ", b" ##  ",
        ],
        'd' => [
            b"    #", b"    #", b" ## #", b"#  ##", b"#   #", b"#   #", b" ####",
        ],
        'e' => [
            b"     ", b"     ", b" ### ", b"#   #", b"#####", b"#    ", b" ### ",
        ],
        's' => [
            b"     ", b"     ", b" ### ", b"#    ", b" ### ", b"    #", b"#### ",
        ],
        _ => [b"     "; 7],
    }
}

/// The columns that a text takes, in pixels.
pub(super) fn width_px(text: &str, dot_px: u32) -> u32 {
    let characters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    characters
        .saturating_mul(WIDTH_DOTS * dot_px)
        .saturating_sub(dot_px)
}

/// Draws digits and the letters of `seed` with their top left corner at `(x, y)`; what lies outside is cut.
pub(super) fn draw(
    sheet: &mut RgbImage,
    text: &str,
    (x, y): (u32, u32),
    dot_px: u32,
    color: Rgb<u8>,
) {
    let mut left = x;
    for character in text.chars() {
        for (row, dots) in (0..).zip(glyph(character)) {
            for (column, _) in (0..).zip(dots).filter(|(_, dot)| **dot == b'#') {
                square(
                    sheet,
                    (left + column * dot_px, y + row * dot_px),
                    dot_px,
                    color,
                );
            }
        }
        left += WIDTH_DOTS * dot_px;
    }
}

fn square(sheet: &mut RgbImage, (x, y): (u32, u32), side_px: u32, color: Rgb<u8>) {
    for (x, y) in (x..x + side_px).flat_map(|x| (y..y + side_px).map(move |y| (x, y))) {
        if let Some(pixel) = sheet.get_pixel_mut_checked(x, y) {
            *pixel = color;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_is_drawn_and_no_two_are_alike() {
        let drawn: Vec<_> = "0123456789sed "
            .chars()
            .map(|character| {
                let mut sheet = RgbImage::new(5, 7);
                draw(&mut sheet, &character.to_string(), (0, 0), 1, Rgb([255; 3]));
                sheet.into_raw()
            })
            .collect();
        for (i, one) in drawn.iter().enumerate() {
            assert!(drawn[..i].iter().all(|other| other != one), "{i}");
        }
        assert!(drawn[..10].iter().all(|digit| digit.contains(&255)));
    }

    #[test]
    fn what_lies_outside_is_cut() {
        let mut sheet = RgbImage::new(8, 8);
        draw(&mut sheet, "123456789", (3, 5), 3, Rgb([255; 3]));
        assert_eq!(width_px("12", 2), 22);
    }
}
