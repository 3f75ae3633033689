//! 3x3 convolutions in single precision with a quarter of the multiplications: Winograd's F(4x4, 3x3).
//!
//! Six by six pixels of input become four by four of the result: both sides are transformed, multiplied number by number and
//! summed over the channels, and the sums are transformed back. Source: Lavin and Gray 2015, "Fast algorithms for
//! convolutional neural networks". The transformed weights are four times as many as the weights, so they are made anew
//! in every call and not kept: it pays where the image has many pixels for each weight.
//!
//! The transforms' factors cost some accuracy: about 1e-5 of the largest number, where the direct sum has 1e-6.

use super::conv::ConvInput;
use super::epilogue::Extras;
use super::output::fill;
use super::panels::{PANEL, TypedPanels};
use super::parallel;
use super::seen::Seen;
use super::simd::for_each_instruction_set;
use super::tile::{Rows, multiply};
use crate::kernels::Activation;

/// Pixels of the result that a tile has on a side.
pub(super) const SIDE: usize = 4;
/// Pixels of the input that it sees on a side.
const SEEN: usize = 6;
/// Numbers of a transformed tile, for each channel.
const POINTS: usize = SEEN * SEEN;
/// Channels transformed at once.
const LANES: usize = 16;
/// Tiles whose numbers are there at once: those of one point and its weights stay in the second-level cache.
const TILES_AT_ONCE: usize = 252;
/// Tiles of an element from which the transform of the weights is earned back. Measured on AVX-512: at 32x32 pixels two thirds
/// of the direct sum's time, at 16x16 about the same.
const FEWEST_TILES: usize = 64;

type Lanes = [f32; LANES];

/// Whether it pays, by the shape of one element alone.
pub(super) fn pays(height: usize, width: usize, channels: usize, activation: Activation) -> bool {
    height.div_ceil(SIDE) * width.div_ceil(SIDE) >= FEWEST_TILES
        && channels.is_multiple_of(LANES)
        && channels > 0
        && activation == Activation::Identity
}

/// The convolution with one pixel of padding. `numbers`: the input's. `(height, width)` is the size of the result.
///
/// The caller knows that it [`pays`].
pub(super) fn conv3x3(
    input: &ConvInput<'_>,
    numbers: &[f32],
    seen: &Seen,
    (height, width): (usize, usize),
    panels: TypedPanels<'_, f32>,
    extras: &Extras<'_>,
) -> Vec<f32> {
    assert!(
        input.channels.is_multiple_of(LANES) && extras.activation == Activation::Identity,
        "Winograd of a shape it is not for"
    );
    let grid = Grid {
        input,
        numbers,
        seen,
        height,
        width,
    };
    let tiles = input.elements * grid.in_element();
    let (channels, columns) = (input.channels, panels.columns);
    let sums_width = panels.count() * PANEL;
    let weights = transform_weights(&panels);
    // SAFETY: the tiles cover the pixels of every element once, and `write_tile` writes all columns of its pixels.
    unsafe {
        fill(input.elements * height * width * columns, |output| {
            for first in (0..tiles).step_by(TILES_AT_ONCE) {
                let count = TILES_AT_ONCE.min(tiles - first);
                let points = fill(POINTS * count * channels, |points| {
                    parallel::for_each(count, |tile| {
                        let seen = grid.seen(first + tile);
                        for from in (0..channels).step_by(LANES) {
                            let transformed = transform_input(&seen, from);
                            for (p, lanes) in transformed.as_flattened().iter().enumerate() {
                                let at = (p * count + tile) * channels + from;
                                points.part(at, LANES).copy_from_slice(lanes);
                            }
                        }
                    });
                });
                let sums = fill(POINTS * count * sums_width, |sums| {
                    parallel::for_each(POINTS, |p| {
                        let rows = &points[p * count * channels..][..count * channels];
                        let rows = Rows::matrix(rows, count, channels, channels);
                        let weights =
                            &weights[p * channels * sums_width..][..channels * sums_width];
                        let sums = sums.part(p * count * sums_width, count * sums_width);
                        multiply(rows, weights, panels.count(), sums, sums_width);
                    });
                });
                parallel::for_each(count, |tile| {
                    let place = grid.place(first + tile);
                    for from in (0..columns).step_by(LANES) {
                        let lanes = LANES.min(columns - from);
                        let result =
                            transform_sums(&sums[tile * sums_width + from..], count * sums_width);
                        let bias = bias_of(extras, place.element, columns, from, lanes);
                        for (i, row) in result.iter().enumerate().take(place.rows) {
                            for (j, sums) in row.iter().enumerate().take(place.pixels) {
                                let pixel = place.first + i * width + j;
                                let at = pixel * columns + from;
                                let to = output.part(at, lanes);
                                let residual =
                                    extras.residual.map(|residual| &residual[at..][..lanes]);
                                finish(&sums[..lanes], &bias, residual, to);
                            }
                        }
                    }
                });
            }
        })
    }
}

/// Both biases of an element.
fn bias_of(
    extras: &Extras<'_>,
    element: usize,
    columns: usize,
    from: usize,
    lanes: usize,
) -> Lanes {
    let mut bias = [0.0; LANES];
    let of_element = extras
        .element_bias
        .map(|b| &b[element * columns..][..columns]);
    for part in [extras.bias, of_element].into_iter().flatten() {
        for (sum, b) in bias.iter_mut().zip(&part[from..from + lanes]) {
            *sum += b;
        }
    }
    bias
}

fn finish(sums: &[f32], bias: &Lanes, residual: Option<&[f32]>, to: &mut [f32]) {
    for (i, to) in to.iter_mut().enumerate() {
        *to = sums[i] + bias[i] + residual.map_or(0.0, |residual| residual[i]);
    }
}

/// The tiles of a batch, element by element, row by row.
struct Grid<'a> {
    input: &'a ConvInput<'a>,
    numbers: &'a [f32],
    seen: &'a Seen,
    height: usize,
    width: usize,
}

/// Where a tile's pixels are in the result.
struct Place {
    element: usize,
    /// Number of the first pixel.
    first: usize,
    /// Rows and pixels of each that are within the image.
    rows: usize,
    pixels: usize,
}

impl<'a> Grid<'a> {
    fn in_row(&self) -> usize {
        self.width.div_ceil(SIDE)
    }

    fn in_element(&self) -> usize {
        self.height.div_ceil(SIDE) * self.in_row()
    }

    /// Element, first row and first pixel of a tile.
    fn position(&self, tile: usize) -> (usize, usize, usize) {
        let within = tile % self.in_element();
        (
            tile / self.in_element(),
            within / self.in_row() * SIDE,
            within % self.in_row() * SIDE,
        )
    }

    fn place(&self, tile: usize) -> Place {
        let (element, y, x) = self.position(tile);
        Place {
            element,
            first: (element * self.height + y) * self.width + x,
            rows: SIDE.min(self.height - y),
            pixels: SIDE.min(self.width - x),
        }
    }

    /// The pixels under a tile; none outside of the image.
    fn seen(&self, tile: usize) -> [[Option<&'a [f32]>; SEEN]; SEEN] {
        let (element, y, x) = self.position(tile);
        std::array::from_fn(|i| {
            std::array::from_fn(|j| {
                let at = self.seen.at(self.input, element, y + i, x + j)?;
                Some(&self.numbers[at..at + self.input.channels])
            })
        })
    }
}

/// The weights of every point: `(36, panels, channels, 32)`.
fn transform_weights(panels: &TypedPanels<'_, f32>) -> Vec<f32> {
    let (channels, count) = (panels.channels, panels.count());
    // SAFETY: each panel writes its part of every point.
    unsafe {
        fill(POINTS * count * channels * PANEL, |weights| {
            parallel::for_each(count, |p| {
                let panel = panels.panel(p);
                for channel in 0..channels {
                    for half in [0, LANES] {
                        let taps = std::array::from_fn(|tap| {
                            let row = &panel[(tap * channels + channel) * PANEL + half..];
                            *row.first_chunk().expect("half a row of a panel")
                        });
                        let points = transform_taps(&taps);
                        for (point, lanes) in points.as_flattened().iter().enumerate() {
                            let at = ((point * count + p) * channels + channel) * PANEL + half;
                            weights.part(at, LANES).copy_from_slice(lanes);
                        }
                    }
                }
            });
        })
    }
}

/// `G g`: three numbers to six.
#[inline(always)]
fn of_weights(g: [&Lanes; 3]) -> [Lanes; SEEN] {
    let mut result = [[0.0; LANES]; SEEN];
    for i in 0..LANES {
        let (a, b, c) = (g[0][i], g[1][i], g[2][i]);
        result[0][i] = a * 0.25;
        result[1][i] = (a + b + c) * (-1.0 / 6.0);
        result[2][i] = (a - b + c) * (-1.0 / 6.0);
        result[3][i] = a * (1.0 / 24.0) + b * (1.0 / 12.0) + c * (1.0 / 6.0);
        result[4][i] = a * (1.0 / 24.0) - b * (1.0 / 12.0) + c * (1.0 / 6.0);
        result[5][i] = c;
    }
    result
}

/// `B^T d`: six numbers to six.
#[inline(always)]
fn of_input(d: [&Lanes; SEEN]) -> [Lanes; SEEN] {
    let mut result = [[0.0; LANES]; SEEN];
    for i in 0..LANES {
        let (a, b) = (d[4][i] - 4.0 * d[2][i], d[3][i] - 4.0 * d[1][i]);
        let (c, e) = (d[4][i] - d[2][i], 2.0 * (d[3][i] - d[1][i]));
        result[0][i] = 4.0 * d[0][i] - 5.0 * d[2][i] + d[4][i];
        result[1][i] = a + b;
        result[2][i] = a - b;
        result[3][i] = c + e;
        result[4][i] = c - e;
        result[5][i] = 4.0 * d[1][i] - 5.0 * d[3][i] + d[5][i];
    }
    result
}

/// `A^T m`: six numbers to four.
#[inline(always)]
fn of_sums(m: [&Lanes; SEEN]) -> [Lanes; SIDE] {
    let mut result = [[0.0; LANES]; SIDE];
    for i in 0..LANES {
        let (a, b) = (m[1][i] + m[2][i], m[1][i] - m[2][i]);
        let (c, e) = (m[3][i] + m[4][i], m[3][i] - m[4][i]);
        result[0][i] = m[0][i] + a + c;
        result[1][i] = b + 2.0 * e;
        result[2][i] = a + 4.0 * c;
        result[3][i] = b + 8.0 * e + m[5][i];
    }
    result
}

for_each_instruction_set! {
    /// The points of nine weights.
    fn transform_taps(taps: &[Lanes; 9]) -> [[Lanes; SEEN]; SEEN] {
        let mut columns = [[[0.0; LANES]; SEEN]; 3];
        for j in 0..3 {
            columns[j] = of_weights([&taps[j], &taps[3 + j], &taps[6 + j]]);
        }
        let mut points = [[[0.0; LANES]; SEEN]; SEEN];
        for i in 0..SEEN {
            points[i] = of_weights([&columns[0][i], &columns[1][i], &columns[2][i]]);
        }
        points
    }
}

for_each_instruction_set! {
    /// The points of the channels from `from` on of a tile's pixels.
    fn transform_input(seen: &[[Option<&[f32]>; SEEN]; SEEN], from: usize) -> [[Lanes; SEEN]; SEEN] {
        const NONE: Lanes = [0.0; LANES];
        let mut columns = [[NONE; SEEN]; SEEN];
        for j in 0..SEEN {
            let mut pixels = [&NONE; SEEN];
            for i in 0..SEEN {
                if let Some(pixel) = seen[i][j] {
                    pixels[i] = pixel[from..].first_chunk().expect("whole lanes");
                }
            }
            columns[j] = of_input(pixels);
        }
        let [a, b, c, d, e, f] = &columns;
        let mut points = [[NONE; SEEN]; SEEN];
        for i in 0..SEEN {
            points[i] = of_input([&a[i], &b[i], &c[i], &d[i], &e[i], &f[i]]);
        }
        points
    }
}

for_each_instruction_set! {
    /// The four by four numbers of a tile from its 36 points, `step` apart.
    fn transform_sums(sums: &[f32], step: usize) -> [[Lanes; SIDE]; SIDE] {
        let mut columns = [[[0.0; LANES]; SIDE]; SEEN];
        for j in 0..SEEN {
            let mut points: [&Lanes; SEEN] = [&[0.0; LANES]; SEEN];
            for i in 0..SEEN {
                points[i] = sums[(i * SEEN + j) * step..].first_chunk().expect("whole lanes");
            }
            columns[j] = of_sums(points);
        }
        let mut result = [[[0.0; LANES]; SIDE]; SIDE];
        for i in 0..SIDE {
            let [a, b, c, d, e, f] = &columns;
            result[i] = of_sums([&a[i], &b[i], &c[i], &d[i], &e[i], &f[i]]);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Buffer, ConvGeometry, Format, Numbers, Panels, conv2d};
    use super::*;

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| (((i + seed) * 7919 % 1013) as f32 - 506.0) / 509.0)
            .collect()
    }

    /// Against sums in `f64`: odd sizes, an enlarged image, partial panels, biases and a residual.
    #[test]
    fn large_images_are_right_to_a_hundred_thousandth() {
        for (height, width, seen_as, channels, columns) in [
            (33, 37, (33, 37), 16, 40),
            (32, 32, (32, 32), 48, 32),
            (16, 17, (32, 34), 32, 7),
        ] {
            let elements = 2;
            let x = numbers(elements * height * width * channels, 3);
            let weight = numbers(columns * channels * 9, 5);
            let (bias, element_bias) = (numbers(columns, 1), numbers(elements * columns, 2));
            let residual = numbers(elements * seen_as.0 * seen_as.1 * columns, 7);
            let input = ConvInput {
                numbers: Numbers::F32(&x),
                elements,
                height,
                width,
                channels,
                pixel: channels,
                seen_as,
                band: None,
            };
            let extras = Extras {
                bias: Some(&bias),
                element_bias: Some(&element_bias),
                activation: Activation::Identity,
                residual: Some(&residual),
            };
            assert!(pays(seen_as.0, seen_as.1, channels, extras.activation));
            let panels = Panels::from_conv2d(&weight, columns, channels, 3, Format::F32);
            let conv = |input: &ConvInput<'_>, extras: &Extras<'_>| match conv2d(
                input,
                ConvGeometry::SAME_3X3,
                &panels,
                extras,
                Format::F32,
            ) {
                Buffer::F32(numbers) => numbers,
                Buffer::Bf16(_) => panic!("another format than was asked for"),
            };
            let result = conv(&input, &extras);
            assert_eq!(result.len(), residual.len());
            // The law: the second element has the bits that it has alone, on one thread.
            let half = result.len() / elements;
            let alone = ConvInput {
                numbers: Numbers::F32(&x[x.len() / elements..]),
                elements: 1,
                ..input
            };
            let extras_alone = Extras {
                element_bias: Some(&element_bias[columns..]),
                residual: Some(&residual[half..]),
                ..extras
            };
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(1)
                .build()
                .unwrap();
            let alone = pool.install(|| conv(&alone, &extras_alone));
            assert!(alone == result[half..], "alone and in a batch");
            let largest = result.iter().fold(0f32, |a, b| a.max(b.abs()));
            for at in (0..result.len()).step_by(13) {
                let (pixel, column) = (at / columns, at % columns);
                let (element, within) = (
                    pixel / (seen_as.0 * seen_as.1),
                    pixel % (seen_as.0 * seen_as.1),
                );
                let (y, x_at) = (within / seen_as.1, within % seen_as.1);
                let mut exact = f64::from(bias[column])
                    + f64::from(element_bias[element * columns + column])
                    + f64::from(residual[at]);
                for tap in 0..9 {
                    let (Some(y), Some(x_at)) = (
                        (y + tap / 3).checked_sub(1),
                        (x_at + tap % 3).checked_sub(1),
                    ) else {
                        continue;
                    };
                    if y >= seen_as.0 || x_at >= seen_as.1 {
                        continue;
                    }
                    let (y, x_at) = (y * height / seen_as.0, x_at * width / seen_as.1);
                    for c in 0..channels {
                        let a = x[((element * height + y) * width + x_at) * channels + c];
                        let b = weight[(column * channels + c) * 9 + tap];
                        exact += f64::from(a) * f64::from(b);
                    }
                }
                let error = (f64::from(result[at]) - exact).abs() / f64::from(largest);
                assert!(error < 1e-5, "{at}: {} not {exact}", result[at]);
            }
        }
    }

    /// Small images, activations and odd channels go the direct way.
    #[test]
    fn it_is_for_large_images_alone() {
        assert!(pays(32, 32, 320, Activation::Identity));
        assert!(!pays(28, 32, 320, Activation::Identity));
        assert!(!pays(32, 32, 24, Activation::Identity));
        assert!(!pays(32, 32, 320, Activation::Silu));
    }
}
