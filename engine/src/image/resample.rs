//! Pictures in other sizes, as Pillow makes them: to the last bit, since a mask's threshold turns a bit into a pixel.
//!
//! Source: Pillow's `Resample.c` for 8 bits a channel: along rows first, then along columns, each rounded to 8 bits;
//! weights are whole numbers of 22 bits.

use rayon::prelude::*;

const WEIGHT_BITS: u32 = 22;

/// Pillow's `LANCZOS`: a sinc of three lobes.
const LANCZOS_SUPPORT: f64 = 3.0;

/// What each value of a new row or column is made of: where its sources begin, and their weights.
type Weights = Vec<(usize, Vec<i64>)>;

/// Rows of `channels` values a pixel in another size. `from` and `to`: width and height in pixels, none of them 0.
pub(crate) fn resized(pixels: &[u8], channels: usize, from: (u32, u32), to: (u32, u32)) -> Vec<u8> {
    let ((width, height), (new_width, new_height)) = (sides(from), sides(to));
    let rows = if width == new_width {
        pixels.to_vec()
    } else {
        along_rows(pixels, channels, width, &lanczos_weights(width, new_width))
    };
    if height == new_height {
        return rows;
    }
    along_columns(
        &rows,
        new_width * channels,
        &lanczos_weights(height, new_height),
    )
}

/// The row with which Pillow fills up what lies before the first row of a picture (or behind its last): its bicubic filter on
/// a box without height. `line`: values of a row.
pub(crate) fn edge_row(pixels: &[u8], line: usize, is_last: bool) -> Vec<u8> {
    let count = pixels.len() / line;
    let row = |at: usize| &pixels[at * line..(at + 1) * line];
    let (nearest, second) = if is_last {
        (row(count - 1), row(count.saturating_sub(2)))
    } else {
        (row(0), row(1.min(count - 1)))
    };
    // Bicubic at a half and at one and a half.
    let (own, others) = if count > 1 {
        (1.125, -0.125)
    } else {
        (1.0, 0.0)
    };
    let (own, others) = (whole(own), whole(others));
    let pairs = nearest.iter().zip(second);
    pairs
        .map(|(a, b)| rounded(own * i64::from(*a) + others * i64::from(*b)))
        .collect()
}

/// As [`edge_row`], for the first column or the last.
pub(crate) fn edge_column(pixels: &[u8], channels: usize, width: usize, is_last: bool) -> Vec<u8> {
    let columns: Vec<u8> = (0..width)
        .flat_map(|x| {
            pixels
                .chunks_exact(width * channels)
                .flat_map(move |row| row[x * channels..(x + 1) * channels].iter().copied())
        })
        .collect();
    edge_row(&columns, columns.len() / width, is_last)
}

fn sides((width, height): (u32, u32)) -> (usize, usize) {
    (width as usize, height as usize)
}

fn along_rows(pixels: &[u8], channels: usize, width: usize, weights: &Weights) -> Vec<u8> {
    let mut made = vec![0; pixels.len() / width * weights.len()];
    made.par_chunks_exact_mut(weights.len() * channels)
        .zip(pixels.par_chunks_exact(width * channels))
        .for_each(|(made, row)| {
            for (pixel, (first, weights)) in made.chunks_exact_mut(channels).zip(weights) {
                for (channel, value) in pixel.iter_mut().enumerate() {
                    let sources = row[first * channels + channel..].iter().step_by(channels);
                    *value = sum(sources, weights);
                }
            }
        });
    made
}

/// `line`: values of a row.
fn along_columns(pixels: &[u8], line: usize, weights: &Weights) -> Vec<u8> {
    let mut made = vec![0; line * weights.len()];
    made.par_chunks_exact_mut(line)
        .zip(weights)
        .for_each(|(made, (first, weights))| {
            for (x, value) in made.iter_mut().enumerate() {
                *value = sum(pixels[first * line + x..].iter().step_by(line), weights);
            }
        });
    made
}

fn sum<'a>(sources: impl Iterator<Item = &'a u8>, weights: &[i64]) -> u8 {
    let pairs = sources.zip(weights);
    rounded(
        pairs
            .map(|(source, weight)| i64::from(*source) * weight)
            .sum(),
    )
}

/// A sum of values times weights as a value.
fn rounded(sum: i64) -> u8 {
    let value = (sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS;
    u8::try_from(value.clamp(0, 255)).unwrap_or(u8::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places in a row, cut as Pillow cuts them"
)]
fn lanczos_weights(from: usize, to: usize) -> Weights {
    let scale = from as f64 / to as f64;
    let filter_scale = scale.max(1.0);
    let support = LANCZOS_SUPPORT * filter_scale;
    (0..to)
        .map(|at| {
            let center = (at as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let weights: Vec<f64> = (first..end)
                .map(|source| lanczos((source as f64 - center + 0.5) / filter_scale))
                .collect();
            let total: f64 = weights.iter().sum();
            (
                first,
                weights.iter().map(|weight| whole(weight / total)).collect(),
            )
        })
        .collect()
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| {
        if x == 0.0 {
            return 1.0;
        }
        let x = x * std::f64::consts::PI;
        x.sin() / x
    };
    if (-LANCZOS_SUPPORT..LANCZOS_SUPPORT).contains(&x) {
        sinc(x) * sinc(x / LANCZOS_SUPPORT)
    } else {
        0.0
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a weight of little more than 1, rounded half away from 0"
)]
fn whole(weight: f64) -> i64 {
    let scaled = weight * f64::from(1 << WEIGHT_BITS);
    (if weight < 0.0 {
        scaled - 0.5
    } else {
        scaled + 0.5
    }) as i64
}
