//! Convolutions over channels-last images, as matrix products.
//!
//! The usual one (3x3, stride 1) copies some rows of the image with their border into a buffer whose rows have two
//! pixels of zeros more; there, the nine taps of a pixel are nine constant distances, so the product reads overlapping
//! rows and nothing is copied nine times. All others gather the pixels under the kernel first.

use super::matmul::{Blocks, Extras, add_bias_and_activate, add_residual};
use super::output::{Output, Scratch, room, with_scratch};
use super::panels::{PANEL, Panels};
use super::tile::{Rows, multiply};

/// Square kernel, the same stride and padding in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Step in both directions, at least 1.
    pub stride: usize,
    /// Zeros above and left of the image.
    pub padding_before: usize,
    /// Zeros below and right of the image.
    pub padding_after: usize,
}

impl ConvGeometry {
    /// Size of the result for an input of `size` pixels in one direction; 0 when the kernel does not fit.
    pub fn output_size(&self, size: usize) -> usize {
        let padded = size + self.padding_before + self.padding_after;
        if padded < self.kernel {
            0
        } else {
            (padded - self.kernel) / self.stride + 1
        }
    }

    fn is_plain_3x3(&self) -> bool {
        *self
            == Self {
                kernel: 3,
                stride: 1,
                padding_before: 1,
                padding_after: 1,
            }
    }
}

/// A batch of channels-last images, seen through a nearest-neighbour enlargement if sizes differ.
#[derive(Debug, Clone, Copy)]
pub struct ConvInput<'a> {
    /// `(elements, height, width, channels)`.
    pub numbers: &'a [f32],
    /// Elements of the batch.
    pub elements: usize,
    /// Rows in memory.
    pub height: usize,
    /// Pixels of a row in memory.
    pub width: usize,
    /// Numbers of a pixel.
    pub channels: usize,
    /// Height and width that the convolution sees; pixels are repeated as torch's `nearest` does.
    pub seen_as: (usize, usize),
}

/// `(elements, h, w, channels) -> (elements, h', w', columns)` with `h'` and `w'` from [`ConvGeometry::output_size`].
///
/// `weight`: from [`Panels::from_conv2d`] with the geometry's kernel. Panics when sizes contradict each other.
pub fn conv2d(
    input: &ConvInput<'_>,
    geometry: ConvGeometry,
    weight: &Panels,
    extras: &Extras<'_>,
) -> Vec<f32> {
    let image = input.height * input.width * input.channels;
    assert_eq!(
        input.numbers.len(),
        input.elements * image,
        "images of a convolution"
    );
    assert_eq!(
        weight.depth(),
        geometry.kernel * geometry.kernel * input.channels,
        "kernel of a convolution"
    );
    assert!(geometry.stride > 0, "a convolution's stride is at least 1");
    let (height, width) = (
        geometry.output_size(input.seen_as.0),
        geometry.output_size(input.seen_as.1),
    );
    let columns = weight.columns();
    extras.check(
        input.elements,
        columns,
        input.elements * height * width * columns,
    );
    let seen = Seen {
        rows: nearest(input.height, input.seen_as.0),
        pixels: nearest(input.width, input.seen_as.1),
    };

    // Few channels make short runs: then gathering costs less than the sums over pixels that are thrown away.
    let in_place = geometry.is_plain_3x3() && input.channels >= 16;
    let rows_per_block = if in_place {
        // Input rows and sums of a block stay in the second-level cache.
        (128 * 1024 / (width.max(1) * input.channels)).clamp(2, 18) - 1
    } else {
        (128 * 1024 / (width.max(1) * weight.depth().max(1))).clamp(1, 16)
    };
    let rows_per_block = rows_per_block.min(height.div_ceil(2)).max(1);
    let blocks = Blocks::with_rows(
        height,
        rows_per_block,
        weight.count(),
        if height * width >= 64 { 8 } else { 4 },
    );
    // SAFETY: the blocks of an element cover its rows and panels once each, and every pixel of a row is written.
    unsafe {
        Output::fill(input.elements * height * width * columns, |output| {
            blocks.for_each(input.elements, |element, rows, panels| {
                let block = Block {
                    image: &input.numbers[element * image..][..image],
                    source_width: input.width,
                    channels: input.channels,
                    seen: &seen,
                    geometry,
                    width,
                    first_row: rows.start,
                    row_count: rows.len(),
                };
                with_scratch(|Scratch { input, sums }| {
                    let mut taps = [0; 9];
                    let product = if in_place {
                        block.pad(input, &mut taps)
                    } else {
                        block.gather(input)
                    };
                    let sums = room(sums, product.rows.count * PANEL);
                    for p in panels {
                        multiply(product.rows, weight.panel(p), sums, PANEL);
                        add_bias_and_activate(
                            sums,
                            &extras.panel_bias(element, columns, p),
                            extras.activation,
                        );
                        let columns_here = PANEL.min(columns - p * PANEL);
                        for y in 0..block.row_count {
                            let first = (element * height + block.first_row + y) * width;
                            for x in 0..width {
                                let sums = &mut sums[(y * product.row_pitch + x) * PANEL..]
                                    [..columns_here];
                                let at = (first + x) * columns + p * PANEL;
                                add_residual(sums, extras.residual, at);
                                output.write(at, sums);
                            }
                        }
                    }
                });
            });
        })
    }
}

/// Which row and which pixel in memory each row and pixel of the seen image is.
struct Seen {
    rows: Vec<usize>,
    pixels: Vec<usize>,
}

/// Torch's `nearest`: `floor(index * (from / to))`, the factor in `f32`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes of images are far below 2^24, and this is the reference's arithmetic"
)]
fn nearest(from: usize, to: usize) -> Vec<usize> {
    if from == to {
        return (0..to).collect();
    }
    let factor = from as f32 / to as f32;
    (0..to)
        .map(|i| ((i as f32 * factor) as usize).min(from.saturating_sub(1)))
        .collect()
}

/// Some rows of the result of one element.
struct Block<'a> {
    image: &'a [f32],
    source_width: usize,
    channels: usize,
    seen: &'a Seen,
    geometry: ConvGeometry,
    width: usize,
    first_row: usize,
    row_count: usize,
}

/// The left-hand side of a block's product.
struct Product<'a> {
    rows: Rows<'a>,
    /// Rows of the product from one row of the image to the next.
    row_pitch: usize,
}

impl Block<'_> {
    /// Pixel `(y, x)` of the padded image; none outside.
    #[inline]
    fn pixel(&self, y: usize, x: usize) -> Option<&[f32]> {
        let y = self
            .seen
            .rows
            .get(y.checked_sub(self.geometry.padding_before)?)?;
        let x = self
            .seen
            .pixels
            .get(x.checked_sub(self.geometry.padding_before)?)?;
        Some(&self.image[(y * self.source_width + x) * self.channels..][..self.channels])
    }

    /// For 3x3 with stride 1: the rows under the block with their border of zeros.
    fn pad<'b>(&self, buffer: &'b mut Vec<f32>, taps: &'b mut [usize; 9]) -> Product<'b> {
        let (channels, pitch) = (self.channels, self.width + 2);
        let numbers = room(buffer, (self.row_count + 2) * pitch * channels);
        for (y, row) in numbers.chunks_exact_mut(pitch * channels).enumerate() {
            let y = self.first_row + y;
            let in_memory = y.checked_sub(1).and_then(|y| self.seen.rows.get(y));
            if let (Some(source), true) = (in_memory, self.seen.pixels.len() == self.source_width) {
                let run = self.width * channels;
                row[..channels].fill(0.0);
                row[channels..][..run].copy_from_slice(&self.image[source * run..][..run]);
                row[channels + run..].fill(0.0);
            } else {
                for (x, to) in row.chunks_exact_mut(channels).enumerate() {
                    copy_or_zero(to, self.pixel(y, x));
                }
            }
        }
        *taps = std::array::from_fn(|t| ((t / 3) * pitch + t % 3) * channels);
        // The last two rows of the product would lie in the border.
        let count = (self.row_count * pitch).saturating_sub(2);
        Product {
            rows: Rows {
                numbers,
                stride: channels,
                count,
                taps,
                depth: channels,
            },
            row_pitch: pitch,
        }
    }

    /// For any kernel: for each pixel of the result, the pixels under the kernel.
    fn gather<'b>(&self, buffer: &'b mut Vec<f32>) -> Product<'b> {
        let ConvGeometry { kernel, stride, .. } = self.geometry;
        let depth = kernel * kernel * self.channels;
        let count = self.row_count * self.width;
        let numbers = room(buffer, count * depth);
        if self.channels > 0 {
            for (i, to) in numbers.chunks_exact_mut(self.channels).enumerate() {
                let (pixel, tap) = (i / (kernel * kernel), i % (kernel * kernel));
                let y = (self.first_row + pixel / self.width) * stride + tap / kernel;
                copy_or_zero(
                    to,
                    self.pixel(y, pixel % self.width * stride + tap % kernel),
                );
            }
        }
        Product {
            rows: Rows {
                numbers,
                stride: depth,
                count,
                taps: &[0],
                depth,
            },
            row_pitch: self.width,
        }
    }
}

#[inline]
fn copy_or_zero(to: &mut [f32], from: Option<&[f32]>) {
    match from {
        Some(from) => to.copy_from_slice(from),
        None => to.fill(0.0),
    }
}
