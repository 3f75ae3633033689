//! Pages of a list: as many entries as were asked for, or as fit.

use imgd_proto::errors::Failure;

/// An answer's size in bytes from which on no entry is added; one entry is always in it.
const PAGE_BYTES: usize = 1 << 20;

/// Entries of a page where the request does not say, for jobs.
pub(super) const JOBS: u32 = 50;

/// Entries of a page where the request does not say, for pictures.
pub(super) const IMAGES: u32 = 100;

/// A page as it is filled.
pub(super) struct Page<T> {
    entries: Vec<T>,
    most: usize,
    bytes: usize,
    last: i64,
    is_more: bool,
}

impl<T> Page<T> {
    /// An empty page of `size` entries; of `default` where that is 0.
    pub(super) fn new(size: u32, default: u32) -> Self {
        let size = if size == 0 { default } else { size };
        Self {
            entries: Vec::new(),
            most: usize::try_from(size).unwrap_or(usize::MAX),
            bytes: 0,
            last: 0,
            is_more: false,
        }
    }

    /// Whether an entry of so many bytes does not fit any more: it begins the next page.
    pub(super) fn is_full_for(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.is_more =
            self.entries.len() >= self.most || !self.entries.is_empty() && self.bytes > PAGE_BYTES;
        self.is_more
    }

    /// Adds an entry; `key` is where the next page goes on behind.
    pub(super) fn push(&mut self, entry: T, key: i64) {
        self.entries.push(entry);
        self.last = key;
    }

    /// The entries, and the token of the next page, empty for none.
    pub(super) fn finish(self) -> (Vec<T>, String) {
        let token = if self.is_more {
            format!("{:x}", self.last)
        } else {
            String::new()
        };
        (self.entries, token)
    }
}

/// The key that a token holds; `None` for the first page.
pub(super) fn key(token: &str) -> Result<Option<i64>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    match i64::from_str_radix(token, 16) {
        Ok(key) if key >= 0 => Ok(Some(key)),
        _ => Err(
            Failure::invalid("page_token", "page_token is none that this daemon gave")
                .with_hint("give `next_page_token` of the answer before, or leave it out"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_entry_is_alone_on_its_page() {
        let mut page = Page::new(10, JOBS);
        assert!(!page.is_full_for(3 << 20));
        page.push("large", 7);
        assert!(page.is_full_for(1));
        assert_eq!(page.finish(), (vec!["large"], "7".to_owned()));
    }

    #[test]
    fn tokens_that_nobody_gave_are_refused() {
        assert_eq!(key("").unwrap(), None);
        assert_eq!(key("ff").unwrap(), Some(255));
        for wrong in ["-1", "g", " ", "ffffffffffffffff1"] {
            assert_eq!(key(wrong).unwrap_err().field.as_deref(), Some("page_token"));
        }
    }
}
