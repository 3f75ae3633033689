//! Numbers that stand for types: of tensors, and of the values of keys.

use super::super::header::DType;
use super::cursor::Cursor;
use crate::Result;
use crate::kernels::cpu::BlockFormat;

/// The most members of an array. Vocabularies have some hundred thousand.
const ARRAY_LIMIT: u64 = 4 << 20;

/// ggml's types of tensors that are read.
const DTYPES: &[(u32, DType)] = &[
    (0, DType::F32),
    (1, DType::F16),
    (2, DType::Blocks(BlockFormat::Q4_0)),
    (3, DType::Blocks(BlockFormat::Q4_1)),
    (6, DType::Blocks(BlockFormat::Q5_0)),
    (7, DType::Blocks(BlockFormat::Q5_1)),
    (8, DType::Blocks(BlockFormat::Q8_0)),
    (10, DType::Blocks(BlockFormat::Q2K)),
    (11, DType::Blocks(BlockFormat::Q3K)),
    (12, DType::Blocks(BlockFormat::Q4K)),
    (13, DType::Blocks(BlockFormat::Q5K)),
    (14, DType::Blocks(BlockFormat::Q6K)),
    (30, DType::Bf16),
];
/// Names of those that are not.
const OTHERS: &[(u32, &str)] = &[
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
];

/// The type of a tensor; an error says what is wrong with it.
pub(super) fn dtype(id: u32) -> Result<DType, String> {
    if let Some((_, dtype)) = DTYPES.iter().find(|(known, _)| *known == id) {
        return Ok(*dtype);
    }
    let name = OTHERS.iter().find(|(other, _)| *other == id);
    let name = name.map_or_else(|| format!("of type {id}"), |(_, name)| (*name).to_owned());
    Err(format!(
        "is {name}, which is not read; take a file in Q4_0 to Q8_0, Q2_K to Q6_K, F16 or BF16"
    ))
}

/// The value of a key, as far as it is kept.
pub(super) enum Value {
    Text(String),
    /// A whole number that is not negative.
    Number(u64),
    /// Few whole numbers.
    Numbers(Vec<u64>),
    /// Anything else.
    Passed,
}

const U32: u32 = 4;
const I32: u32 = 5;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;
const U64: u32 = 10;

/// Bytes of a value of a fixed size.
fn size(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Reads a value with its type; texts up to `text_limit` bytes and arrays of up to `number_limit` numbers are kept.
pub(super) fn value(cursor: &mut Cursor<'_>, text_limit: u64, number_limit: u64) -> Result<Value> {
    let kind = cursor.u32()?;
    match kind {
        U32 => Ok(Value::Number(cursor.u32()?.into())),
        U64 => Ok(Value::Number(cursor.u64()?)),
        TEXT => {
            let length = cursor.text_length()?;
            if length > text_limit {
                cursor.pass(length)?;
                return Ok(Value::Passed);
            }
            cursor.text_of(length).map(Value::Text)
        }
        ARRAY => array(cursor, number_limit),
        _ => {
            let size = size(kind)
                .ok_or_else(|| cursor.wrong(format_args!("a value has the unknown type {kind}")))?;
            cursor.pass(size)?;
            Ok(Value::Passed)
        }
    }
}

fn array(cursor: &mut Cursor<'_>, number_limit: u64) -> Result<Value> {
    let (kind, count) = (cursor.u32()?, cursor.u64()?);
    if count > ARRAY_LIMIT {
        return Err(cursor.wrong(format_args!(
            "an array of {count} values; at most {ARRAY_LIMIT} are read"
        )));
    }
    if kind == I32 && count <= number_limit {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(u64::from(cursor.u32()?));
        }
        return Ok(Value::Numbers(numbers));
    }
    if kind == TEXT {
        for _ in 0..count {
            let length = cursor.text_length()?;
            cursor.pass(length)?;
        }
        return Ok(Value::Passed);
    }
    // Arrays of arrays are in the format, and nobody writes them.
    let size = size(kind)
        .ok_or_else(|| cursor.wrong(format_args!("an array has values of the type {kind}")))?;
    cursor.pass(size * count)?;
    Ok(Value::Passed)
}
