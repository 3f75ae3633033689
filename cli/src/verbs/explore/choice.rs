//! Which pictures of a contact sheet are meant: `1 4 7-9`, counted from 1 as the sheet shows them.

use std::{collections::BTreeSet, str::FromStr};

/// Numbers on a sheet, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Choice(BTreeSet<u32>);

/// More than any sheet has.
const MAX: u32 = 10_000;

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || Err("must be numbers on the sheet such as 1,4,7-9, or all".to_owned());
        let mut numbers = BTreeSet::new();
        if text.trim().eq_ignore_ascii_case("all") {
            numbers.extend(1..=MAX);
            return Ok(Self(numbers));
        }
        let parts = text.split(|c: char| c == ',' || c.is_whitespace());
        for part in parts.filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else {
                return wrong();
            };
            if first == 0 || first > last || last > MAX {
                return wrong();
            }
            numbers.extend(first..=last);
        }
        Ok(Self(numbers))
    }
}

impl Choice {
    /// The pictures' indices, from 0, of those that are `there`; `all` is those. Fails at a number that is not there.
    pub(super) fn indices(&self, there: &BTreeSet<u32>) -> Result<Vec<u32>, String> {
        let is_all = self.0.len() == MAX as usize;
        let chosen = self.0.iter().map(|number| number - 1);
        let missing = chosen.clone().find(|index| !there.contains(index));
        match missing {
            Some(index) if !is_all => {
                Err(format!("there is no picture {} on the sheet", index + 1))
            }
            _ => Ok(chosen.filter(|index| there.contains(index)).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices(text: &str) -> Result<Vec<u32>, String> {
        text.parse::<Choice>()?
            .indices(&BTreeSet::from([0, 1, 2, 3, 8]))
    }

    #[test]
    fn numbers_and_ranges_count_from_one() {
        assert_eq!(indices("1 4"), Ok(vec![0, 3]));
        assert_eq!(indices(" 2-4, 9,2 "), Ok(vec![1, 2, 3, 8]));
        assert_eq!(indices("ALL"), Ok(vec![0, 1, 2, 3, 8]));
        assert_eq!(indices(""), Ok(vec![]));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        assert_eq!(
            indices("5").unwrap_err(),
            "there is no picture 5 on the sheet"
        );
        for wrong in ["0", "x", "4-2", "1.5", "-1", "1-99999999999", "20000"] {
            assert!(indices(wrong).is_err(), "{wrong}");
        }
    }
}
