//! Headers of GGUF files, checked in full before any tensor is read.
//!
//! Layout (ggml's `gguf.md`, versions 2 and 3, little endian): magic, version, counts; keys with typed values; each
//! tensor's name, dimensions (the fastest first), type and offset; filling up to the alignment; the data, each tensor
//! aligned. The reference reader crashes or takes all memory on hostile counts, dimensions and alignments, so every number
//! is bounded before it is used, and of the values only texts and shapes are kept.

mod cursor;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;

use self::cursor::Cursor;
use super::header::{self, Order, TENSOR_LIMIT, TensorInfo};
use super::source::Blob;
use crate::{Error, Result};

const MAGIC: &[u8] = b"GGUF";
/// The most keys a file may have. Real ones have some dozens.
const KEY_LIMIT: u64 = 10_000;
/// The longest name of a tensor or key. ggml's own limits are 64 and 65,535 bytes.
const NAME_LIMIT: u64 = 1024;
/// The longest text that is kept; vocabularies and chat templates are passed over.
const TEXT_LIMIT: u64 = 4096;
/// The most dimensions a tensor may have, as in ggml.
const RANK_LIMIT: u32 = 4;
/// The most dimensions that a tensor may have had before it was put into blocks.
const ORIGINAL_RANK_LIMIT: u64 = 8;
/// What tensors are aligned to where the file says nothing.
const ALIGNMENT: u64 = 32;
/// The most they may be aligned to.
const ALIGNMENT_LIMIT: u64 = 64 * 1024;
/// Keys of shapes that tensors had before their rows were made as long as blocks are.
const ORIGINAL_SHAPE: &str = "comfy.gguf.orig_shape.";

/// What a file says of itself.
#[derive(Default)]
pub(super) struct Header {
    pub(super) tensors: BTreeMap<String, TensorInfo>,
    /// Short texts by key.
    pub(super) texts: BTreeMap<String, String>,
}

/// Whether the file begins as GGUF files do.
pub(super) fn is_gguf(blob: &Blob) -> Result<bool> {
    let mut start = [0; 4];
    if blob.len() < start.len() as u64 {
        return Ok(false);
    }
    blob.read_at(0, &mut start)?;
    Ok(start == MAGIC)
}

/// Reads and checks the header of a GGUF file.
pub(super) fn read(blob: &Blob) -> Result<Header> {
    let wrong = |what: String| Error::model(format!("`{}`: {what}", blob.name));
    let mut cursor = Cursor::new(blob, MAGIC.len() as u64);
    let version = cursor.u32()?;
    if !(2..=3).contains(&version) {
        return Err(wrong(format!(
            "is GGUF of version {version}; 2 and 3 are read, little endian"
        )));
    }
    let tensor_count = cursor.u64()?;
    let key_count = cursor.u64()?;
    if tensor_count > TENSOR_LIMIT as u64 || key_count > KEY_LIMIT {
        return Err(wrong(format!(
            "promises {tensor_count} tensors and {key_count} keys; at most {TENSOR_LIMIT} and {KEY_LIMIT} are read"
        )));
    }
    let mut header = Header::default();
    let mut original_shapes = BTreeMap::new();
    let mut alignment = ALIGNMENT;
    for _ in 0..key_count {
        let key = cursor.text(NAME_LIMIT)?;
        match types::value(&mut cursor, TEXT_LIMIT, ORIGINAL_RANK_LIMIT)? {
            types::Value::Text(text) => drop(header.texts.insert(key, text)),
            types::Value::Number(number) if key == "general.alignment" => alignment = number,
            types::Value::Numbers(numbers) => {
                if let Some(tensor) = key.strip_prefix(ORIGINAL_SHAPE) {
                    original_shapes.insert(tensor.to_owned(), numbers);
                }
            }
            types::Value::Number(_) | types::Value::Passed => {}
        }
    }
    if !alignment.is_power_of_two() || !(8..=ALIGNMENT_LIMIT).contains(&alignment) {
        return Err(wrong(format!(
            "`general.alignment` is {alignment}; powers of two from 8 to {ALIGNMENT_LIMIT} are read"
        )));
    }
    for _ in 0..tensor_count {
        let (name, mut info) = tensor(&mut cursor, blob)?;
        if let Some(shape) = original_shapes.get(&name) {
            info.shape = original_shape(&info, shape).ok_or_else(|| {
                wrong(format!(
                    "the tensor `{name}` has {} numbers, and its original shape is {shape:?}",
                    info.elements
                ))
            })?;
        }
        if header.tensors.insert(name.clone(), info).is_some() {
            return Err(wrong(format!("the tensor `{name}` is named twice")));
        }
    }
    let data_start = cursor.position().next_multiple_of(alignment);
    place(blob, &mut header.tensors, data_start, alignment)?;
    Ok(header)
}

/// One tensor; it begins where the data does plus `start`.
fn tensor(cursor: &mut Cursor<'_>, blob: &Blob) -> Result<(String, TensorInfo)> {
    let name = cursor.text(NAME_LIMIT)?;
    let wrong = |what: String| Error::model(format!("`{}`: the tensor `{name}` {what}", blob.name));
    let rank = cursor.u32()?;
    if rank > RANK_LIMIT {
        return Err(wrong(format!(
            "has {rank} dimensions; at most {RANK_LIMIT} are read"
        )));
    }
    let mut shape = Vec::new();
    for _ in 0..rank {
        shape.push(cursor.u64()?);
    }
    shape.reverse();
    let (id, start) = (cursor.u32()?, cursor.u64()?);
    let dtype = types::dtype(id).map_err(&wrong)?;
    let row = shape.last().copied().unwrap_or(1);
    let block = dtype.block_numbers() as u64;
    if !row.is_multiple_of(block) {
        return Err(wrong(format!(
            "has rows of {row} numbers, and {} has blocks of {block}",
            dtype.name()
        )));
    }
    let elements = header::elements(&shape);
    let bytes =
        elements.and_then(|elements| (elements / block).checked_mul(dtype.block_bytes() as u64));
    let dimensions: Option<Vec<usize>> = shape
        .iter()
        .map(|&dimension| usize::try_from(dimension).ok())
        .collect();
    let (Some(elements), Some(bytes), Some(dimensions)) = (
        elements.and_then(|elements| usize::try_from(elements).ok()),
        bytes,
        dimensions,
    ) else {
        return Err(wrong(format!("has the impossible shape {shape:?}")));
    };
    let info = TensorInfo {
        dtype,
        shape: dimensions,
        elements,
        start,
        bytes,
        order: Order::Plain,
    };
    Ok((name, info))
}

/// The shape that a tensor had, if it has as many numbers.
fn original_shape(info: &TensorInfo, shape: &[u64]) -> Option<Vec<usize>> {
    if header::elements(shape)? != info.elements as u64 {
        return None;
    }
    shape
        .iter()
        .map(|&dimension| usize::try_from(dimension).ok())
        .collect()
}

/// Turns offsets into ranges of the file: aligned, without overlap, with no more than filling between them, to the end.
fn place(
    blob: &Blob,
    tensors: &mut BTreeMap<String, TensorInfo>,
    data_start: u64,
    alignment: u64,
) -> Result<()> {
    let mut in_order: Vec<_> = tensors.iter_mut().collect();
    in_order.sort_by_key(|(_, info)| (info.start, info.bytes));
    let mut end = 0_u64;
    for (name, info) in in_order {
        if info.start != end {
            return Err(Error::model(format!(
                "`{}`: the tensor `{name}` begins at {} of the data, and the one before it ends at {end}",
                blob.name, info.start
            )));
        }
        let after = data_start
            .checked_add(info.start)
            .and_then(|start| start.checked_add(info.bytes))
            .filter(|after| *after <= u64::MAX - alignment);
        let Some(after) = after else {
            return Err(Error::model(format!("`{}`: offsets overflow", blob.name)));
        };
        if after > blob.len() {
            return Err(header::truncated(&blob.name, after, blob.len()));
        }
        end = (info.start + info.bytes).next_multiple_of(alignment);
        info.start += data_start;
    }
    let longest = data_start.saturating_add(end);
    if blob.len() > longest {
        return Err(Error::model(format!(
            "`{}` has {} bytes after its last tensor, which no header names",
            blob.name,
            blob.len() - longest
        )));
    }
    Ok(())
}
