//! What callers have to know.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Longest key, in bytes: it travels in a header.
const MAX_BYTES: usize = 1024;

/// A key that callers have to know. It is kept as its hash, and never printed.
#[derive(Clone)]
pub struct ApiKey {
    digest: [u8; 32],
    characters: usize,
}

/// A text that can be no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is one line of 1 to {MAX_BYTES} visible ASCII characters")]
pub struct BadKey;

impl ApiKey {
    /// A key; space and line ends around it are not part of it.
    pub fn new(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        if text.is_empty()
            || text.len() > MAX_BYTES
            || !text.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(BadKey);
        }
        Ok(Self {
            digest: Sha256::digest(text).into(),
            characters: text.len(),
        })
    }

    pub(crate) fn characters(&self) -> usize {
        self.characters
    }

    /// Whether this is the key. How long that takes says nothing about the key.
    pub(crate) fn is(&self, candidate: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(candidate).into();
        self.digest.ct_eq(&digest).into()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_itself_and_nothing_else_and_is_not_printed() {
        let key = ApiKey::new("  s3cret-key \n").unwrap();
        assert!(key.is("s3cret-key"));
        for other in ["", "s3cret-ke", "s3cret-key ", "S3cret-key", "s3cret-keyy"] {
            assert!(!key.is(other), "{other:?}");
        }
        assert_eq!(format!("{key:?}"), "ApiKey");
        for text in ["", " \n", "two words", "zwei\nzeilen", "schlüssel"] {
            assert_eq!(ApiKey::new(text).err(), Some(BadKey), "{text:?}");
        }
    }
}
