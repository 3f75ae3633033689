//! Whether anything needs the daemon: what the service manager can start again at the next connection may end.

use std::time::{Duration, Instant};

use imgd_proto::v1::{JobState, PauseReason};

use super::{actor::Actor, desk::Desk};

impl Actor {
    /// Keeps in mind since when nothing needs the daemon.
    pub(super) fn look_whether_used(&mut self) {
        self.unused_since = if self.is_unused() {
            self.unused_since.or_else(|| Some(Instant::now()))
        } else {
            None
        };
    }

    /// Begins to end where nothing needed the daemon for `least`; else says how much longer that takes at the least.
    pub(super) fn end_if_unused(&mut self, least: Duration, now: Instant) -> Option<Duration> {
        // It may be older than this command.
        self.look_whether_used();
        let Some(since) = self.unused_since else {
            return Some(least);
        };
        let left = least.saturating_sub(now - since);
        if !left.is_zero() {
            return Some(left);
        }
        self.is_draining = true;
        None
    }

    /// Whether nothing is to be done or written, and no model is in memory.
    fn is_unused(&self) -> bool {
        self.operation.is_none()
            && self.state.models.is_empty()
            && self.arriving.is_empty()
            && self.closing.is_empty()
            && self.reports.is_empty()
            && self.desks.values().all(waits_for_a_person)
    }
}

/// Whether a job goes on only once somebody says so, who connects for it: the journal has it until then. One that waits
/// for room on the disk, for its hours or for the mains goes on by itself and needs the daemon.
fn waits_for_a_person(desk: &Desk) -> bool {
    let is_asked_for = matches!(
        desk.record.pause_reason,
        PauseReason::Asked | PauseReason::Held
    );
    desk.is_journaled()
        && desk.record.state == JobState::Paused
        && is_asked_for
        && desk.papers.is_empty()
}
