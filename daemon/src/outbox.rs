//! The events of one job on their way from the scheduler to the job's reader.
//!
//! The scheduler never waits for a reader: what is out of date when it has not been taken (a position, a fraction, a
//! step) is replaced, and a job whose pictures are not taken makes no more of them. So the buffer is bounded.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use imgd_proto::v1;
use tokio::sync::Notify;

use crate::{
    engine::Picture,
    failure::{Failure, draining},
};

/// Step events that may wait before newer ones replace the last.
const MAX_PENDING: usize = 256;

/// Pictures that may wait before the job makes no more.
const MAX_PENDING_PICTURES: usize = 2;

/// One event of a job.
#[derive(Debug, Clone)]
pub enum Event {
    /// It waits.
    Queued(v1::Queued),
    /// Its model is being loaded.
    Loading(v1::Loading),
    /// A picture is begun.
    Started(Box<v1::Started>),
    /// An evaluation is made.
    Step(v1::Step),
    /// A picture is finished.
    Picture {
        /// Which of the job's, from 0.
        index: u32,
        /// The file.
        picture: Box<Picture>,
    },
    /// Something the user should know.
    Notice(v1::Notice),
    /// All pictures are made; the last event.
    Finished(v1::Finished),
    /// The model is loaded; the last event of a job that only loads.
    Loaded(v1::LoadedModel),
    /// It failed; the last event.
    Failed(Failure),
}

impl Event {
    /// Whether the job has no more events.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Finished(_) | Self::Loaded(_) | Self::Failed(_))
    }

    /// Whether a reader who has not seen `older` does not need it any more.
    fn replaces(&self, older: &Self, pending: usize) -> bool {
        match (self, older) {
            (Self::Queued(_), Self::Queued(_)) | (Self::Loading(_), Self::Loading(_)) => true,
            (Self::Step(new), Self::Step(old)) => {
                pending >= MAX_PENDING && new.image_index == old.image_index
            }
            _ => false,
        }
    }
}

#[derive(Debug)]
struct Shared {
    buffer: Mutex<Buffer>,
    arrived: Notify,
    /// Rings when the scheduler should look at its jobs again.
    bell: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Buffer {
    events: VecDeque<Event>,
    is_abandoned: bool,
    is_complete: bool,
}

/// The scheduler's end.
#[derive(Debug)]
pub struct Outbox(Arc<Shared>);

/// The reader's end. Dropping it cancels the job.
#[derive(Debug)]
pub struct Events(Arc<Shared>);

/// Makes both ends. `bell` rings when the reader leaves or makes room.
pub fn outbox(bell: Arc<Notify>) -> (Outbox, Events) {
    let shared = Arc::new(Shared {
        buffer: Mutex::default(),
        arrived: Notify::new(),
        bell,
    });
    (Outbox(Arc::clone(&shared)), Events(shared))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    /// Adds an event; never waits.
    pub fn push(&self, event: Event) {
        let mut buffer = self.0.lock();
        if buffer.is_abandoned || buffer.is_complete {
            return;
        }
        buffer.is_complete = event.is_last();
        let pending = buffer.events.len();
        if buffer
            .events
            .back()
            .is_some_and(|older| event.replaces(older, pending))
        {
            buffer.events.pop_back();
        }
        buffer.events.push_back(event);
        drop(buffer);
        self.0.arrived.notify_one();
    }

    /// Whether the reader has left.
    pub fn is_abandoned(&self) -> bool {
        self.0.lock().is_abandoned
    }

    /// Whether as many pictures wait as may.
    pub fn is_full(&self) -> bool {
        let buffer = self.0.lock();
        let pictures = buffer
            .events
            .iter()
            .filter(|event| matches!(event, Event::Picture { .. }));
        pictures.count() >= MAX_PENDING_PICTURES
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.push(Event::Failed(draining()));
    }
}

impl Events {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            {
                let mut buffer = self.0.lock();
                if let Some(event) = buffer.events.pop_front() {
                    drop(buffer);
                    if matches!(event, Event::Picture { .. }) {
                        self.0.bell.notify_one();
                    }
                    return Some(event);
                }
                if buffer.is_complete {
                    return None;
                }
            }
            self.0.arrived.notified().await;
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut buffer = self.0.lock();
        buffer.is_abandoned = true;
        buffer.events.clear();
        drop(buffer);
        self.0.bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use imgd_proto::v1;
    use tokio::sync::Notify;

    use super::{Event, MAX_PENDING, outbox};

    fn step(index: u32) -> Event {
        Event::Step(v1::Step {
            index,
            ..v1::Step::default()
        })
    }

    #[tokio::test]
    async fn events_of_a_reader_who_does_not_read_stay_bounded_and_the_newest_survives() {
        let (outbox, mut events) = outbox(Arc::new(Notify::new()));
        for index in 1..=10_000 {
            outbox.push(step(index));
        }
        outbox.push(Event::Finished(v1::Finished::default()));
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            if let Event::Step(step) = event {
                seen.push(step.index);
            }
        }
        assert_eq!(seen.len(), MAX_PENDING);
        assert_eq!(seen.last(), Some(&10_000));
    }

    #[tokio::test]
    async fn nothing_follows_the_last_event() {
        let (outbox, mut events) = outbox(Arc::new(Notify::new()));
        outbox.push(Event::Finished(v1::Finished::default()));
        outbox.push(step(1));
        assert!(matches!(events.next().await, Some(Event::Finished(_))));
        assert!(events.next().await.is_none());
    }

    #[tokio::test]
    async fn a_reader_who_leaves_is_noticed() {
        let bell = Arc::new(Notify::new());
        let (outbox, events) = outbox(Arc::clone(&bell));
        assert!(!outbox.is_abandoned());
        drop(events);
        bell.notified().await;
        assert!(outbox.is_abandoned());
    }

    #[tokio::test]
    async fn a_scheduler_that_ends_ends_its_jobs() {
        let (outbox, mut events) = outbox(Arc::new(Notify::new()));
        drop(outbox);
        assert!(matches!(events.next().await, Some(Event::Failed(_))));
    }
}
