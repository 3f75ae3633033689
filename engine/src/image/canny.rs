//! Edges of a picture, after Canny, as OpenCV's `cv2.Canny` finds them with its defaults: derivatives of 3x3 pixels, whose
//! lengths are sums of both directions; of each pixel's colours the one that changes most counts.
//!
//! Source: J. Canny, "A computational approach to edge detection" (1986); what is left open there is as in OpenCV's
//! `canny.cpp`.

use super::Rgb8;

/// tan 22.5°, in units of 2^-15.
const TAN_22: i64 = 13_573;

/// A change of light at a pixel: to the right, downwards, and how strong.
#[derive(Clone, Copy, Default)]
struct Gradient {
    x: i32,
    y: i32,
    magnitude: i32,
}

/// What is known of a pixel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Nothing,
    /// An edge if it touches one.
    Weak,
    Edge,
}

/// Edges are white, the rest is black.
///
/// `low`, `high`: strengths above which a pixel continues an edge, and begins one; of 0 to 2040.
pub fn canny(picture: &Rgb8, low: u32, high: u32) -> Rgb8 {
    let (width, height) = (picture.width_px as usize, picture.height_px as usize);
    let whole = |threshold: u32| i32::try_from(threshold).unwrap_or(i32::MAX);
    let (low, high) = (whole(low.min(high)), whole(low.max(high)));
    let gradients = gradients(picture, width, height);
    let mut marks = vec![Mark::Nothing; width * height];
    let mut edges = Vec::new();
    for at in 0..width * height {
        let gradient = gradients[at];
        if gradient.magnitude > low && is_ridge(&gradients, (width, height), at) {
            marks[at] = Mark::Weak;
            if gradient.magnitude > high {
                marks[at] = Mark::Edge;
                edges.push(at);
            }
        }
    }
    // What touches an edge, corners included, is one.
    while let Some(at) = edges.pop() {
        let (row, column) = (at / width, at % width);
        for row in row.saturating_sub(1)..(row + 2).min(height) {
            for column in column.saturating_sub(1)..(column + 2).min(width) {
                let near = row * width + column;
                if marks[near] == Mark::Weak {
                    marks[near] = Mark::Edge;
                    edges.push(near);
                }
            }
        }
    }
    let light = |mark: &Mark| [if *mark == Mark::Edge { 255 } else { 0 }; 3];
    Rgb8 {
        pixels: marks.iter().flat_map(light).collect(),
        ..*picture
    }
}

/// The change at each pixel; beyond its sides the picture goes on as it ends.
fn gradients(picture: &Rgb8, width: usize, height: usize) -> Vec<Gradient> {
    let mut gradients = Vec::with_capacity(width * height);
    for row in 0..height {
        let rows = [row.saturating_sub(1), row, (row + 1).min(height - 1)];
        for column in 0..width {
            let columns = [
                column.saturating_sub(1),
                column,
                (column + 1).min(width - 1),
            ];
            let mut strongest = Gradient::default();
            for channel in 0..3 {
                let light = |row: usize, column: usize| {
                    let at = (rows[row] * width + columns[column]) * 3 + channel;
                    i32::from(picture.pixels[at])
                };
                let across = |row| light(row, 2) - light(row, 0);
                let down = |column| light(2, column) - light(0, column);
                let (x, y) = (
                    across(0) + 2 * across(1) + across(2),
                    down(0) + 2 * down(1) + down(2),
                );
                let magnitude = x.abs() + y.abs();
                if channel == 0 || magnitude > strongest.magnitude {
                    strongest = Gradient { x, y, magnitude };
                }
            }
            gradients.push(strongest);
        }
    }
    gradients
}

/// Whether the change is greatest across the edge that it would belong to.
fn is_ridge(gradients: &[Gradient], (width, height): (usize, usize), at: usize) -> bool {
    let (row, column) = (at / width, at % width);
    // Nothing changes outside.
    let magnitude = |down: isize, right: isize| {
        let row = row.checked_add_signed(down).filter(|row| *row < height);
        let column = column
            .checked_add_signed(right)
            .filter(|column| *column < width);
        row.zip(column)
            .map_or(0, |(row, column)| gradients[row * width + column].magnitude)
    };
    let Gradient {
        x,
        y,
        magnitude: own,
    } = gradients[at];
    let (x_size, y_size) = (i64::from(x.abs()), i64::from(y.abs()) << 15);
    let flat = x_size * TAN_22;
    let steep = flat + (x_size << 16);
    if y_size < flat {
        own > magnitude(0, -1) && own >= magnitude(0, 1)
    } else if y_size > steep {
        own > magnitude(-1, 0) && own >= magnitude(1, 0)
    } else {
        let right = if (x ^ y) < 0 { -1 } else { 1 };
        own > magnitude(-1, -right) && own > magnitude(1, right)
    }
}
