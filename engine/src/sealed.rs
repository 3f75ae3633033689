//! The form of a saved state: magic, then blocks, each with its length in eight little-endian bytes, then the SHA-256 of all
//! before.

use sha2::{Digest as _, Sha256};

use crate::{Error, Result};

const DIGEST_BYTES: usize = 32;

/// What begins a saved state: its kind and the version of its form.
pub(crate) type Magic = [u8; 8];

/// The bytes of a state of these blocks.
pub(crate) fn seal<'a>(magic: &Magic, blocks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    for block in blocks {
        bytes.extend_from_slice(&(block.len() as u64).to_le_bytes());
        bytes.extend_from_slice(block);
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

/// The blocks of a state, one after the other.
pub(crate) struct Blocks<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Blocks<'a> {
    /// Of what [`seal`] made. `what`: what was saved, for messages. Fails on any damage.
    pub(crate) fn open(bytes: &'a [u8], magic: &Magic, what: &'static str) -> Result<Self> {
        let (body, digest) = bytes
            .len()
            .checked_sub(DIGEST_BYTES)
            .map(|at| bytes.split_at(at))
            .ok_or_else(|| damaged(what, "too short"))?;
        if Sha256::digest(body).as_slice() != digest {
            return Err(damaged(
                what,
                "checksum does not match: the bytes are damaged",
            ));
        }
        let rest = body
            .strip_prefix(magic)
            .ok_or_else(|| damaged(what, "written by another version"))?;
        Ok(Self { rest, what })
    }

    /// The next one. Fails where there is none.
    pub(crate) fn next(&mut self) -> Result<&'a [u8]> {
        let cut_off = || damaged(self.what, "a block is cut off");
        let (length, after) = self.rest.split_first_chunk::<8>().ok_or_else(cut_off)?;
        let (block, after) = usize::try_from(u64::from_le_bytes(*length))
            .ok()
            .and_then(|length| after.split_at_checked(length))
            .ok_or_else(cut_off)?;
        self.rest = after;
        Ok(block)
    }

    /// As many as are asked for.
    pub(crate) fn next_ones<const N: usize>(&mut self) -> Result<[&'a [u8]; N]> {
        let mut blocks = [&[][..]; N];
        for block in &mut blocks {
            *block = self.next()?;
        }
        Ok(blocks)
    }

    /// The failure of a block that is not what it should be.
    pub(crate) fn damaged(&self, how: &str) -> Error {
        damaged(self.what, how)
    }
}

fn damaged(what: &str, how: &str) -> Error {
    Error::model(format!("{what}: {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: &Magic = b"imgdtst1";

    #[test]
    fn blocks_come_back_and_damage_is_told() {
        let bytes = seal(MAGIC, [&b"one"[..], b"", b"three"]);
        fn open(bytes: &[u8]) -> Result<Blocks<'_>> {
            Blocks::open(bytes, MAGIC, "a state")
        }
        let mut blocks = open(&bytes).unwrap();
        for block in [&b"one"[..], b"", b"three"] {
            assert_eq!(blocks.next().unwrap(), block);
        }
        let past = blocks.next().unwrap_err().to_string();
        assert!(past.contains("a state: a block is cut off"), "{past}");
        for at in 0..bytes.len() {
            assert!(open(&bytes[..at]).is_err(), "cut at {at}");
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert!(open(&other).is_err(), "changed at {at}");
        }
        let other = Blocks::open(&bytes, b"imgdtst2", "a state").err().unwrap();
        assert!(other.to_string().contains("another version"), "{other}");
    }

    #[test]
    fn lengths_beyond_the_end_are_none() {
        let mut body = MAGIC.to_vec();
        body.extend_from_slice(&u64::MAX.to_le_bytes());
        let digest = Sha256::digest(&body);
        body.extend_from_slice(&digest);
        let mut blocks = Blocks::open(&body, MAGIC, "a state").unwrap();
        assert!(blocks.next().is_err());
    }
}
