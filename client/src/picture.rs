//! Putting a picture's file together from the parts in which it travels.

use imgd_proto::v1;
use sha2::{Digest as _, Sha256};

use crate::{Error, Image, Result};

/// Larger pictures break the contract: 4,096 x 4,096 pixels of three bytes, and room for the file around them.
const MAX_IMAGE_BYTES: u64 = 64 << 20;

/// A file of which some parts are here.
#[derive(Debug)]
pub(crate) struct Partial {
    index: u32,
    total_bytes: u64,
    bytes: Vec<u8>,
    metadata: Option<v1::ImageMetadata>,
}

/// A file that is complete.
#[derive(Debug)]
pub(crate) struct Complete {
    index: u32,
    pub(crate) bytes: Vec<u8>,
    metadata: Option<v1::ImageMetadata>,
}

impl Partial {
    /// Takes a part of a file whose other parts are in `slot`; returns the file with its last part.
    ///
    /// Fails when the parts do not fit together, or make another size than was said.
    pub(crate) fn accept(
        slot: &mut Option<Self>,
        chunk: v1::ImageChunk,
    ) -> Result<Option<Complete>> {
        let mut partial = match slot.take() {
            Some(partial) => partial,
            None => Self::begin(&chunk)?,
        };
        let expected = (
            partial.index,
            partial.bytes.len() as u64,
            partial.total_bytes,
        );
        if (chunk.image_index, chunk.offset, chunk.total_bytes) != expected {
            return Err(Error::Contract("parts of a picture came out of order"));
        }
        partial.metadata = partial.metadata.or(chunk.metadata);
        partial.bytes.extend_from_slice(&chunk.data);
        let length = partial.bytes.len() as u64;
        if length > partial.total_bytes || chunk.last != (length == partial.total_bytes) {
            return Err(Error::Contract("a picture has another size than was said"));
        }
        if !chunk.last {
            *slot = Some(partial);
            return Ok(None);
        }
        Ok(Some(Complete {
            index: partial.index,
            bytes: partial.bytes,
            metadata: partial.metadata,
        }))
    }

    fn begin(chunk: &v1::ImageChunk) -> Result<Self> {
        if chunk.total_bytes > MAX_IMAGE_BYTES {
            return Err(Error::Contract("a picture is too large"));
        }
        Ok(Self {
            index: chunk.image_index,
            total_bytes: chunk.total_bytes,
            bytes: Vec::with_capacity(usize::try_from(chunk.total_bytes).unwrap_or(0)),
            metadata: None,
        })
    }
}

impl TryFrom<Complete> for Image {
    type Error = Error;

    /// Fails when the file is not the one that its SHA-256 names.
    fn try_from(file: Complete) -> Result<Self> {
        let metadata = file
            .metadata
            .ok_or(Error::Contract("a picture came without its settings"))?;
        let sha256 = sha256_hex(&file.bytes);
        if metadata.sha256 != sha256 {
            return Err(Error::Contract(
                "a picture's bytes are not those that its SHA-256 names",
            ));
        }
        Ok(Self {
            index: file.index,
            bytes: file.bytes,
            format: metadata.format(),
            settings: metadata.settings.unwrap_or_default(),
            model_hash: metadata.model_hash,
            sha256,
            parameters: metadata.parameters,
        })
    }
}

/// SHA-256 of `bytes` as the contract writes it: 64 hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
