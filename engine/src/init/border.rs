//! What lies around a picture that is extended, before it is drawn: its edges, blurred, and a mask with a soft rim.

use crate::image::{Rgb8, blur::gaussian, fit::paste};

use super::frame::Frame;

/// How far the mask reaches into the picture, falling from white to black, in pixels. The outer half is drawn anew.
const FEATHER_PX: u32 = 16;

/// The blur of what is around is a quarter of the widest border, and at most this, in pixels.
const BLUR_LIMIT_PX: u32 = 64;

/// `picture` on its canvas; around it are its edges' pixels, blurred.
pub(super) fn extended(picture: &Rgb8, frame: &Frame) -> Rgb8 {
    let (width, height) = frame.canvas;
    let nearest =
        |at: u32, begin: u32, length: u32| at.saturating_sub(begin).min(length - 1) as usize;
    let line = picture.width_px as usize * 3;
    let around = |channel: usize| -> Vec<u8> {
        (0..height)
            .flat_map(|y| {
                let row = &picture.pixels[nearest(y, frame.at.1, frame.own.1) * line..];
                (0..width).map(move |x| row[nearest(x, frame.at.0, frame.own.0) * 3 + channel])
            })
            .collect()
    };
    let border = [
        frame.at.0,
        frame.at.1,
        width - frame.own.0 - frame.at.0,
        height - frame.own.1 - frame.at.1,
    ];
    let widest = border.into_iter().max().unwrap_or(0);
    let radius = widest.div_ceil(4).min(BLUR_LIMIT_PX);
    let channels = [0, 1, 2].map(|channel| gaussian(&around(channel), width as usize, radius));
    let [red, green, blue] = channels;
    let colours = red.into_iter().zip(green).zip(blue);
    let mut pixels: Vec<u8> = colours.flat_map(|((r, g), b)| [r, g, b]).collect();
    let at = (i64::from(frame.at.0), i64::from(frame.at.1));
    paste(
        &mut pixels,
        (&picture.pixels, 3),
        (frame.own, frame.canvas),
        at,
    );
    Rgb8 {
        width_px: width,
        height_px: height,
        pixels,
    }
}

/// The mask on the canvas: white around the picture, falling to black inside of it, and what `own` has where that is lighter.
pub(super) fn mask(own: Option<&[u8]>, frame: &Frame) -> Vec<u8> {
    let (width, height) = frame.canvas;
    (0..height)
        .flat_map(|y| {
            let down = light(y, frame.at.1, frame.own.1, height);
            (0..width).map(move |x| {
                let across = light(x, frame.at.0, frame.own.0, width);
                let inside = x
                    .checked_sub(frame.at.0)
                    .zip(y.checked_sub(frame.at.1))
                    .filter(|(x, y)| *x < frame.own.0 && *y < frame.own.1);
                let own = inside
                    .zip(own)
                    .map_or(0, |((x, y), own)| own[(y * frame.own.0 + x) as usize]);
                across.max(down).max(own)
            })
        })
        .collect()
}

/// How white the mask is at a place of one side, on which the picture lies at `begin`.
fn light(at: u32, begin: u32, length: u32, canvas: u32) -> u8 {
    let end = begin + length;
    if at < begin || at >= end {
        return u8::MAX;
    }
    let feather = FEATHER_PX.min(length / 4);
    // A side that is not extended has no rim.
    let from_begin = (begin > 0).then_some(at - begin);
    let from_end = (end < canvas).then_some(end - 1 - at);
    let distance = from_begin.into_iter().chain(from_end).min();
    let left = distance.map_or(0, |distance| feather.saturating_sub(distance));
    u8::try_from(255 * left / (feather + 1)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Borders, InitImage,
        image::{Format, encode},
    };

    #[test]
    fn the_picture_keeps_its_pixels_and_the_mask_its_middle() {
        let picture = Rgb8 {
            width_px: 64,
            height_px: 32,
            pixels: (0..64 * 32 * 3_u32)
                .map(|i| u8::try_from(i * i % 251).unwrap())
                .collect(),
        };
        let init = InitImage {
            borders: Borders {
                left_px: 24,
                bottom_px: 8,
                ..Borders::default()
            },
            ..InitImage::new(encode(&picture, Format::Png, None).unwrap().into())
        };
        let frame = Frame::of(&init, 8).unwrap();
        let canvas = extended(&picture, &frame);
        assert_eq!((canvas.width_px, canvas.height_px), (88, 40));
        for y in 0..32_usize {
            let row = &canvas.pixels[(y * 88 + 24) * 3..][..64 * 3];
            assert_eq!(row, &picture.pixels[y * 64 * 3..][..64 * 3]);
        }
        let mask = mask(None, &frame);
        let at = |x: usize, y: usize| mask[y * 88 + x];
        assert_eq!(
            (at(0, 0), at(23, 0), at(40, 0), at(87, 0)),
            (255, 255, 0, 0)
        );
        assert!(at(24, 0) > 200 && at(31, 0) >= 128 && at(32, 0) < 128 && at(39, 0) > 0);
        // A quarter of 32 pixels.
        assert_eq!((at(60, 39), at(60, 32), at(60, 23)), (255, 255, 0));
        assert!(at(60, 31) > 200);
    }
}
