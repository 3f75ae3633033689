//! How fast the engine is, and so how long it may be silent.

use std::time::Duration;

/// An engine whose pace is not known may think this many times longer: the first evaluation of a large model on a slow
/// machine takes minutes.
const UNKNOWN_PACE: u32 = 15;

/// A disk that is slower than this is taken for dead, in bytes a second.
const SLOW_DISK: u64 = 20_000_000;

/// The engine's measured pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    step: Option<Duration>,
    finish: Duration,
    deaths: u32,
}

impl Pace {
    /// An evaluation took so long; the last ones count most.
    pub(super) fn stepped(&mut self, took: Duration) {
        self.step = Some(self.step.map_or(took, |mean| (mean * 3 + took) / 4));
        self.deaths = 0;
    }

    /// Decoding took so long.
    pub(super) fn finished(&mut self, took: Duration) {
        self.finish = took;
    }

    /// What decoding is likely to take.
    pub(super) fn finish_estimate(&self) -> Duration {
        self.finish
    }

    /// Another model has another pace.
    pub(super) fn model_changed(&mut self) {
        self.step = None;
        self.finish = Duration::ZERO;
    }

    /// How long the engine may take for one call: at least `least`, 20 times an evaluation, 5 times what a load of
    /// `load_bytes` is likely to take.
    pub(super) fn patience(&self, least: Duration, load_bytes: u64) -> Duration {
        let step = self.step.map_or(least * UNKNOWN_PACE, |step| step * 20);
        let load = Duration::from_secs(5 * (load_bytes / SLOW_DISK));
        if load_bytes > 0 {
            least.max(load)
        } else {
            least.max(step)
        }
    }

    /// The engine died: how long to wait before another is started. The first is replaced at once.
    pub(super) fn died(&mut self) -> Duration {
        self.deaths += 1;
        self.model_changed();
        match self.deaths {
            1 => Duration::ZERO,
            deaths => Duration::from_millis(100 << (deaths - 2).min(7)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Pace, UNKNOWN_PACE};

    #[test]
    fn patience_grows_with_the_measured_step_and_the_model() {
        let minute = Duration::from_secs(60);
        let mut pace = Pace::default();
        assert_eq!(pace.patience(minute, 0), minute * UNKNOWN_PACE);
        pace.stepped(Duration::from_millis(10));
        assert_eq!(pace.patience(minute, 0), minute);
        pace.model_changed();
        pace.stepped(Duration::from_secs(10));
        assert_eq!(pace.patience(minute, 0), Duration::from_secs(200));
        assert_eq!(
            pace.patience(minute, 8_000_000_000),
            Duration::from_secs(2000)
        );
    }

    #[test]
    fn workers_that_die_again_and_again_are_started_ever_later() {
        let mut pace = Pace::default();
        let waits: Vec<_> = (0..12).map(|_| pace.died().as_millis()).collect();
        assert_eq!(waits[..4], [0, 100, 200, 400]);
        assert_eq!(waits[11], 12_800);
        pace.stepped(Duration::from_millis(1));
        assert_eq!(pace.died(), Duration::ZERO);
    }
}
