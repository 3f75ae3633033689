//! Jobs that were not over when the daemon last ended, taken up where the journal has them.

use std::time::Instant;

use imgd_proto::v1::{ImageState, JobState, PauseReason};
use tracing::info;

use super::{
    actor::Actor,
    desk::Desk,
    images::{Images, Place, Saved},
    records,
};
use crate::{
    events::Log,
    failure::{Failure, Reason},
    journal::{Outcomes, Record, Recorded},
    queue::JobId,
};

/// Saved states that are kept in memory from the start, for each job; the others are read when their turn comes.
const MAX_IN_MEMORY: usize = 8;

impl Actor {
    /// Takes every job up that goes on, and ends those whose client is gone.
    pub(super) fn recover(&mut self, jobs: Vec<Recorded>, now: Instant) {
        let count = jobs.len();
        for recorded in jobs {
            let Recorded {
                record,
                images,
                saved,
            } = recorded;
            let is_attached = record.attached;
            let id = JobId(self.new_id());
            let mut desk = self.desk_of(record, &images, now);
            for (place, saved) in saved.into_iter().enumerate() {
                let index = saved.index;
                if place < MAX_IN_MEMORY {
                    desk.images.put(index, Place::Waiting);
                    desk.images.save(index, Saved::of(saved));
                } else {
                    desk.images.put(index, Place::Unread);
                }
            }
            self.admit(id, desk, now);
            if is_attached {
                let gone = Failure::new(
                    Reason::Cancelled,
                    "its client is gone: the daemon ended while it waited",
                );
                self.cancel(id, gone, now);
            }
        }
        if count > 0 {
            info!(count, "jobs of the last time were taken up");
        }
    }

    /// The papers of a job that the journal has.
    pub(super) fn desk_of(&self, mut record: Record, outcomes: &Outcomes, now: Instant) -> Desk {
        let is_paused = record.state == JobState::Paused;
        if !is_paused || record.pause_reason == PauseReason::DiskFull {
            record.state = JobState::Queued;
            record.pause_reason = PauseReason::Unspecified;
        }
        let order = records::order(&record);
        let log = Log::new(self.bell.clone(), Some(self.first_cursor(&record)));
        let mut desk = Desk::new(order, log, record, now);
        desk.images = settled(desk.record.image_count, outcomes);
        desk
    }

    /// Where a job's events go on: behind all that were ever told.
    pub(super) fn first_cursor(&self, record: &Record) -> u64 {
        (u64::from(self.life) << 32).max(record.cursor) + 1
    }
}

fn settled(count: u32, outcomes: &Outcomes) -> Images {
    let mut images = Images::new(count);
    for (index, state) in outcomes.iter() {
        if state != ImageState::Unspecified {
            images.put(index, Place::Settled(state));
        }
    }
    images
}
