//! What a convolution sees: an image in memory, or some rows of one, enlarged or not, with zeros around it.

use super::bands::Band;
use super::conv::{ConvInput, ImageBand};
use super::operand::Operand;

/// Which row and which pixel in memory each row and pixel of the seen image is.
pub(super) struct Seen {
    /// None where the row is not in memory.
    rows: Vec<Option<usize>>,
    pixels: Vec<usize>,
    padding_before: usize,
    /// Row of the padded image that the rows below are counted from: the first one under the first result.
    first: usize,
}

impl Seen {
    pub(super) fn new(input: &ConvInput<'_>, padding_before: usize, first: usize) -> Self {
        let in_memory = |band: ImageBand| {
            (0..band.image_height)
                .map(|row| {
                    let row = row.checked_sub(band.first_row)?;
                    (row < input.height).then_some(row)
                })
                .collect()
        };
        let all = || {
            let rows = nearest(input.height, input.seen_as.0).into_iter();
            rows.map(Some).collect()
        };
        Self {
            rows: input.band.map_or_else(all, in_memory),
            pixels: nearest(input.width, input.seen_as.1),
            padding_before,
            first,
        }
    }

    /// Which row in memory row `y` is.
    #[inline]
    fn row(&self, y: usize) -> Option<usize> {
        *self
            .rows
            .get((self.first + y).checked_sub(self.padding_before)?)?
    }

    /// Where the numbers of pixel `(y, x)` of the padded image are; none outside.
    #[inline]
    pub(super) fn at(
        &self,
        input: &ConvInput<'_>,
        element: usize,
        y: usize,
        x: usize,
    ) -> Option<usize> {
        let row = self.row(y)?;
        let pixel = self.pixels.get(x.checked_sub(self.padding_before)?)?;
        Some(((element * input.height + row) * input.width + pixel) * input.pixel)
    }

    /// Pixel `(y, x)` of the padded image, filled up with zeros; zeros outside.
    #[inline]
    pub(super) fn pixel<T: Operand>(
        &self,
        input: &ConvInput<'_>,
        element: usize,
        y: usize,
        x: usize,
        to: &mut [T],
    ) {
        let Some(at) = self.at(input, element, y, x) else {
            to.fill(T::ZERO);
            return;
        };
        let (numbers, filling) = to.split_at_mut(input.channels);
        input.numbers.copy(at, numbers);
        filling.fill(T::ZERO);
    }

    /// The rows of a band and `halo` more, each `pitch` pixels, filled up to `channels` and with zeros outside.
    pub(super) fn copy<T: Operand>(
        &self,
        input: &ConvInput<'_>,
        band: &Band,
        halo: usize,
        pitch: usize,
        channels: usize,
        room: &mut [T],
    ) {
        let before = self.padding_before;
        let is_plain = self.pixels.len() == input.width
            && channels == input.channels
            && channels == input.pixel;
        let rows = room.chunks_exact_mut(pitch * channels);
        for (y, row) in rows.enumerate().take(band.rows.len() + halo) {
            let y = band.rows.start + y;
            if let (Some(source), true) = (self.row(y), is_plain) {
                let run = input.width * channels;
                let (left, rest) = row.split_at_mut(before * channels);
                let (middle, right) = rest.split_at_mut(run);
                left.fill(T::ZERO);
                input
                    .numbers
                    .copy((band.element * input.height + source) * run, middle);
                right.fill(T::ZERO);
            } else {
                for (x, to) in row.chunks_exact_mut(channels).enumerate() {
                    self.pixel(input, band.element, y, x, to);
                }
            }
        }
    }
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
