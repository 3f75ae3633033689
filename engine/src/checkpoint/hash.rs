//! Identities of weights: SHA-256, so that a picture can say which files made it.

use std::fmt;

use rayon::prelude::*;
use sha2::Digest;

use super::Weights;
use super::source::{Blob, Place};
use crate::Result;

/// Bytes read at once.
const PIECE: usize = 256 * 1024;

/// The identity of a component's or a model's weights. Displayed as 64 lower-case hexadecimal digits.
///
/// * One file: SHA-256 of the file, as `sha256sum` and model hubs give it.
/// * Several files: SHA-256 of the lines `sha256sum` prints for them, `<hex>  <file name>\n`, in order of file names.
/// * A model: SHA-256 of such lines, with component names in place of file names, in the order of the call.
///
/// It depends on bytes and names alone: a directory, its copy and the same files inside the program agree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

/// The identity of a model from the names and weights of its components, files being read side by side.
///
/// Fails when a file cannot be read.
pub fn model_sha256(components: &[(&str, &Weights)]) -> Result<Sha256> {
    let hashes = components
        .par_iter()
        .map(|(name, weights)| Ok((*name, weights.sha256()?)));
    Ok(of_lines(&hashes.collect::<Result<Vec<_>>>()?))
}

/// The identity of a component from its files, in order of their names.
pub(super) fn files_sha256(files: &[(String, Blob)]) -> Result<Sha256> {
    let hashes = files
        .par_iter()
        .map(|(name, blob)| Ok((name.as_str(), of_blob(blob)?)));
    match hashes.collect::<Result<Vec<_>>>()?.as_slice() {
        [(_, only)] => Ok(*only),
        several => Ok(of_lines(several)),
    }
}

fn of_lines(hashes: &[(&str, Sha256)]) -> Sha256 {
    let lines: String = hashes
        .iter()
        .map(|(name, hash)| format!("{hash}  {name}\n"))
        .collect();
    Sha256(sha2::Sha256::digest(lines).into())
}

fn of_blob(blob: &Blob) -> Result<Sha256> {
    if let Place::Embedded(bytes) = blob.place {
        return Ok(Sha256(sha2::Sha256::digest(bytes).into()));
    }
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0_u8; PIECE];
    let mut offset = 0;
    while offset < blob.len() {
        let length = usize::try_from(blob.len() - offset)
            .unwrap_or(usize::MAX)
            .min(PIECE);
        blob.read_at(offset, &mut buffer[..length])?;
        hasher.update(&buffer[..length]);
        offset += length as u64;
    }
    Ok(Sha256(hasher.finalize().into()))
}
