//! Headers of safetensors files, checked in full before any tensor is read.
//!
//! Layout: eight bytes with the header's length (little endian), the header (a JSON object that gives each tensor's
//! dtype, shape and range of bytes), then the data. The reference reader allows headers of 100 MB; one of 60 MB with a
//! million empty tensors costs it a gigabyte and eight seconds, so the limits here are lower. Real checkpoints have
//! headers below 1 MiB and a few thousand tensors.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::refused;
use super::source::Blob;
use crate::kernels::cpu::BlockFormat;
use crate::{Error, Result};

/// The largest header that is read.
pub(super) const HEADER_LIMIT_BYTES: u64 = 16 << 20;
/// The most tensors a file may hold.
pub(super) const TENSOR_LIMIT: usize = 100_000;
/// The most dimensions a tensor may have.
const RANK_LIMIT: usize = 8;

/// Type of a tensor's elements, as the header names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DType {
    F32,
    F16,
    Bf16,
    /// Eight bits with four of exponent, no infinities (`torch.float8_e4m3fn`).
    F8E4M3,
    /// A few bits each, in blocks with scales.
    Blocks(BlockFormat),
    /// Known to the format and never read here; index buffers of text encoders are such.
    Other(&'static str),
}

/// Names and sizes in bytes of the types that are only measured, not read.
const OTHER_DTYPES: &[(&str, u64)] = &[
    ("F64", 8),
    ("I64", 8),
    ("U64", 8),
    ("C64", 8),
    ("I32", 4),
    ("U32", 4),
    ("I16", 2),
    ("U16", 2),
    ("I8", 1),
    ("U8", 1),
    ("BOOL", 1),
    ("F8_E5M2", 1),
    ("F8_E8M0", 1),
];

impl DType {
    fn parse(name: &str) -> Option<(Self, u64)> {
        match name {
            "F32" => Some((Self::F32, 4)),
            "F16" => Some((Self::F16, 2)),
            "BF16" => Some((Self::Bf16, 2)),
            "F8_E4M3" => Some((Self::F8E4M3, 1)),
            _ => OTHER_DTYPES
                .iter()
                .find(|other| other.0 == name)
                .map(|other| (Self::Other(other.0), other.1)),
        }
    }

    /// The name that users know it by.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F8E4M3 => "fp8",
            Self::Blocks(format) => format.name(),
            Self::Other(name) => name,
        }
    }

    /// Numbers in a block; 1 where each stands for itself.
    pub(super) fn block_numbers(self) -> usize {
        match self {
            Self::Blocks(format) => format.numbers(),
            _ => 1,
        }
    }

    /// Bytes of a block. Of a type that is read.
    pub(super) fn block_bytes(self) -> usize {
        match self {
            Self::Blocks(format) => format.bytes(),
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F8E4M3 | Self::Other(_) => 1,
        }
    }

    pub(super) fn is_read(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

/// One tensor: its bytes are `start..start + bytes` of the file, and are as many as dtype and shape ask for.
#[derive(Clone, Debug)]
pub(super) struct TensorInfo {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) elements: usize,
    pub(super) start: u64,
    pub(super) bytes: u64,
    pub(super) order: Order,
}

impl TensorInfo {
    /// Whether it is a matrix whose rows are whole blocks: what layers keep as it is.
    pub(super) fn is_block_matrix(&self) -> bool {
        let (block, row) = (self.dtype.block_numbers(), self.shape.last());
        block > 1
            && self.shape.len() == 2
            && row.is_some_and(|row| *row > 0 && row.is_multiple_of(block))
            && self.order != Order::Transposed
    }
}

/// How the numbers in the file are brought into the order that the shape says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// They are in it.
    #[default]
    Plain,
    /// The second half stands before the first.
    HalvesSwapped,
    /// The file has the columns of the matrix as its rows.
    Transposed,
}

/// Reads and checks the header of a safetensors file.
pub(super) fn read(blob: &Blob) -> Result<BTreeMap<String, TensorInfo>> {
    let (json, data_start) = json(blob)?;
    let name = &blob.name;
    let Entries(entries) = serde_json::from_slice(&json)
        .map_err(|error| Error::model(format!("the header of `{name}` is damaged: {error}")))?;
    layout(name, entries, data_start, blob.len())
}

/// The texts that whoever wrote the file put into its header.
pub(super) fn metadata(blob: &Blob) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(default, rename = "__metadata__")]
        metadata: BTreeMap<String, String>,
    }
    let header: Result<Header, _> = serde_json::from_slice(&json(blob)?.0);
    // Some programs write other things than texts there.
    Ok(header.map(|header| header.metadata).unwrap_or_default())
}

/// The header's text, and where the data begins.
fn json(blob: &Blob) -> Result<(Vec<u8>, u64)> {
    let name = &blob.name;
    let length = blob.len();
    let mut start = [0_u8; 8];
    let present = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .min(start.len());
    blob.read_at(0, &mut start[..present])?;
    refused::check_magic(name, &start[..present])?;
    if length < 8 {
        return Err(truncated(name, 8, length));
    }
    let header_bytes = u64::from_le_bytes(start);
    if header_bytes > HEADER_LIMIT_BYTES {
        return Err(Error::model(format!(
            "`{name}` is no safetensors file: its first bytes promise a header of {header_bytes} bytes, and at most {} MiB are read",
            HEADER_LIMIT_BYTES >> 20
        )));
    }
    let data_start = 8 + header_bytes;
    if data_start > length {
        return Err(truncated(name, data_start, length));
    }
    let mut json = vec![0_u8; usize::try_from(header_bytes).expect("below the limit")];
    blob.read_at(8, &mut json)?;
    Ok((json, data_start))
}

/// Turns what the header says into ranges of the file: as long as dtype and shape need, one after the other without
/// overlap or gap, to the end of the file.
fn layout(
    name: &str,
    entries: BTreeMap<String, Entry>,
    data_start: u64,
    length: u64,
) -> Result<BTreeMap<String, TensorInfo>> {
    let wrong =
        |tensor: &str, what: String| Error::model(format!("`{name}`: tensor `{tensor}` {what}"));
    let mut tensors = BTreeMap::new();
    for (tensor, entry) in entries {
        let Some((dtype, element_bytes)) = DType::parse(&entry.dtype) else {
            let supported = "f32, f16 and bf16 are supported";
            return Err(wrong(
                &tensor,
                format!(
                    "has the unknown dtype `{}`; {supported}",
                    shorten(&entry.dtype)
                ),
            ));
        };
        if entry.shape.len() > RANK_LIMIT {
            return Err(wrong(
                &tensor,
                format!(
                    "has {} dimensions; at most {RANK_LIMIT} are read",
                    entry.shape.len()
                ),
            ));
        }
        let elements = elements(&entry.shape);
        let bytes = elements.and_then(|elements| elements.checked_mul(element_bytes));
        let (Some(elements), Some(bytes)) = (elements, bytes) else {
            return Err(wrong(
                &tensor,
                format!("has the impossible shape {:?}", entry.shape),
            ));
        };
        let (begin, end) = entry.data_offsets;
        if end.checked_sub(begin) != Some(bytes) {
            let what = format!(
                "{} {:?} needs {bytes} bytes, its offsets are {begin}..{end}",
                dtype.name(),
                entry.shape
            );
            return Err(wrong(&tensor, what));
        }
        let shape = entry
            .shape
            .iter()
            .map(|&dimension| usize::try_from(dimension))
            .collect::<Result<_, _>>();
        let (Ok(shape), Ok(elements)) = (shape, usize::try_from(elements)) else {
            return Err(wrong(
                &tensor,
                format!("is too large for this machine: {:?}", entry.shape),
            ));
        };
        let start = begin
            .checked_add(data_start)
            .ok_or_else(|| wrong(&tensor, format!("starts at {begin}")))?;
        tensors.insert(
            tensor,
            TensorInfo {
                dtype,
                shape,
                elements,
                start,
                bytes,
                order: Order::Plain,
            },
        );
    }
    check_ranges(name, &tensors, data_start, length)?;
    Ok(tensors)
}

/// Numbers of a tensor of `shape`. Nothing where some of the dimensions, multiplied, are too many: another may be zero.
pub(super) fn elements(shape: &[u64]) -> Option<u64> {
    shape
        .iter()
        .try_fold(1_u64, |product, &dimension| {
            product.checked_mul(dimension.max(1))
        })
        .map(|product| if shape.contains(&0) { 0 } else { product })
}

fn check_ranges(
    name: &str,
    tensors: &BTreeMap<String, TensorInfo>,
    data_start: u64,
    length: u64,
) -> Result<()> {
    let mut ranges: Vec<_> = tensors.iter().collect();
    ranges.sort_by_key(|(_, info)| (info.start, info.bytes));
    let mut end = data_start;
    for (tensor, info) in ranges {
        if info.start != end {
            let what = if info.start < end {
                "overlaps the tensor before it"
            } else {
                "leaves a gap before it"
            };
            return Err(Error::model(format!("`{name}`: tensor `{tensor}` {what}")));
        }
        end = end
            .checked_add(info.bytes)
            .ok_or_else(|| Error::model(format!("`{name}`: offsets overflow")))?;
    }
    match end {
        _ if end > length => Err(truncated(name, end, length)),
        _ if end < length => Err(Error::model(format!(
            "`{name}` has {} bytes after its last tensor, which no header names",
            length - end
        ))),
        _ => Ok(()),
    }
}

pub(super) fn truncated(name: &str, expected: u64, found: u64) -> Error {
    Error::model(format!(
        "`{name}` is truncated: {expected} bytes expected, {found} found"
    ))
    .with_hint("download the file again")
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A tensor as the header describes it.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// All tensors of a header. Counted while they are read, so that a bomb ends at the limit; repeated names are refused.
struct Entries(BTreeMap<String, Entry>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object that names tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if entries.len() == TENSOR_LIMIT {
                return Err(A::Error::custom(format_args!(
                    "more than {TENSOR_LIMIT} tensors"
                )));
            }
            let entry = map.next_value()?;
            if entries.contains_key(&name) {
                return Err(A::Error::custom(format_args!(
                    "tensor `{}` is named twice",
                    shorten(&name)
                )));
            }
            entries.insert(name, entry);
        }
        Ok(Entries(entries))
    }
}
