//! The hash that a blob is named by: SHA-256, or git's SHA-1 of a small file.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// A hash that is being computed.
#[derive(Clone)]
pub(crate) enum Digest {
    /// Of a large file: of its bytes.
    Sha256(Sha256),
    /// Of a small file, as git names it: of a header with the size, then its bytes.
    Git(Sha1),
}

impl Digest {
    /// For a blob of that name and size in bytes.
    pub(crate) fn for_blob(name: &str, size: u64) -> Self {
        if name.len() == 64 {
            return Self::Sha256(Sha256::new());
        }
        let mut hash = Sha1::new();
        hash.update(format!("blob {size}\0"));
        Self::Git(hash)
    }

    /// Takes more bytes in.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Git(hash) => hash.update(bytes),
        }
    }

    /// The hash in lower-case hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => hex(&hash.finalize()),
            Self::Git(hash) => hex(&hash.finalize()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha256sum_and_git() {
        let of = |name_len: usize, bytes: &[u8]| {
            let size = bytes.len() as u64;
            let mut digest = Digest::for_blob(&"0".repeat(name_len), size);
            digest.update(&bytes[..1]);
            digest.update(&bytes[1..]);
            digest.finish()
        };
        // printf 'hello\n' | git hash-object --stdin; printf 'hello\n' | sha256sum
        assert_eq!(
            of(40, b"hello\n"),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        assert_eq!(
            of(64, b"hello\n"),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
    }
}
