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

/// The lower halves of 16 bytes, then the upper ones.
#[inline(always)]
fn nibbles(bytes: &[u8], numbers: &mut [f32], number: impl Fn(usize, u8) -> f32) {
    let (low, high) = numbers.split_at_mut(NUMBERS / 2);
    for (j, (byte, low)) in bytes.iter().zip(low).enumerate() {
        *low = number(j, byte & 15);
    }
    for (j, (byte, high)) in bytes.iter().zip(high).enumerate() {
        *high = number(j + NUMBERS / 2, byte >> 4);
    }
}

/// Bit `j` of the four bytes that hold the fifth bits, as the fifth bit.
#[inline(always)]
fn fifth(bits: u32, j: usize) -> u8 {
    ((bits >> j & 1) << 4) as u8
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
        nibbles(&bytes[2..18], numbers, |_, q| {
            f32::from(q as i8 - 8) * scale
        });
    }
}

impl Block for Q4_1 {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 20;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let (scale, least) = (half_at(bytes, 0), half_at(bytes, 2));
        nibbles(&bytes[4..20], numbers, |_, q| f32::from(q) * scale + least);
    }
}

impl Block for Q5_0 {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 22;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let (scale, bits) = (half_at(bytes, 0), bits_at(bytes, 2));
        nibbles(&bytes[6..22], numbers, |j, q| {
            f32::from((q | fifth(bits, j)) as i8 - 16) * scale
        });
    }
}

impl Block for Q5_1 {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 24;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let (scale, least) = (half_at(bytes, 0), half_at(bytes, 2));
        let bits = bits_at(bytes, 4);
        nibbles(&bytes[8..24], numbers, |j, q| {
            f32::from(q | fifth(bits, j)) * scale + least
        });
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
