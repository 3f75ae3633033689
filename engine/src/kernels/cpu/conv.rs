//! Convolutions over channels-last images, as matrix products.
//!
//! In single precision, large images go through [`winograd`]. Of the rest, the usual one (stride 1) copies some rows of the
//! image with their border of zeros into a buffer; there, the taps of a pixel are constant distances, so the product reads
//! overlapping rows and nothing is copied once for each tap. All others gather the pixels under the kernel first.

use std::ops::Range;

use super::bands::{Band, Bands, Lines};
use super::epilogue::{Extras, Place, finish};
use super::operand::{Buffer, Numbers, Operand};
use super::output::{Parts, fill};
use super::panels::{Format, PANEL, PanelVisitor, Panels, TypedPanels};
use super::seen::Seen;
use super::winograd;

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
    /// Nine pixels around each.
    pub(super) const SAME_3X3: Self = Self {
        kernel: 3,
        stride: 1,
        padding_before: 1,
        padding_after: 1,
    };

    /// Size of the result for an input of `size` pixels in one direction; 0 when the kernel does not fit.
    pub fn output_size(&self, size: usize) -> usize {
        let padded = size + self.padding_before + self.padding_after;
        if padded < self.kernel {
            0
        } else {
            (padded - self.kernel) / self.stride + 1
        }
    }
}

/// A batch of channels-last images, seen through a nearest-neighbour enlargement if sizes differ.
#[derive(Debug, Clone, Copy)]
pub struct ConvInput<'a> {
    /// `(elements, height, width, channels)`.
    pub numbers: Numbers<'a>,
    /// Elements of the batch.
    pub elements: usize,
    /// Rows in memory.
    pub height: usize,
    /// Pixels of a row in memory.
    pub width: usize,
    /// Numbers of a pixel that are seen: its first ones.
    pub channels: usize,
    /// Numbers of a pixel in memory.
    pub pixel: usize,
    /// Height and width that the convolution sees; pixels are repeated as torch's `nearest` does.
    pub seen_as: (usize, usize),
    /// Which rows of a larger image are in memory, if not all are. Then rows are not repeated.
    pub band: Option<ImageBand>,
}

/// Some rows of an image, and the rows of a result that they are enough for. The result has the bits that these rows
/// have in the whole image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageBand {
    /// Row of the image that is the first in memory.
    pub first_row: usize,
    /// Rows of the image.
    pub image_height: usize,
    /// First row of the result that is made. A multiple of [`ImageBand::ROWS`].
    pub from: usize,
    /// First row of the result after those that are made. A multiple of [`ImageBand::ROWS`], or the result's height.
    pub to: usize,
}

impl ImageBand {
    /// Results are made of this many rows at least, but for the last ones.
    pub const ROWS: usize = winograd::SIDE;
}

impl ConvInput<'_> {
    fn check(&self) {
        assert_eq!(
            self.numbers.len(),
            self.elements * self.height * self.width * self.pixel,
            "images of a convolution"
        );
        assert!(self.channels <= self.pixel, "channels of a pixel");
    }

    /// Which rows of the result are made, of `height` in all.
    fn rows(&self, height: usize) -> Range<usize> {
        let Some(band) = self.band else {
            return 0..height;
        };
        let ends = |row: usize| row == height || row.is_multiple_of(ImageBand::ROWS);
        assert!(
            band.from < band.to && band.to <= height && ends(band.from) && ends(band.to),
            "rows of a result"
        );
        band.from..band.to
    }

    /// Panics unless rows `from` to `to` of the image are in memory, as far as the image has them.
    fn check_rows(&self, from: usize, to: usize) {
        if let Some(band) = self.band {
            assert!(
                band.first_row <= from && to.min(band.image_height) <= band.first_row + self.height,
                "the rows under a convolution's kernel"
            );
        }
    }
}

/// `(elements, h, w, channels) -> (elements, h', w', columns)` with `h'` and `w'` from [`ConvGeometry::output_size`],
/// in the format `to`.
///
/// `weight`: from [`Panels::from_conv2d`] with the geometry's kernel. Panics when sizes contradict each other.
pub fn conv2d(
    input: &ConvInput<'_>,
    geometry: ConvGeometry,
    weight: &Panels,
    extras: &Extras<'_>,
    to: Format,
) -> Buffer {
    input.check();
    assert_eq!(
        weight.depth(),
        geometry.kernel * geometry.kernel * input.channels,
        "kernel of a convolution"
    );
    assert!(geometry.stride > 0, "a convolution's stride is at least 1");
    let (whole_height, width) = (
        geometry.output_size(input.seen_as.0),
        geometry.output_size(input.seen_as.1),
    );
    let rows = input.rows(whole_height);
    let first = rows.start * geometry.stride;
    let under = rows.end.saturating_sub(1) * geometry.stride + geometry.kernel;
    let before = geometry.padding_before;
    input.check_rows(first.saturating_sub(before), under.saturating_sub(before));
    let height = rows.len();
    let result = input.elements * height * width * weight.columns();
    extras.check(input.elements, weight.columns(), result);
    weight.visit(Conv {
        input,
        geometry,
        seen: &Seen::new(input, before, first),
        whole_height,
        height,
        width,
        extras,
        to,
    })
}

struct Conv<'a> {
    input: &'a ConvInput<'a>,
    geometry: ConvGeometry,
    seen: &'a Seen,
    /// Rows of the result if all were made: what kernels are chosen by.
    whole_height: usize,
    /// Of the result.
    height: usize,
    width: usize,
    extras: &'a Extras<'a>,
    to: Format,
}

impl PanelVisitor<Buffer> for Conv<'_> {
    fn visit<T: Operand>(self, panels: TypedPanels<'_, T>) -> Buffer {
        let size = (self.height, self.width);
        if self.to == Format::F32
            && let (Some(panels), Numbers::F32(numbers)) =
                (T::panels_f32(&panels), self.input.numbers)
            && self.geometry == ConvGeometry::SAME_3X3
            && winograd::pays(
                self.whole_height,
                size.1,
                panels.channels,
                self.extras.activation,
            )
        {
            let result =
                winograd::conv3x3(self.input, numbers, self.seen, size, panels, self.extras);
            return f32::buffer(result);
        }
        match self.to {
            Format::F32 => f32::buffer(self.run(panels)),
            Format::Bf16 => half::bf16::buffer(self.run(panels)),
        }
    }
}

impl Conv<'_> {
    fn run<T: Operand, U: Operand>(&self, panels: TypedPanels<'_, T>) -> Vec<U> {
        let ConvGeometry { kernel, stride, .. } = self.geometry;
        let channels = panels.padded_channels;
        // Few channels make short runs: then gathering costs less than the sums over pixels that are thrown away.
        let in_place = stride == 1 && self.input.channels >= 16;
        let (halo, pitch, depth) = if in_place {
            (kernel - 1, self.width + kernel - 1, channels)
        } else {
            (0, self.width, panels.padded_depth())
        };
        let taps: Vec<usize> = if in_place {
            (0..kernel * kernel)
                .map(|t| (t / kernel * pitch + t % kernel) * channels)
                .collect()
        } else {
            vec![0]
        };
        let bands = Bands::new(
            self.input.elements,
            self.height,
            halo,
            pitch * depth * size_of::<T>(),
            panels.count(),
            size_of_val(panels.panel(0)),
        );
        let lines = Lines {
            width: self.width,
            pitch,
            taps: &taps,
            depth,
        };
        let columns = panels.columns;
        let result = self.input.elements * self.height * self.width * columns;
        let fill_band = |band: &Band, room: &mut [T]| {
            if in_place {
                self.seen
                    .copy(self.input, band, kernel - 1, pitch, channels, room);
            } else {
                self.gather(band, channels, room);
            }
        };
        // SAFETY: the bands and panels of all tasks cover the result once, and every row of a band is written.
        unsafe {
            fill(result, |output| {
                bands.for_each(fill_band, |band, numbers, panel_range, sums| {
                    for p in panel_range {
                        let bias = self.extras.panel_bias(band.element, columns, p);
                        let width = PANEL.min(columns - p * PANEL);
                        lines.multiply(
                            numbers,
                            band.rows.len(),
                            panels.panel(p),
                            width,
                            sums,
                            |sums, part| {
                                let first_line =
                                    band.element * self.height + band.rows.start + part.first_line;
                                let place = Place {
                                    output,
                                    columns,
                                    panel: p,
                                    first_row: first_line * self.width + part.from,
                                    lines: part.lines,
                                    line: part.line,
                                    sums_pitch: part.sums_pitch,
                                    line_step: self.width,
                                    row_step: 1,
                                };
                                finish(sums, &bias, self.extras, &place);
                            },
                        );
                    }
                });
            })
        }
    }

    /// For any kernel: for each pixel of the band, the pixels under the kernel, filled up with zeros.
    fn gather<T: Operand>(&self, band: &Band, channels: usize, room: &mut [T]) {
        let ConvGeometry { kernel, stride, .. } = self.geometry;
        if channels == 0 {
            return;
        }
        for (i, to) in room.chunks_exact_mut(channels).enumerate() {
            let (pixel, tap) = (i / (kernel * kernel), i % (kernel * kernel));
            let y = (band.rows.start + pixel / self.width) * stride + tap / kernel;
            let x = pixel % self.width * stride + tap % kernel;
            self.seen.pixel(self.input, band.element, y, x, to);
        }
    }
}

/// A 3x3 convolution of the image at twice its height and width: what [`conv2d`] makes of it with `seen_as` the double
/// and one pixel of padding, in four ninths of the multiplications.
///
/// Of the three pixels that the kernel sees in a row of the doubled image, two are the same; so each of the four pixels
/// that come from one sees two by two pixels, with sums of the kernel's numbers.
///
/// `weights`: from [`double_weights`]. Panics when sizes contradict each other.
pub fn conv2d_doubled(
    input: &ConvInput<'_>,
    weights: &[Panels; 4],
    extras: &Extras<'_>,
) -> Vec<f32> {
    input.check();
    let image_height = input.band.map_or(input.height, |band| band.image_height);
    assert_eq!(
        input.seen_as,
        (2 * image_height, 2 * input.width),
        "twice the size"
    );
    for weight in weights {
        assert_eq!(
            weight.depth(),
            4 * input.channels,
            "kernel of a doubled convolution"
        );
    }
    let columns = weights[0].columns();
    // Each row of the image makes two of the result.
    let rows = input.rows(2 * image_height);
    let rows = rows.start / 2..rows.end / 2;
    input.check_rows(rows.start.saturating_sub(1), rows.end + 1);
    let result = input.elements * 4 * rows.len() * input.width * columns;
    extras.check(input.elements, columns, result);
    let plain = ConvInput {
        seen_as: (image_height, input.width),
        ..*input
    };
    let seen = Seen::new(&plain, 1, rows.start);
    // SAFETY: each quarter writes every second pixel of every second line, beginning at another one.
    unsafe {
        fill(result, |output| {
            for (quarter, weight) in weights.iter().enumerate() {
                weight.visit(Quarter {
                    input: &plain,
                    seen: &seen,
                    height: rows.len(),
                    below: quarter / 2,
                    right: quarter % 2,
                    extras,
                    output,
                });
            }
        })
    }
}

/// The kernels of [`conv2d_doubled`] from a weight `(columns, channels, 3, 3)`: above left, above right, below left, below right.
pub fn double_weights(
    weight: &[f32],
    columns: usize,
    channels: usize,
    format: Format,
) -> [Panels; 4] {
    assert_eq!(
        weight.len(),
        columns * channels * 9,
        "weight of a convolution"
    );
    // Which of three rows (or columns) of the kernel fall on the first and on the second pixel.
    const SHARES: [[Range<usize>; 2]; 2] = [[0..1, 1..3], [0..2, 2..3]];
    std::array::from_fn(|quarter| {
        let (rows, pixels) = (&SHARES[quarter / 2], &SHARES[quarter % 2]);
        let summed: Vec<f32> = weight
            .as_chunks::<9>()
            .0
            .iter()
            .flat_map(|kernel| {
                [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(y, x): (usize, usize)| {
                    let share = rows[y].clone().flat_map(|y| {
                        let pixels = pixels[x].clone();
                        pixels.map(move |x| kernel[y * 3 + x])
                    });
                    share.sum()
                })
            })
            .collect();
        Panels::from_conv2d(&summed, columns, channels, 2, format)
    })
}

/// One of the four pixels that each pixel becomes.
struct Quarter<'a> {
    input: &'a ConvInput<'a>,
    seen: &'a Seen,
    /// Rows of the image whose quarters are made.
    height: usize,
    below: usize,
    right: usize,
    extras: &'a Extras<'a>,
    output: &'a Parts<f32>,
}

impl PanelVisitor<()> for Quarter<'_> {
    fn visit<T: Operand>(self, panels: TypedPanels<'_, T>) {
        let ConvInput {
            elements, width, ..
        } = *self.input;
        let height = self.height;
        let (columns, channels) = (panels.columns, panels.padded_channels);
        let pitch = width + 2;
        let taps = [(0, 0), (0, 1), (1, 0), (1, 1)]
            .map(|(y, x)| ((self.below + y) * pitch + self.right + x) * channels);
        let lines = Lines {
            width,
            pitch,
            taps: &taps,
            depth: channels,
        };
        let row_bytes = pitch * channels * size_of::<T>();
        let panel_bytes = size_of_val(panels.panel(0));
        let bands = Bands::new(elements, height, 2, row_bytes, panels.count(), panel_bytes);
        let fill_band = |band: &Band, room: &mut [T]| {
            self.seen.copy(self.input, band, 2, pitch, channels, room)
        };
        bands.for_each(fill_band, |band, numbers, panel_range, sums| {
            for p in panel_range {
                let bias = self.extras.panel_bias(band.element, columns, p);
                let panel_width = PANEL.min(columns - p * PANEL);
                lines.multiply(
                    numbers,
                    band.rows.len(),
                    panels.panel(p),
                    panel_width,
                    sums,
                    |sums, part| {
                        let line = band.element * height + band.rows.start + part.first_line;
                        let place = Place {
                            output: self.output,
                            columns,
                            panel: p,
                            first_row: (2 * line + self.below) * 2 * width
                                + 2 * part.from
                                + self.right,
                            lines: part.lines,
                            line: part.line,
                            sums_pitch: part.sums_pitch,
                            line_step: 4 * width,
                            row_step: 2,
                        };
                        // SAFETY: see `conv2d_doubled`; bands and panels of one quarter do not overlap.
                        unsafe { finish(sums, &bias, self.extras, &place) };
                    },
                );
            }
        });
    }
}
