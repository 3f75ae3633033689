//! Sizes, blur and overlay are Pillow's and diffusers', byte for byte; `golden/make_pillow.py` asked them.

use super::{Rgb8, blur::gaussian, fit, overlay::overlay, resample::resized};

#[derive(serde::Deserialize)]
struct Golden {
    resized: Vec<Case>,
    filled: Vec<Case>,
    cropped: Vec<Case>,
    blurred: Vec<Case>,
    overlays: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    from: (u32, u32),
    #[serde(default)]
    to: (u32, u32),
    #[serde(default)]
    radius: u32,
    values: Vec<u8>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/pillow.json")).unwrap()
}

fn values(count: u32) -> Vec<u8> {
    (0..u64::from(count))
        .map(|i| u8::try_from((i * i * 31 + i * 7) % 251).unwrap())
        .collect()
}

fn rgb((width, height): (u32, u32)) -> Vec<u8> {
    values(width * height * 3)
}

fn grey((width, height): (u32, u32)) -> Vec<u8> {
    let values = values(width * height).into_iter();
    values.map(|v| if v < 100 { 0 } else { v }).collect()
}

#[test]
fn other_sizes_are_pillows() {
    let golden = golden();
    for Case {
        from, to, values, ..
    } in golden.resized
    {
        assert_eq!(resized(&rgb(from), 3, from, to), values, "{from:?} {to:?}");
    }
    for Case {
        from, to, values, ..
    } in golden.filled
    {
        assert_eq!(
            fit::filled(&rgb(from), 3, from, to),
            values,
            "{from:?} {to:?}"
        );
    }
    for Case {
        from, to, values, ..
    } in golden.cropped
    {
        assert_eq!(
            fit::cropped(&rgb(from), 3, from, to),
            values,
            "{from:?} {to:?}"
        );
    }
}

#[test]
fn blur_is_pillows() {
    for Case {
        from,
        radius,
        values,
        ..
    } in golden().blurred
    {
        let blurred = gaussian(&grey(from), from.0 as usize, radius);
        assert_eq!(blurred, values, "{from:?} {radius}");
    }
}

#[test]
fn an_overlay_is_diffusers() {
    for Case { from, values, .. } in golden().overlays {
        let picture = |pixels| Rgb8 {
            width_px: from.0,
            height_px: from.1,
            pixels,
        };
        let upper = picture(rgb(from));
        let width = from.0 as usize;
        let rows = upper.pixels.chunks_exact(width * 3);
        let turned = rows.flat_map(|row| row.chunks_exact(3).rev().flatten().copied());
        let lower = picture(turned.collect());
        let mask = gaussian(&grey(from), width, 1);
        assert_eq!(overlay(&upper, &lower, &mask).pixels, values);
    }
}

#[test]
fn where_a_mask_is_dark_the_bytes_are_the_originals() {
    for value in 0..=u8::MAX {
        let picture = |value| Rgb8 {
            width_px: 1,
            height_px: 1,
            pixels: vec![value; 3],
        };
        let over = |mask| overlay(&picture(value), &picture(!value), &[mask]).pixels[0];
        assert_eq!((over(0), over(255)), (value, !value));
    }
}
