//! From a file's bytes to f32, a piece at a time and on all cores, so that a load runs as fast as memory and disk allow.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::header::{DType, Order, TensorInfo};
use super::source::{Blob, Place};
use crate::Result;

/// Numbers per piece, a multiple of every block's. A piece's bytes stay in the second-level cache between the read and the conversion.
const PIECE: usize = 64 * 1024;
/// Numbers converted at once, on the stack.
const BLOCK: usize = 1024;

/// All numbers of a tensor whose dtype can be read.
pub(super) fn to_f32(blob: &Blob, info: &TensorInfo) -> Result<Vec<f32>> {
    let mut values = part_to_f32(blob, info, 0, info.elements)?;
    match info.order {
        Order::Plain => {}
        Order::HalvesSwapped => values.rotate_left(info.elements / 2),
        Order::Transposed => {
            // The shape is what it becomes: `(rows, columns)`.
            let rows = info.shape.first().copied().unwrap_or(1).max(1);
            let stored = values;
            values = (0..info.elements)
                .map(|at| {
                    let columns = info.elements / rows;
                    stored[at % columns * rows + at / columns]
                })
                .collect();
        }
    }
    Ok(values)
}

/// The `count` numbers from `from` on, which the tensor has, in the order of the file.
pub(super) fn part_to_f32(
    blob: &Blob,
    info: &TensorInfo,
    from: usize,
    count: usize,
) -> Result<Vec<f32>> {
    let (block, width) = (info.dtype.block_numbers(), info.dtype.block_bytes());
    if !from.is_multiple_of(block) || !count.is_multiple_of(block) {
        let whole = from / block * block..(from + count).next_multiple_of(block);
        let values = part_to_f32(blob, info, whole.start, whole.len())?;
        return Ok(values[from - whole.start..][..count].to_vec());
    }
    let mut values = vec![0_f32; count];
    let piece = |(number, values): (usize, &mut [f32])| {
        let start = info.start + ((from + number * PIECE) / block * width) as u64;
        with_bytes(blob, start, values.len() / block * width, |bytes| {
            decode(info.dtype, bytes, values)
        })
    };
    if count <= PIECE {
        piece((0, &mut values))?;
    } else {
        values
            .par_chunks_mut(PIECE)
            .enumerate()
            .try_for_each(piece)?;
    }
    Ok(values)
}

/// The `length` bytes from `start` on, read on all cores.
pub(super) fn bytes(blob: &Blob, start: u64, length: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0_u8; length];
    bytes
        .par_chunks_mut(PIECE)
        .enumerate()
        .try_for_each(|(number, piece)| blob.read_at(start + (number * PIECE) as u64, piece))?;
    Ok(bytes)
}

/// Calls `with` with a range of the file: in place when it is embedded, from a buffer otherwise.
fn with_bytes(blob: &Blob, start: u64, length: usize, with: impl FnOnce(&[u8])) -> Result<()> {
    if let Place::Embedded(bytes) = blob.place
        && let Some(bytes) = usize::try_from(start)
            .ok()
            .and_then(|start| bytes.get(start..start.checked_add(length)?))
    {
        with(bytes);
        return Ok(());
    }
    let mut buffer = vec![0_u8; length];
    blob.read_at(start, &mut buffer)?;
    with(&buffer);
    Ok(())
}

/// Decodes little-endian numbers. `bytes` has four (f32) or two bytes for each value, at any alignment.
fn decode(dtype: DType, bytes: &[u8], values: &mut [f32]) {
    match dtype {
        DType::F32 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *value = f32::from_le_bytes(*bytes);
            }
        }
        DType::F16 => decode_half(bytes, values, f16::from_le_bytes, |half, values| {
            half.convert_to_f32_slice(values)
        }),
        DType::Bf16 => decode_half(bytes, values, bf16::from_le_bytes, |half, values| {
            half.convert_to_f32_slice(values)
        }),
        DType::F8E4M3 => {
            for (value, byte) in values.iter_mut().zip(bytes) {
                *value = e4m3_to_f32(*byte);
            }
        }
        DType::Blocks(format) => format.decode(bytes, values),
        DType::Other(_) => unreachable!("refused by the loader"),
    }
}

/// Copies to aligned blocks, which `half` widens with the processor's own instructions where it has them.
fn decode_half<H: Copy + Default>(
    bytes: &[u8],
    values: &mut [f32],
    from_le: impl Fn([u8; 2]) -> H,
    widen: impl Fn(&[H], &mut [f32]),
) {
    let mut block = [H::default(); BLOCK];
    for (values, bytes) in values.chunks_mut(BLOCK).zip(bytes.chunks(2 * BLOCK)) {
        for (half, bytes) in block.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *half = from_le(*bytes);
        }
        widen(&block[..values.len()], values);
    }
}

/// A number of eight bits: sign, four of exponent with a bias of 7, three of mantissa; `0x7f` and `0xff` are NaN.
fn e4m3_to_f32(byte: u8) -> f32 {
    let (exponent, mantissa) = (byte >> 3 & 15, byte & 7);
    let magnitude = match (exponent, mantissa) {
        (15, 7) => f32::NAN,
        (0, mantissa) => f32::from(mantissa) / 512.0,
        (exponent, mantissa) => {
            (1.0 + f32::from(mantissa) / 8.0) * 2f32.powi(i32::from(exponent) - 7)
        }
    };
    if byte & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of `torch.float8_e4m3fn`.
    #[test]
    fn eight_bits_are_torchs() {
        for (byte, number) in [
            (0x00, 0.0),
            (0x01, 0.001_953_125),
            (0x08, 0.015_625),
            (0x38, 1.0),
            (0x3c, 1.5),
            (0x7e, 448.0),
            (0xb8, -1.0),
        ] {
            assert_eq!(e4m3_to_f32(byte), number);
        }
        assert!(e4m3_to_f32(0x7f).is_nan() && e4m3_to_f32(0xff).is_nan());
    }
}
