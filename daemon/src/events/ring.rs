//! The latest events of a job, for watchers: any number of them read by cursor, and none is waited for.
//!
//! The ring is bounded in events and in bytes; a watcher whose next event has left it is told so and looks at the job
//! instead. A job nothing has happened to holds nothing.

use std::{collections::VecDeque, sync::Arc};

use imgd_proto::v1;
use prost::Message as _;

use super::{Buffers, Event, Next, Shared};

/// Events that are kept.
pub(super) const MAX_EVENTS: usize = 256;

/// Bytes of them that are kept; previews and settings make them large.
pub(super) const MAX_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Ring {
    kept: VecDeque<Kept>,
    bytes: usize,
    /// Every event after this cursor is kept, but those that newer ones replaced.
    floor: u64,
    cursor: u64,
    pub(super) watchers: usize,
    end: Option<End>,
}

#[derive(Debug)]
struct Kept {
    cursor: u64,
    bytes: usize,
    event: Event,
}

#[derive(Debug, Clone, Copy)]
enum End {
    OfJob,
    OfDaemon,
}

impl Ring {
    pub(super) fn new(cursor: u64) -> Self {
        Self {
            kept: VecDeque::new(),
            bytes: 0,
            floor: cursor,
            cursor,
            watchers: 0,
            end: None,
        }
    }

    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    pub(super) fn push(&mut self, event: Event) {
        if self.end.is_some() {
            return;
        }
        self.cursor += 1;
        let mut event = event;
        if let Event::Changed(job) = &mut event {
            job.cursor = self.cursor;
            if is_final(job.state()) {
                self.end = Some(End::OfJob);
            }
        }
        if self
            .kept
            .back()
            .is_some_and(|back| event.replaces(&back.event))
        {
            self.drop_newest();
        }
        let bytes = event.bytes();
        self.bytes += bytes;
        self.kept.push_back(Kept {
            cursor: self.cursor,
            bytes,
            event,
        });
        while self.kept.len() > MAX_EVENTS || (self.bytes > MAX_BYTES && self.kept.len() > 1) {
            self.drop_oldest();
        }
    }

    /// The daemon ends, whatever becomes of the job.
    pub(super) fn close(&mut self) {
        self.end.get_or_insert(End::OfDaemon);
    }

    #[cfg(test)]
    pub(super) fn count_and_bytes(&self) -> (usize, usize) {
        (self.kept.len(), self.bytes)
    }

    fn drop_newest(&mut self) {
        if let Some(kept) = self.kept.pop_back() {
            self.bytes -= kept.bytes;
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(kept) = self.kept.pop_front() {
            self.bytes -= kept.bytes;
            self.floor = kept.cursor;
        }
    }

    /// What comes after `cursor`; `None` as long as nothing does.
    fn after(&self, cursor: u64) -> Option<Next> {
        // One that is ahead saw another log: its daemon lost a journal, say.
        if cursor < self.floor || cursor > self.cursor {
            return Some(Next::Missed);
        }
        let place = self.kept.partition_point(|kept| kept.cursor <= cursor);
        match (self.kept.get(place), self.end) {
            (Some(kept), _) => Some(Next::Event(kept.cursor, Box::new(kept.event.clone()))),
            (None, Some(End::OfJob)) => Some(Next::Ended),
            (None, Some(End::OfDaemon)) => Some(Next::Draining),
            (None, None) => None,
        }
    }
}

/// Whether a job in this state has come to its end.
fn is_final(state: v1::JobState) -> bool {
    matches!(
        state,
        v1::JobState::Succeeded | v1::JobState::Failed | v1::JobState::Cancelled
    )
}

impl Event {
    /// Whether a watcher who has not seen `older` does not need it any more.
    fn replaces(&self, older: &Self) -> bool {
        match (self, older) {
            (Self::Loading(_), Self::Loading(_)) => true,
            (Self::Changed(new), Self::Changed(old)) => new.state == old.state,
            _ => false,
        }
    }

    /// Its size on the wire.
    fn bytes(&self) -> usize {
        match self {
            Self::Changed(job) => job.encoded_len(),
            Self::Started(started) => started.encoded_len(),
            Self::Step(step) => step.encoded_len(),
            Self::Image(image) => image.encoded_len(),
            Self::Notice(notice) => notice.encoded_len(),
            _ => 0,
        }
        .max(size_of::<Self>())
    }
}

/// Follows a job.
#[derive(Debug)]
pub struct Watcher {
    pub(super) shared: Arc<Shared>,
    pub(super) cursor: u64,
}

impl Watcher {
    /// What happens next. After [`Next::Missed`] comes what follows [`Watcher::seek`].
    pub async fn next(&mut self) -> Next {
        loop {
            let arrived = self.shared.arrived.notified();
            tokio::pin!(arrived);
            // From here on nothing is missed.
            arrived.as_mut().enable();
            let next = {
                let Buffers { ring, .. } = &*self.shared.lock();
                match ring {
                    Some(ring) => ring.after(self.cursor),
                    None => Some(Next::Ended),
                }
            };
            if let Some(next) = next {
                if let Next::Event(cursor, _) = &next {
                    self.cursor = *cursor;
                }
                return next;
            }
            arrived.await;
        }
    }

    /// Goes on after `cursor`.
    pub fn seek(&mut self, cursor: u64) {
        self.cursor = cursor;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(ring) = &mut self.shared.lock().ring {
            ring.watchers = ring.watchers.saturating_sub(1);
        }
    }
}
