//! Gaussian blur of a mask, as Pillow makes it: three box blurs each way, each rounded to 8 bits.
//!
//! Source: Pillow's `BoxBlur.c`; the radius of a box follows Gwosdek and others, "Theoretical Foundations of Gaussian
//! Convolution by Extended Box Filtering". Beyond its edge a mask goes on as its edge is.

use rayon::prelude::*;

const PASSES: usize = 3;

/// `mask`, rows of `width` bytes, blurred with a standard deviation of `radius` pixels; 0 leaves it as it is.
pub(crate) fn gaussian(mask: &[u8], width: usize, radius: u32) -> Vec<u8> {
    if radius == 0 || width == 0 {
        return mask.to_vec();
    }
    let kernel = Kernel::of(radius);
    let height = mask.len() / width;
    let rows = kernel.blur(mask, width);
    let columns = kernel.blur(&transposed(&rows, width), height);
    transposed(&columns, height)
}

/// A box of a width that is no whole number.
#[derive(Clone, Copy)]
struct Kernel {
    /// Whole pixels on either side of the middle.
    radius: usize,
    /// Weight of each of those and of the middle, of 2^24.
    weight: u64,
    /// Weight of the pixel on either side that the box takes in part.
    part: u64,
}

impl Kernel {
    /// The box whose blur, three times, is nearest to a Gaussian one.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "positive and small; Pillow cuts and rounds to single precision in the same places"
    )]
    fn of(radius: u32) -> Self {
        let variance = radius as f32 * radius as f32 / PASSES as f32;
        let length = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
        let whole = ((length - 1.0) / 2.0).floor();
        let part = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance)
            / (6.0 * (variance - (whole + 1.0) * (whole + 1.0)));
        let exact = whole + part;
        let radius = exact as usize;
        let weight = ((1 << 24) as f32 / (exact * 2.0 + 1.0)) as u64;
        Self {
            radius,
            weight,
            part: ((1 << 24) - (radius as u64 * 2 + 1) * weight) / 2,
        }
    }

    fn blur(self, values: &[u8], line: usize) -> Vec<u8> {
        let mut blurred = values.to_vec();
        blurred.par_chunks_exact_mut(line).for_each(|row| {
            for _ in 0..PASSES {
                let source = row.to_vec();
                self.blur_line(&source, row);
            }
        });
        blurred
    }

    fn blur_line(self, source: &[u8], blurred: &mut [u8]) {
        let last = source.len() - 1;
        // `offset` is how far left of 0 the place would be, so that it stays a whole number.
        let at =
            |place: usize, offset: usize| u64::from(source[place.saturating_sub(offset).min(last)]);
        let Self {
            radius,
            weight,
            part,
        } = self;
        let mut inside: u64 = (0..=2 * radius).map(|place| at(place, radius)).sum();
        for (x, value) in blurred.iter_mut().enumerate() {
            let outside = at(x, radius + 1) + at(x + radius + 1, 0);
            let sum = inside * weight + outside * part;
            *value = u8::try_from((sum + (1 << 23)) >> 24).unwrap_or(u8::MAX);
            inside += at(x + radius + 1, 0);
            inside -= at(x, radius);
        }
    }
}

fn transposed(values: &[u8], line: usize) -> Vec<u8> {
    let count = values.len() / line;
    let mut turned = vec![0; values.len()];
    for (y, row) in values.chunks_exact(line).enumerate() {
        for (x, value) in row.iter().enumerate() {
            turned[x * count + y] = *value;
        }
    }
    turned
}
