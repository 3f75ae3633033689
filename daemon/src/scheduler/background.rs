//! Whether background work may run, as the user's rules and the machine say: asked for only while there is such work.

use std::time::{Duration, Instant};

use super::actor::Actor;
use crate::queue::{Background, Class};

impl Actor {
    /// Looks whether background work is allowed now.
    pub(super) fn look_at_background(&mut self) {
        let wants = |job: &crate::queue::Job| {
            job.class == Class::Background && !job.is_cancelled && !job.is_paused
        };
        self.courtesy.want(self.state.jobs.iter().any(wants));
        let blocked = self.courtesy.blocked().map(|blocked| blocked.why.words());
        if self.state.background.blocked != blocked {
            let from = self.state.background.from;
            self.state
                .allow_background(Background { blocked, from }, Instant::now());
        }
    }

    /// The engine worked so long for background work, which rests now to take no more than its share.
    pub(super) fn rest_of_background(&mut self, took: Duration) {
        let rest = self.courtesy.rest_after(took);
        self.state.background.from = Instant::now().checked_add(rest);
    }
}
