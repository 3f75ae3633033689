//! What waits for a job's owner: everything, pictures included, until it is taken.
//!
//! What is out of date when it has not been taken (a position, a fraction, a step) is replaced, and a job whose pictures
//! are not taken makes no more of them. So the buffer is bounded.

use std::{collections::VecDeque, mem::discriminant, sync::Arc};

use super::{Event, Shared};

/// Events that may wait before newer steps replace older ones of the same picture.
pub(super) const MAX_PENDING: usize = 256;

/// Pictures that may wait before the job makes no more.
const MAX_PENDING_PICTURES: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Pending {
    events: VecDeque<Event>,
    pictures: usize,
    pub(super) has_left: bool,
    is_complete: bool,
}

impl Pending {
    pub(super) fn push(&mut self, event: Event) {
        if self.has_left || self.is_complete {
            return;
        }
        self.is_complete = event.is_last();
        match &event {
            Event::Queued(_) | Event::Loading(_) => {
                let is_like = |older: &Event| discriminant(older) == discriminant(&event);
                if self.events.back().is_some_and(is_like) {
                    self.events.pop_back();
                }
            }
            Event::Step(step) if self.events.len() >= MAX_PENDING => {
                let of_the_same = |older: &Event| matches!(older, Event::Step(older) if older.image_index == step.image_index);
                if let Some(place) = self.events.iter().rposition(of_the_same) {
                    self.events.remove(place);
                }
            }
            Event::Picture { .. } => self.pictures += 1,
            _ => {}
        }
        self.events.push_back(event);
    }

    pub(super) fn is_full(&self) -> bool {
        self.pictures >= MAX_PENDING_PICTURES
    }
}

/// The owner's end. Dropping it tells the scheduler that the owner has left.
#[derive(Debug)]
pub struct Events(pub(super) Arc<Shared>);

impl Events {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let arrived = self.0.arrived.notified();
            tokio::pin!(arrived);
            // From here on nothing is missed.
            arrived.as_mut().enable();
            if let Some(pending) = &mut self.0.lock().owner {
                if let Some(event) = pending.events.pop_front() {
                    if matches!(event, Event::Picture { .. }) {
                        pending.pictures -= 1;
                        self.0.bell.notify_one();
                    }
                    return Some(event);
                }
                if pending.is_complete {
                    return None;
                }
            }
            arrived.await;
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut buffers = self.0.lock();
        if let Some(pending) = &mut buffers.owner {
            pending.has_left = true;
            pending.pictures = 0;
            pending.events = VecDeque::new();
        }
        drop(buffers);
        self.0.bell.notify_one();
    }
}
