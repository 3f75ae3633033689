//! When the state of a picture in flight is saved: so seldom that it costs a hundredth of the time at most, and not
//! more often than the interval that is set. An interval of nothing means after every evaluation, whatever it costs.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tracing::{debug, warn};

use super::{
    actor::Actor,
    hooks::{Kept, Which},
    operation::{Purpose, State},
};
use crate::{
    engine::{GenerationId, Saved},
    failure::Failure,
};

/// A save may take this part of the time between two.
const COST_PART: u32 = 100;

/// When each picture in flight was saved last, and what that takes.
#[derive(Debug, Default)]
pub(super) struct Saving {
    since: BTreeMap<GenerationId, Instant>,
    /// What the last save took, of any picture.
    cost: Duration,
}

impl Saving {
    /// Begins to count: nothing of it is unsaved.
    pub(super) fn begun(&mut self, generation: GenerationId, now: Instant) {
        self.since.insert(generation, now);
    }

    /// Whether the state is to be saved, now that another evaluation was made.
    pub(super) fn is_due(
        &self,
        generation: GenerationId,
        interval: Duration,
        now: Instant,
    ) -> bool {
        let least = if interval.is_zero() {
            Duration::ZERO
        } else {
            interval.max(self.cost.saturating_mul(COST_PART))
        };
        self.since
            .get(&generation)
            .is_some_and(|since| *since + least <= now)
    }

    /// It was saved.
    fn saved(&mut self, generation: GenerationId, cost: Duration, now: Instant) {
        self.cost = cost;
        self.since.insert(generation, now);
    }

    /// It is in flight no more.
    pub(super) fn ended(&mut self, generation: GenerationId) {
        self.since.remove(&generation);
    }

    /// Nothing is in flight any more.
    pub(super) fn clear(&mut self) {
        self.since.clear();
    }
}

impl Actor {
    /// A state was saved, or could not be. A picture that goes on goes on in both cases.
    pub(super) fn saved(
        &mut self,
        generation: GenerationId,
        purpose: Purpose,
        state: State,
        now: Instant,
    ) {
        self.state.save_due(generation, false);
        let Some(which) = self.which(generation) else {
            return;
        };
        let State { saved, preview } = state;
        let kept = match saved {
            Ok(saved) => Ok(self.kept(which, saved, preview, now)),
            Err(failure) => {
                // The next try comes when the next save is due.
                self.saving.begun(generation, now);
                Err(failure)
            }
        };
        match (purpose, kept) {
            (Purpose::GoOn, Ok(kept)) => self.image_saved(which, kept),
            (Purpose::GoOn, Err(failure)) => {
                warn!("a picture's state was not saved: {failure}");
            }
            (Purpose::Park, kept) => self.parked(which, kept),
            (Purpose::Hold, Ok(kept)) => {
                self.generation_ended(which);
                self.image_held(which, kept);
            }
            (Purpose::Hold, Err(failure)) => {
                self.generation_ended(which);
                self.image_failed(which, failure, now);
            }
        }
        self.remove_if_cancelled(which.job, now);
    }

    fn parked(&mut self, which: Which, kept: Result<Kept, Failure>) {
        match kept {
            Ok(kept) => self.image_saved(which, kept),
            Err(failure) => warn!("a picture goes back to its last saved state: {failure}"),
        }
        self.saving.ended(which.generation);
        if let Some(returned) = self.state.returned(which.generation) {
            debug!(
                image = returned.index,
                done = returned.evaluations_done,
                "parked"
            );
            self.image_returned(which);
        }
    }

    fn kept(
        &mut self,
        which: Which,
        saved: Saved,
        preview: Option<imgd_proto::v1::Preview>,
        now: Instant,
    ) -> Kept {
        self.saving.saved(which.generation, saved.took, now);
        let image = self.state.image(which.generation);
        Kept {
            bytes: saved.bytes,
            evaluations_done: image.map_or(0, |image| image.evaluations_done),
            evaluation_count: image.map_or(0, |image| image.evaluation_count),
            preview,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Saving;
    use crate::engine::GenerationId;

    #[test]
    fn a_save_is_due_after_the_interval_or_a_hundred_times_its_cost() {
        let (now, one) = (Instant::now(), GenerationId(1));
        let after = |millis| now + Duration::from_millis(millis);
        let second = Duration::from_secs(1);
        let mut saving = Saving::default();
        saving.begun(one, now);
        assert!(!saving.is_due(one, second, after(999)));
        assert!(saving.is_due(one, second, after(1000)));
        saving.saved(one, Duration::from_millis(30), now);
        assert!(!saving.is_due(one, second, after(2999)));
        assert!(saving.is_due(one, second, after(3000)));
        assert!(!saving.is_due(GenerationId(2), second, after(9000)));
    }

    #[test]
    fn an_interval_of_nothing_saves_after_every_evaluation() {
        let (now, one) = (Instant::now(), GenerationId(1));
        let mut saving = Saving::default();
        saving.saved(one, Duration::from_secs(1), now);
        assert!(saving.is_due(one, Duration::ZERO, now));
    }
}
