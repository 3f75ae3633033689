//! Blocks of 32 numbers with one scale.

use super::{Block, half_at};

const NUMBERS: usize = 32;

/// ggml's `block_q4_0`.
pub(super) struct Q4_0;
/// ggml's `block_q4_1`.
pub(super) struct Q4_1;
/// ggml's `block_q5_0`.
pub(super) struct Q5_0;
/// ggml's `block_q5_1`.
pub(super) struct Q5_1;
/// ggml's `block_q8_0`.
pub(super) struct Q8_0;

/// The lower halves of 16 bytes, then the upper ones, each with bit `j` of `fifths` as its fifth.
#[inline(always)]
fn nibbles(bytes: &[u8], fifths: u32, numbers: &mut [f32], number: impl Fn(i32) -> f32) {
    let (Some(bytes), [low, high]) = (bytes.first_chunk::<16>(), numbers.as_chunks_mut::<16>().0)
    else {
        return;
    };
    for j in 0..16 {
        let fifth = (fifths >> j & 1) << 4;
        low[j] = number((u32::from(bytes[j] & 15) | fifth) as i32);
    }
    for j in 0..16 {
        let fifth = (fifths >> (j + 16) & 1) << 4;
        high[j] = number((u32::from(bytes[j] >> 4) | fifth) as i32);
    }
}

#[inline(always)]
fn bits_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Block for Q4_0 {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 18;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let scale = half_at(bytes, 0);
        nibbles(&bytes[2..18], 0, numbers, |q| (q - 8) as f32 * scale);
    }
}

impl Block for Q4_1 {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 20;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let (scale, least) = (half_at(bytes, 0), half_at(bytes, 2));
        nibbles(&bytes[4..20], 0, numbers, |q| q as f32 * scale + least);
    }
}

impl Block for Q5_0 {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 22;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let (scale, bits) = (half_at(bytes, 0), bits_at(bytes, 2));
        nibbles(&bytes[6..22], bits, numbers, |q| (q - 16) as f32 * scale);
    }
}

impl Block for Q5_1 {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 24;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let (scale, least) = (half_at(bytes, 0), half_at(bytes, 2));
        let bits = bits_at(bytes, 4);
        nibbles(&bytes[8..24], bits, numbers, |q| q as f32 * scale + least);
    }
}

impl Block for Q8_0 {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 34;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let scale = half_at(bytes, 0);
        for (number, q) in numbers.iter_mut().zip(&bytes[2..34]) {
            *number = f32::from(*q as i8) * scale;
        }
    }
}
