//! The events of one job on their way from the scheduler to whoever follows the job.
//!
//! The scheduler never waits for a reader. A job may have one *owner*, whose stream it lives by and who takes its
//! pictures, and any number of *watchers*, who follow by cursor. Each of the two has its own bounded buffer: see
//! `owner` and `ring`.

mod owner;
mod ring;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imgd_proto::v1;
use tokio::sync::Notify;

use self::{owner::Pending, ring::Ring};
use crate::{
    engine::Picture,
    failure::{Failure, draining},
};

pub use self::{owner::Events, ring::Watcher};

/// One event of a job.
#[derive(Debug, Clone)]
pub enum Event {
    /// It waits. For the owner.
    Queued(v1::Queued),
    /// Its state or its place in the queue changed; what was asked for is left out. For watchers.
    Changed(Box<v1::Job>),
    /// Its model is being loaded.
    Loading(v1::Loading),
    /// A picture is begun.
    Started(Box<v1::Started>),
    /// An evaluation is made.
    Step(v1::Step),
    /// A picture's file. For the owner.
    Picture {
        /// Which of the job's, from 0.
        index: u32,
        /// The file.
        picture: Box<Picture>,
    },
    /// A picture came somewhere, and the journal has it. For watchers.
    Image(Box<v1::JobImage>),
    /// Something the user should know.
    Notice(v1::Notice),
    /// All pictures are made and kept; the owner's last event.
    Finished(v1::Finished),
    /// The model is loaded; the last event of a job that only loads.
    Loaded(v1::LoadedModel),
    /// It failed; the owner's last event.
    Failed(Failure),
}

impl Event {
    /// Whether the owner has no more events.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Finished(_) | Self::Loaded(_) | Self::Failed(_))
    }

    fn is_for_owner(&self) -> bool {
        !matches!(self, Self::Changed(_) | Self::Image(_))
    }

    fn is_for_watchers(&self) -> bool {
        matches!(
            self,
            Self::Changed(_)
                | Self::Loading(_)
                | Self::Started(_)
                | Self::Step(_)
                | Self::Image(_)
                | Self::Notice(_)
        )
    }
}

/// What a following stream gets next.
#[derive(Debug)]
pub enum Next {
    /// An event, with its cursor.
    Event(u64, Box<Event>),
    /// Events that the watcher has not seen are no longer there: how the job is now stands for them.
    Missed,
    /// The job has no more events.
    Ended,
    /// The daemon is ending; the job may not be.
    Draining,
}

#[derive(Debug)]
struct Shared {
    buffers: Mutex<Buffers>,
    arrived: Notify,
    /// Rings when the scheduler should look at its jobs again.
    bell: Arc<Notify>,
}

#[derive(Debug)]
struct Buffers {
    owner: Option<Pending>,
    ring: Option<Ring>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The scheduler's end.
#[derive(Debug)]
pub struct Log(Arc<Shared>);

impl Log {
    /// A log whose cursors begin at `cursor`; `None` for a job that nobody may watch. `bell` rings when the owner
    /// leaves or makes room.
    pub fn new(bell: Arc<Notify>, cursor: Option<u64>) -> Self {
        Self(Arc::new(Shared {
            buffers: Mutex::new(Buffers {
                owner: None,
                ring: cursor.map(Ring::new),
            }),
            arrived: Notify::new(),
            bell,
        }))
    }

    /// The owner's end. A job that was owned before has a new owner from here on.
    pub fn own(&self) -> Events {
        self.0.lock().owner = Some(Pending::default());
        Events(Arc::clone(&self.0))
    }

    /// Follows the job from the event after `cursor` on.
    pub fn watch(&self, cursor: u64) -> Watcher {
        if let Some(ring) = &mut self.0.lock().ring {
            ring.watchers += 1;
        }
        Watcher {
            shared: Arc::clone(&self.0),
            cursor,
        }
    }

    /// Adds an event; never waits.
    pub fn push(&self, event: Event) {
        let mut guard = self.0.lock();
        let Buffers { owner, ring } = &mut *guard;
        match (
            owner.as_mut().filter(|_| event.is_for_owner()),
            ring.as_mut().filter(|_| event.is_for_watchers()),
        ) {
            (Some(owner), Some(ring)) => {
                owner.push(event.clone());
                ring.push(event);
            }
            (Some(owner), None) => owner.push(event),
            (None, Some(ring)) => ring.push(event),
            (None, None) => return,
        }
        drop(guard);
        self.0.arrived.notify_waiters();
    }

    /// Cursor of the latest event; 0 for a job that nobody may watch.
    pub fn cursor(&self) -> u64 {
        self.0.lock().ring.as_ref().map_or(0, Ring::cursor)
    }

    /// Whether anybody follows, so that telling where it stands in the queue is of use.
    pub fn is_followed(&self) -> bool {
        let buffers = self.0.lock();
        buffers.owner.as_ref().is_some_and(|owner| !owner.has_left)
            || buffers.ring.as_ref().is_some_and(|ring| ring.watchers > 0)
    }

    /// Whether its owner has left.
    pub fn is_abandoned(&self) -> bool {
        let buffers = self.0.lock();
        buffers.owner.as_ref().is_some_and(|owner| owner.has_left)
    }

    /// Whether as many pictures wait for the owner as may.
    pub fn is_full(&self) -> bool {
        let buffers = self.0.lock();
        buffers.owner.as_ref().is_some_and(Pending::is_full)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let mut guard = self.0.lock();
        let Buffers { owner, ring } = &mut *guard;
        if let Some(owner) = owner {
            owner.push(Event::Failed(draining()));
        }
        if let Some(ring) = ring {
            ring.close();
        }
        drop(guard);
        self.0.arrived.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
