//! Whether a lower class has waited too long, and the picture that has its turn then.
//!
//! A class that was given no evaluation and no decoding for its bound gets one picture's turn and waits again. The turn alternates with
//! the work of higher classes, one call of the engine each, so that an arrival waits for one call more at most.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::Class;
use crate::engine::GenerationId;

/// A batch that stands still behind people for longer looks broken; one picture a minute costs them little.
const BATCH_BOUND: Duration = Duration::from_secs(60);

/// Background work is there to fill gaps; where there are none, some of it is done all the same.
const BACKGROUND_BOUND: Duration = Duration::from_secs(600);

/// When lower classes were served last, and whose turn it is.
#[derive(Debug, Clone, Default)]
pub struct Starving {
    served: BTreeMap<Class, Instant>,
    turn: Option<GenerationId>,
    /// For which the engine worked last.
    last: Option<GenerationId>,
}

impl Starving {
    /// How long a class waits behind higher ones; `None` is for ever.
    pub fn bound(class: Class) -> Option<Duration> {
        match class {
            Class::Interactive => None,
            Class::Batch => Some(BATCH_BOUND),
            Class::Background => Some(BACKGROUND_BOUND),
        }
    }

    /// When a class was last given an evaluation, or a piece of decoding.
    pub fn last_served(&self, class: Class) -> Option<Instant> {
        self.served.get(&class).copied()
    }

    /// The picture that has a lower class's turn.
    pub fn turn(&self) -> Option<GenerationId> {
        self.turn
    }

    /// Whether the engine's last evaluation or decoding was for the picture that has the turn.
    pub fn had_turn_last(&self) -> bool {
        self.turn.is_some() && self.turn == self.last
    }

    /// A class was given an evaluation, or a piece of decoding.
    pub(super) fn served(&mut self, class: Class, now: Instant) {
        self.served.insert(class, now);
    }

    /// The engine worked for this generation; `is_turn` where that is its class's turn.
    pub(super) fn led(&mut self, generation: GenerationId, is_turn: bool) {
        self.last = Some(generation);
        if is_turn {
            self.turn = Some(generation);
        }
    }

    /// A generation is no more.
    pub(super) fn ended(&mut self, generation: GenerationId) {
        if self.turn == Some(generation) {
            self.turn = None;
        }
    }
}
