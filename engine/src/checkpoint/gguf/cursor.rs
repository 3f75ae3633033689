//! The bytes of a header, one after the other.

use super::super::header;
use super::super::source::Blob;
use crate::{Error, Result};

/// The longest header that is read: vocabularies of text encoders take some megabytes.
const HEADER_LIMIT_BYTES: u64 = 64 << 20;
/// Bytes read at once.
const PIECE: u64 = 64 * 1024;

/// A place in a file. Everything it gives lies before the end of the file and within the limit of headers.
pub(super) struct Cursor<'a> {
    blob: &'a Blob,
    position: u64,
    /// A piece of the file, and where it begins.
    piece: Vec<u8>,
    piece_start: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(blob: &'a Blob, position: u64) -> Self {
        Self {
            blob,
            position,
            piece: Vec::new(),
            piece_start: 0,
        }
    }

    /// Where the next byte is.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Passes over `count` bytes.
    pub(super) fn pass(&mut self, count: u64) -> Result<()> {
        let end = self.position.checked_add(count);
        match end {
            Some(end) if end <= self.blob.len() && end <= HEADER_LIMIT_BYTES => {
                self.position = end;
                Ok(())
            }
            Some(end) if end > self.blob.len() => {
                Err(header::truncated(&self.blob.name, end, self.blob.len()))
            }
            _ => Err(Error::model(format!(
                "`{}` has a header of more than {} MiB, which is not read",
                self.blob.name,
                HEADER_LIMIT_BYTES >> 20
            ))),
        }
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// The length of a text, before which it stands, and then the text's bytes are next.
    pub(super) fn text_length(&mut self) -> Result<u64> {
        self.u64()
    }

    /// A text of at most `limit` bytes.
    pub(super) fn text(&mut self, limit: u64) -> Result<String> {
        let length = self.text_length()?;
        if length > limit {
            return Err(Error::model(format!(
                "`{}`: a name of {length} bytes; at most {limit} are read",
                self.blob.name
            )));
        }
        self.text_of(length)
    }

    /// A text of `length` bytes.
    pub(super) fn text_of(&mut self, length: u64) -> Result<String> {
        let start = self.position;
        self.pass(length)?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.blob.read_at(start, &mut bytes)?;
        String::from_utf8(bytes)
            .map_err(|error| self.wrong("a text that is not UTF-8").with_source(error))
    }

    /// A failure that names the file.
    pub(super) fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::model(format!("`{}`: {what}", self.blob.name))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let start = self.position;
        self.pass(N as u64)?;
        let piece_end = self.piece_start + self.piece.len() as u64;
        if start < self.piece_start || self.position > piece_end {
            let length = PIECE.min(self.blob.len() - start);
            self.piece.resize(usize::try_from(length).unwrap_or(0), 0);
            self.blob.read_at(start, &mut self.piece)?;
            self.piece_start = start;
        }
        let at = usize::try_from(start - self.piece_start).unwrap_or(usize::MAX);
        let bytes = self.piece.get(at..).and_then(|rest| rest.first_chunk());
        bytes
            .copied()
            .ok_or_else(|| Error::internal("a piece of a header is too short"))
    }
}
