//! From a file's bytes to f32, a piece at a time and on all cores, so that a load runs as fast as memory and disk allow.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::header::{DType, TensorInfo};
use super::source::{Blob, Place};
use crate::Result;

/// Numbers per piece. A piece's bytes stay in the second-level cache between the read and the conversion.
const PIECE: usize = 64 * 1024;
/// Numbers converted at once, on the stack.
const BLOCK: usize = 1024;

/// All numbers of a tensor whose dtype can be read.
pub(super) fn to_f32(blob: &Blob, info: &TensorInfo) -> Result<Vec<f32>> {
    part_to_f32(blob, info, 0, info.elements)
}

/// The `count` numbers from `from` on, which the tensor has.
pub(super) fn part_to_f32(
    blob: &Blob,
    info: &TensorInfo,
    from: usize,
    count: usize,
) -> Result<Vec<f32>> {
    let mut values = vec![0_f32; count];
    let width = if info.dtype == DType::F32 { 4 } else { 2 };
    let piece = |(number, values): (usize, &mut [f32])| {
        let start = info.start + ((from + number * PIECE) * width) as u64;
        with_bytes(blob, start, values.len() * width, |bytes| {
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
