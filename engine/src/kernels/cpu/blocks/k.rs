//! Blocks of 256 numbers whose parts have scales of their own, themselves in few bits.

use super::{Block, half_at};

const NUMBERS: usize = 256;

/// ggml's `block_q2_K`.
pub(super) struct Q2K;
/// ggml's `block_q3_K`.
pub(super) struct Q3K;
/// ggml's `block_q4_K`.
pub(super) struct Q4K;
/// ggml's `block_q5_K`.
pub(super) struct Q5K;
/// ggml's `block_q6_K`.
pub(super) struct Q6K;

impl Block for Q2K {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 84;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let (scales, rest) = bytes.split_at(16);
        let (scale, least) = (half_at(rest, 64), half_at(rest, 66));
        for (part, numbers) in numbers.chunks_exact_mut(16).enumerate() {
            // Each 32 bytes hold 128 numbers: 32 in the lowest two bits of all, then 32 in the next two.
            let (half, within) = (part / 8, part % 8);
            let shift = 2 * (within / 2);
            let quants = &rest[32 * half + 16 * (within % 2)..][..16];
            let scale = scale * f32::from(scales[part] & 15);
            let least = least * f32::from(scales[part] >> 4);
            for (number, q) in numbers.iter_mut().zip(quants) {
                *number = scale * f32::from(q >> shift & 3) - least;
            }
        }
    }
}

impl Block for Q3K {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 110;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let (high_bits, rest) = bytes.split_at(32);
        let packed = &rest[64..76];
        let all = half_at(rest, 76);
        for (part, numbers) in numbers.chunks_exact_mut(16).enumerate() {
            let (half, within) = (part / 8, part % 8);
            let shift = 2 * (within / 2);
            let quants = &rest[32 * half + 16 * (within % 2)..][..16];
            let high_bits = &high_bits[16 * (within % 2)..][..16];
            let high = 4 * half + within / 2;
            // Four low bits of the 16 scales in eight bytes, two high bits in four.
            let low = if part < 8 {
                packed[part] & 15
            } else {
                packed[part - 8] >> 4
            };
            let upper = packed[8 + part % 4] >> (2 * (part / 4)) & 3;
            let scale = all * f32::from((low | upper << 4) as i8 - 32);
            for ((number, q), bits) in numbers.iter_mut().zip(quants).zip(high_bits) {
                let quant = (q >> shift & 3) as i8 - if bits >> high & 1 == 0 { 4 } else { 0 };
                *number = scale * f32::from(quant);
            }
        }
    }
}

/// Scale and least number of part `j` of eight, six bits each in twelve bytes.
#[inline(always)]
fn scale_and_least(packed: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        return (packed[j] & 63, packed[j + 4] & 63);
    }
    (
        packed[j + 4] & 15 | packed[j - 4] >> 6 << 4,
        packed[j + 4] >> 4 | packed[j] >> 6 << 4,
    )
}

impl Block for Q4K {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 144;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let (scale, least) = (half_at(bytes, 0), half_at(bytes, 2));
        let (packed, quants) = (&bytes[4..16], &bytes[16..144]);
        for (part, numbers) in numbers.chunks_exact_mut(32).enumerate() {
            let (of_scale, of_least) = scale_and_least(packed, part);
            let (scale, least) = (scale * f32::from(of_scale), least * f32::from(of_least));
            let shift = 4 * (part % 2);
            for (number, q) in numbers.iter_mut().zip(&quants[part / 2 * 32..][..32]) {
                *number = scale * f32::from(q >> shift & 15) - least;
            }
        }
    }
}

impl Block for Q5K {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 176;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let (scale, least) = (half_at(bytes, 0), half_at(bytes, 2));
        let (packed, bits, quants) = (&bytes[4..16], &bytes[16..48], &bytes[48..176]);
        for (part, numbers) in numbers.chunks_exact_mut(32).enumerate() {
            let (of_scale, of_least) = scale_and_least(packed, part);
            let (scale, least) = (scale * f32::from(of_scale), least * f32::from(of_least));
            let shift = 4 * (part % 2);
            let quants = &quants[part / 2 * 32..][..32];
            for ((number, q), bits) in numbers.iter_mut().zip(quants).zip(bits) {
                let quant = (q >> shift & 15) + (bits >> part & 1) * 16;
                *number = scale * f32::from(quant) - least;
            }
        }
    }
}

impl Block for Q6K {
    const NUMBERS: usize = NUMBERS;
    const BYTES: usize = 210;

    #[inline(always)]
    fn decode(bytes: &[u8], numbers: &mut [f32]) {
        let (low, rest) = bytes.split_at(128);
        let (high, rest) = rest.split_at(64);
        let all = half_at(rest, 16);
        // Of each 128 numbers, 32 at a time take the lower halves of 64 bytes, then the upper ones.
        for (part, numbers) in numbers.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (half, quarter) = (part / 4, part % 4);
            let low = &low[64 * half + 32 * (quarter % 2)..];
            let high = &high[32 * half..];
            let scale = |at: usize| all * f32::from(rest[2 * part + at] as i8);
            let scales = [scale(0), scale(1)];
            match quarter {
                0 => six_bits::<0, 0>(low, high, scales, numbers),
                1 => six_bits::<0, 2>(low, high, scales, numbers),
                2 => six_bits::<4, 4>(low, high, scales, numbers),
                _ => six_bits::<4, 6>(low, high, scales, numbers),
            }
        }
    }
}

/// 32 numbers of four bits in `low` and two in `high`, of which each 16 have a scale.
#[inline(always)]
fn six_bits<const LOW: u32, const HIGH: u32>(
    low: &[u8],
    high: &[u8],
    scales: [f32; 2],
    numbers: &mut [f32; 32],
) {
    let halves = numbers.as_chunks_mut::<16>().0.iter_mut().zip(scales);
    for ((numbers, scale), at) in halves.zip([0, 16]) {
        let (Some(low), Some(high)) = (
            low[at..].first_chunk::<16>(),
            high[at..].first_chunk::<16>(),
        ) else {
            return;
        };
        for l in 0..16 {
            let quant = i32::from(low[l] >> LOW & 15 | (high[l] >> HIGH & 3) << 4) - 32;
            numbers[l] = scale * quant as f32;
        }
    }
}
