//! Rectifiers that let a part of what is negative through, a slope for each channel: torch's `LeakyReLU` and `PReLU`.

use half::bf16;

use super::operand::{Buffer, Operand};
use super::output::{Parts, fill};
use super::panels::Format;
use super::parallel;
use super::simd::for_each_instruction_set;

/// Numbers that one task goes through.
const BLOCK: usize = 32 * 1024;

/// `(pixels, channels)`, each number below 0 times its channel's slope, in the format `to`.
///
/// Panics when the sizes contradict each other.
pub fn leaky(values: &[f32], slopes: &[f32], to: Format) -> Buffer {
    match to {
        Format::F32 => f32::buffer(made(values, slopes)),
        Format::Bf16 => bf16::buffer(made(values, slopes)),
    }
}

/// The same, written into images of more channels: number `c` of a pixel becomes number `at + c` of `pixel` numbers there.
///
/// Panics when the sizes contradict each other.
pub fn place_leaky(values: &[f32], slopes: &[f32], to: &mut Buffer, (pixel, at): (usize, usize)) {
    match to {
        Buffer::F32(to) => place(values, slopes, &Parts::new(to), (pixel, at)),
        Buffer::Bf16(to) => place(values, slopes, &Parts::new(to), (pixel, at)),
    }
}

fn made<T: Operand>(values: &[f32], slopes: &[f32]) -> Vec<T> {
    // SAFETY: with pixels as long as the slopes, `place` writes every number.
    unsafe {
        fill(values.len(), |output| {
            place(values, slopes, output, (slopes.len(), 0));
        })
    }
}

fn place<T: Operand>(
    values: &[f32],
    slopes: &[f32],
    output: &Parts<T>,
    (pixel, at): (usize, usize),
) {
    let channels = slopes.len();
    assert!(
        channels > 0 && at + channels <= pixel && values.len().is_multiple_of(channels),
        "channels of a rectifier"
    );
    let block = (BLOCK / channels).max(1);
    let pixels = values.len() / channels;
    parallel::for_each(pixels.div_ceil(block), |index| {
        let pixels = index * block..pixels.min((index + 1) * block);
        let values = &values[pixels.start * channels..pixels.end * channels];
        // SAFETY: the blocks are of different pixels.
        let to = unsafe { output.part(pixels.start * pixel, pixels.len() * pixel) };
        rows(values, slopes, to, (pixel, at));
    });
}

for_each_instruction_set! {
    fn rows<T: Operand>(values: &[f32], slopes: &[f32], to: &mut [T], place: (usize, usize)) {
        let (pixel, at) = place;
        let channels = slopes.len();
        for (values, to) in values.chunks_exact(channels).zip(to.chunks_exact_mut(pixel)) {
            let to = &mut to[at..at + channels];
            for ((value, slope), to) in values.iter().zip(slopes).zip(to) {
                // NaN goes on.
                *to = T::from_f32(if *value < 0.0 { value * slope } else { *value });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_negative_is_sloped_wherever_it_is_put() {
        let values = [1.0, -2.0, 3.0, -4.0, 5.0, f32::NAN];
        let slopes = [0.5, 0.25];
        let expected = [1.0, -0.5, 3.0, -1.0, 5.0];
        let Buffer::F32(plain) = leaky(&values, &slopes, Format::F32) else {
            panic!("single precision was asked for")
        };
        assert_eq!(plain[..5], expected);
        assert!(plain[5].is_nan());
        let half = leaky(&values[..4], &slopes, Format::Bf16).into_f32();
        assert_eq!(half, expected[..4]);
        let mut image = Buffer::F32(vec![9.0; 12]);
        place_leaky(&values, &slopes, &mut image, (4, 1));
        let image = image.into_f32();
        assert_eq!(image[..8], [9.0, 1.0, -0.5, 9.0, 9.0, 3.0, -1.0, 9.0]);
    }

    #[test]
    fn many_pixels_are_as_one() {
        let values: Vec<f32> = (0..60_000_u16).map(|i| f32::from(i % 7) - 3.0).collect();
        let slopes = [0.2; 5];
        let whole = leaky(&values, &slopes, Format::F32).into_f32();
        for (value, made) in values.iter().zip(whole) {
            assert_eq!(made, if *value < 0.0 { value * 0.2 } else { *value });
        }
    }
}
