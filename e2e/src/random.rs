//! Random numbers that a seed repeats. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators"
//! (SplitMix64), 2014.

use std::{ops::Range, time::Duration};

/// A generator. The same seed gives the same numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, any.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // the bias is one in 2^64 / end: nothing a test sees
        if end == 0 { 0 } else { self.number() % end }
    }

    /// A time in a range, to the microsecond.
    pub fn time(&mut self, range: &Range<Duration>) -> Duration {
        let width = range.end.saturating_sub(range.start).as_micros();
        range.start + Duration::from_micros(self.below(u64::try_from(width).unwrap_or(u64::MAX)))
    }

    /// One of several.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = self.below(choices.len() as u64);
        &choices[usize::try_from(index).expect("below a length")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers_and_they_spread() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            std::iter::repeat_with(move || random.below(10)).take(1000)
        };
        assert!(numbers(1).eq(numbers(1)));
        assert!(!numbers(1).eq(numbers(2)));
        let counts: Vec<_> = (0..10)
            .map(|digit| numbers(7).filter(|number| *number == digit).count())
            .collect();
        assert!(
            counts.iter().all(|count| (60..140).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn times_lie_in_their_range() {
        let range = Duration::from_millis(20)..Duration::from_millis(800);
        let mut random = Random::new(3);
        assert!((0..1000).all(|_| range.contains(&random.time(&range))));
    }
}
