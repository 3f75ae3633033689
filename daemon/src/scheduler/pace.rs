//! How fast the engine is, and so how long it may be silent.

use std::{collections::BTreeMap, time::Duration};

use crate::engine::GenerationId;

/// An engine whose pace is not known may think this many times longer: the first evaluation of a large model on a slow
/// machine takes minutes.
const UNKNOWN_PACE: u32 = 15;

/// A disk that is slower than this is taken for dead, in bytes a second.
const SLOW_DISK: u64 = 20_000_000;

/// The engine's measured pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Evaluations of the largest pictures so far, or of the most together.
    step: Option<Step>,
    finish: Duration,
    /// What the decoding of pictures in flight took so far.
    decoding: BTreeMap<GenerationId, Duration>,
    deaths: u32,
}

/// What evaluations of one size take.
#[derive(Debug, Clone, Copy)]
struct Step {
    mean: Duration,
    pixels: u64,
}

impl Pace {
    /// An evaluation for pictures of so many pixels together took so long; the last ones count most, and those of smaller
    /// pictures than measured before say nothing.
    pub(super) fn stepped(&mut self, took: Duration, pixels: u64) {
        self.deaths = 0;
        let mean = match self.step {
            Some(step) if step.pixels > pixels => return,
            Some(step) if step.pixels == pixels => (step.mean * 3 + took) / 4,
            _ => took,
        };
        self.step = Some(Step { mean, pixels });
    }

    /// A stage of the decoder took so long.
    pub(super) fn decoded(&mut self, generation: GenerationId, took: Duration) {
        *self.decoding.entry(generation).or_default() += took;
    }

    /// The rest took so long; returns what the whole did.
    pub(super) fn finished(&mut self, generation: GenerationId, took: Duration) -> Duration {
        self.finish = self.decoding.remove(&generation).unwrap_or_default() + took;
        self.finish
    }

    /// A generation is no more.
    pub(super) fn ended(&mut self, generation: GenerationId) {
        self.decoding.remove(&generation);
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

    /// How long one evaluation or decoding of a picture of so many pixels may take: at least `least`, 20 times a
    /// measured evaluation of that size. What larger pictures take is not known from smaller ones.
    pub(super) fn patience(&self, least: Duration, pixels: u64) -> Duration {
        let unknown = least * UNKNOWN_PACE;
        match self.step {
            None => unknown,
            Some(step) if pixels <= step.pixels => least.max(step.mean * 20),
            Some(step) => {
                let ratio = u32::try_from(pixels / step.pixels.max(1)).unwrap_or(u32::MAX);
                unknown.max(step.mean.saturating_mul(20).saturating_mul(ratio))
            }
        }
    }

    /// How long a load of `load_bytes` may take: at least `least`, 5 times what it is likely to take.
    pub(super) fn load_patience(least: Duration, load_bytes: u64) -> Duration {
        least.max(Duration::from_secs(5 * (load_bytes / SLOW_DISK)))
    }

    /// The engine died: how long to wait before another is started. The first is replaced at once.
    pub(super) fn died(&mut self) -> Duration {
        self.deaths += 1;
        self.decoding.clear();
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
        assert_eq!(pace.patience(minute, 100), minute * UNKNOWN_PACE);
        pace.stepped(Duration::from_millis(10), 100);
        assert_eq!(pace.patience(minute, 100), minute);
        pace.model_changed();
        pace.stepped(Duration::from_secs(10), 100);
        assert_eq!(pace.patience(minute, 100), Duration::from_secs(200));
        assert_eq!(Pace::load_patience(minute, 0), minute);
        assert_eq!(
            Pace::load_patience(minute, 8_000_000_000),
            Duration::from_secs(2000)
        );
    }

    #[test]
    fn a_large_picture_after_small_ones_is_not_taken_for_a_hang() {
        let minute = Duration::from_secs(60);
        let mut pace = Pace::default();
        pace.stepped(Duration::from_millis(100), 65_536);
        assert_eq!(
            pace.patience(minute, 16_777_216),
            minute * UNKNOWN_PACE,
            "its pace is not known"
        );
        pace.stepped(Duration::from_secs(80), 16_777_216);
        pace.stepped(Duration::from_millis(100), 65_536);
        assert_eq!(
            pace.patience(minute, 16_777_216),
            Duration::from_secs(1600),
            "small ones do not hide what large ones take"
        );
    }

    #[test]
    fn workers_that_die_again_and_again_are_started_ever_later() {
        let mut pace = Pace::default();
        let waits: Vec<_> = (0..12).map(|_| pace.died().as_millis()).collect();
        assert_eq!(waits[..4], [0, 100, 200, 400]);
        assert_eq!(waits[11], 12_800);
        pace.stepped(Duration::from_millis(1), 1);
        assert_eq!(pace.died(), Duration::ZERO);
    }
}
