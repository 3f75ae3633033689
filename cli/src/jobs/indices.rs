//! Which pictures of a job are meant: `0,3,5-7`.

use std::{collections::BTreeSet, str::FromStr};

use imgd_proto::limits::{NUM_IMAGES, Range};

/// Indices of pictures, from 0, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Indices(pub(crate) BTreeSet<u32>);

impl FromStr for Indices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Range::Integer { max, .. } = NUM_IMAGES.range else {
            unreachable!("a number of pictures is a whole number")
        };
        let number = |text: &str| {
            let number = text.trim().parse::<u32>().ok();
            number.filter(|&number| u64::from(number) < max)
        };
        let mut indices = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => indices.extend(first..=last),
                _ => {
                    return Err(format!(
                        "must be pictures counted from 0, such as 0,3,5-7, each below {max}"
                    ));
                }
            }
        }
        Ok(Self(indices))
    }
}

impl Indices {
    /// The indices in order.
    pub(crate) fn to_vec(&self) -> Vec<u32> {
        self.0.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_read_once_each() {
        let read = |text: &str| text.parse::<Indices>().map(|indices| indices.to_vec());
        assert_eq!(read("0,3,5-7").unwrap(), [0, 3, 5, 6, 7]);
        assert_eq!(read("2, 1-2").unwrap(), [1, 2]);
        assert_eq!(read("9999").unwrap(), [9999]);
        for wrong in [
            "",
            ",",
            "1,",
            "-1",
            "7-5",
            "1-",
            "a",
            "10000",
            "0-4294967295",
            "1.5",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
