//! Pictures brought to another size with their proportions kept: with their edges stretched to fill it, or cut to it.
//!
//! Source: diffusers' `VaeImageProcessor`, `resize_mode` `fill` and `crop`.

use super::resample::{edge_column, edge_row, resized};

/// The whole picture in the middle of the new size; what is left over on two sides is filled with its edges.
pub(crate) fn filled(pixels: &[u8], channels: usize, from: (u32, u32), to: (u32, u32)) -> Vec<u8> {
    let (is_wider, is_narrower) = (ratio(from) > ratio(to), ratio(from) < ratio(to));
    let inner = (
        if is_wider {
            to.0
        } else {
            scaled(from.0, to.1, from.1)
        },
        if is_wider {
            scaled(from.1, to.0, from.0)
        } else {
            to.1
        },
    );
    let scaled = resized(pixels, channels, from, inner);
    let mut made = vec![0; len(to, channels)];
    let (left, top) = (to.0 / 2 - inner.0 / 2, to.1 / 2 - inner.1 / 2);
    paste(
        &mut made,
        (&scaled, channels),
        (inner, to),
        (left.into(), top.into()),
    );
    let (width, line) = (inner.0 as usize, inner.0 as usize * channels);
    let (columns, rows) = ((inner.0, 1), (1, inner.1));
    for (is_last, at) in [(false, 0), (true, top + inner.1)] {
        let edge = if is_wider && top > 0 {
            edge_row(&scaled, line, is_last)
        } else {
            break;
        };
        for y in at..at + top {
            paste(&mut made, (&edge, channels), (columns, to), (0, y.into()));
        }
    }
    for (is_last, at) in [(false, 0), (true, left + inner.0)] {
        let edge = if is_narrower && left > 0 {
            edge_column(&scaled, channels, width, is_last)
        } else {
            break;
        };
        for x in at..at + left {
            paste(&mut made, (&edge, channels), (rows, to), (x.into(), 0));
        }
    }
    made
}

/// The middle of the picture, as much of it as has the new size's proportions.
pub(crate) fn cropped(pixels: &[u8], channels: usize, from: (u32, u32), to: (u32, u32)) -> Vec<u8> {
    let is_narrower = ratio(from) < ratio(to);
    let outer = (
        if is_narrower {
            to.0
        } else {
            scaled(from.0, to.1, from.1)
        },
        if is_narrower {
            scaled(from.1, to.0, from.0)
        } else {
            to.1
        },
    );
    let scaled = resized(pixels, channels, from, outer);
    let mut made = vec![0; len(to, channels)];
    let middle = |new: u32, old: u32| i64::from(new / 2) - i64::from(old / 2);
    let at = (middle(to.0, outer.0), middle(to.1, outer.1));
    paste(&mut made, (&scaled, channels), (outer, to), at);
    made
}

/// Lays a picture onto another, its upper left corner at a place that may be outside. Sizes: of the one and the other.
pub(crate) fn paste(
    onto: &mut [u8],
    (pixels, channels): (&[u8], usize),
    (size, onto_size): ((u32, u32), (u32, u32)),
    (left, top): (i64, i64),
) {
    let first = |at: i64| u32::try_from(-at).unwrap_or(0);
    let end = |at: i64, length: u32, limit: u32| {
        u32::try_from((i64::from(limit) - at).clamp(0, i64::from(length))).unwrap_or(0)
    };
    let (x, y) = (first(left), first(top));
    let (x_end, y_end) = (
        end(left, size.0, onto_size.0),
        end(top, size.1, onto_size.1),
    );
    if x >= x_end {
        return;
    }
    let place = |x: u32, y: u32, width: u32| (y as usize * width as usize + x as usize) * channels;
    let count = (x_end - x) as usize * channels;
    for y in y..y_end {
        let to = (i64::from(x) + left, i64::from(y) + top);
        let to = (
            u32::try_from(to.0).unwrap_or(0),
            u32::try_from(to.1).unwrap_or(0),
        );
        let (source, target) = (place(x, y, size.0), place(to.0, to.1, onto_size.0));
        onto[target..target + count].copy_from_slice(&pixels[source..source + count]);
    }
}

fn ratio((width, height): (u32, u32)) -> f64 {
    f64::from(width) / f64::from(height)
}

/// `side * new / old`, cut, and at least 1.
fn scaled(side: u32, new: u32, old: u32) -> u32 {
    let scaled = u64::from(side) * u64::from(new) / u64::from(old);
    u32::try_from(scaled).unwrap_or(u32::MAX).max(1)
}

fn len((width, height): (u32, u32), channels: usize) -> usize {
    width as usize * height as usize * channels
}
