//! Whether background work may run, as the user's rules and the machine say: asked for only while there is such work.

use std::time::{Duration, Instant};

use super::actor::Actor;
use crate::queue::{Background, Class, Job};

impl Actor {
    /// Looks whether background work is allowed now.
    pub(super) fn look_at_background(&mut self) {
        self.courtesy.want(self.has_background());
        let blocked = self.courtesy.blocked().map(|blocked| blocked.why.words());
        if self.state.background.blocked != blocked {
            let from = self.state.background.from;
            self.state
                .allow_background(Background { blocked, from }, Instant::now());
        }
    }

    /// Why background work waits, in words; `None` where it may run, and where there is none.
    pub(super) fn background_blocked(&self) -> Option<&'static str> {
        self.state
            .background
            .blocked
            .filter(|_| self.has_background())
    }

    fn has_background(&self) -> bool {
        let wants =
            |job: &Job| job.class == Class::Background && !job.is_cancelled && !job.is_paused;
        self.state.jobs.iter().any(wants)
    }

    /// The engine worked so long for background work, which rests now to take no more than its share.
    pub(super) fn rest_of_background(&mut self, took: Duration) {
        let rest = self.courtesy.rest_after(took);
        self.state.background.from = Instant::now().checked_add(rest);
    }
}
