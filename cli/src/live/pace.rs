//! How long the rest takes, from how long the part took that is done.

use std::time::Duration;

/// Below this an estimate is a guess.
const LEAST_DONE: u64 = 1;

/// Counts work of which only a part is done now: what was there before it began says nothing of its pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    done: u64,
}

impl Pace {
    /// Nothing is done yet.
    pub(crate) fn new() -> Self {
        Self { done: 0 }
    }

    /// So much more is done.
    pub(crate) fn advance(&mut self, by: u64) {
        self.done += by;
    }

    /// How long `left` more take, where what is done took `elapsed`.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(crate) fn left(self, elapsed: Duration, left: u64) -> Option<Duration> {
        if self.done < LEAST_DONE {
            return None;
        }
        let secs = elapsed.as_secs_f64() * left as f64 / self.done as f64;
        Duration::try_from_secs_f64(secs).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_goes_at_the_pace_of_what_is_done() {
        let mut pace = Pace::new();
        assert_eq!(pace.left(Duration::from_secs(5), 10), None);
        pace.advance(2);
        assert_eq!(
            pace.left(Duration::from_secs(4), 10),
            Some(Duration::from_secs(20))
        );
        assert_eq!(pace.left(Duration::from_secs(4), 0), Some(Duration::ZERO));
    }
}
