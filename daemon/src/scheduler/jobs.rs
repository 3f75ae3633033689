//! What happens to jobs between their coming and their end, and what their readers are told of it.

use std::time::Instant;

use imgd_proto::v1::{self, ImageState, JobState, PauseReason};
use tracing::info;

use super::{Work, actor::Actor, desk::Desk, images::Place};
use crate::{
    engine::ModelKey,
    events::Event,
    failure::{Failure, Reason, draining},
    queue::{Class, ClientId, Job, JobId, Tick},
};

impl Actor {
    /// The papers of a job that is not over, or whose end is being written down.
    pub(super) fn desk(&self, id: JobId) -> Option<&Desk> {
        self.desks.get(&id).or_else(|| self.closing.get(&id))
    }

    /// See [`Actor::desk`].
    pub(super) fn desk_mut(&mut self, id: JobId) -> Option<&mut Desk> {
        match self.desks.get_mut(&id) {
            Some(desk) => Some(desk),
            None => self.closing.get_mut(&id),
        }
    }

    /// Takes a job into the queue.
    pub(super) fn admit(&mut self, id: JobId, desk: Desk, now: Instant) {
        let client = self.client_id(&desk.order.client);
        self.state.add(Job {
            only_loads: matches!(desk.order.work, Work::Load),
            width_px: desk.size_px().0,
            height_px: desk.size_px().1,
            hires_scale: desk.hires_scale(),
            controls_bytes: self.controls_bytes(&desk.order),
            class: Class::of(desk.order.priority),
            client,
            images_left: desk.images.number(Place::Waiting),
            is_paused: desk.record.state == JobState::Paused,
            keep_alive: desk.order.keep_alive.unwrap_or(self.options.keep_alive),
            ..Job::new(id, desk.order.model.clone(), now)
        });
        if desk.is_attached() {
            self.followed.insert(id);
        }
        if desk.is_journaled() {
            self.names.insert(desk.record.id.clone(), id);
        }
        let is_attached = desk.is_attached();
        self.desks.insert(id, desk);
        self.refresh(id);
        if self.is_draining && is_attached {
            self.fail(id, draining(), now);
        } else if self.is_draining {
            self.stop_for_now(id);
        } else {
            self.read_ahead(id);
            self.tell_positions();
        }
    }

    /// Tells the queue what it has to know of the job's papers.
    pub(super) fn refresh(&mut self, id: JobId) {
        if let (Some(desk), Some(job)) = (self.desks.get(&id), self.state.job_mut(id)) {
            job.is_blocked = desk.is_blocked();
            job.is_storing = desk.is_storing();
            job.hold_after = desk.hold_after();
        }
    }

    /// The job waits for something else than its turn.
    pub(super) fn stop_for_now(&mut self, id: JobId) {
        if let Some(job) = self.state.job_mut(id) {
            job.is_paused = true;
            job.is_running = false;
        }
        self.tell_positions();
    }

    /// The job waits for its turn again; its model's files may have changed meanwhile.
    pub(super) fn go_on(&mut self, id: JobId) {
        if let Some(job) = self.state.job_mut(id) {
            job.is_paused = false;
            job.is_running = false;
            job.fingerprint = None;
        }
        self.tell_positions();
    }

    /// Nothing is left to do for a job.
    pub(super) fn complete(&mut self, id: JobId, now: Instant) {
        let Some(desk) = self.desks.get_mut(&id) else {
            self.state.remove(id, now);
            return;
        };
        if let Work::Load = desk.order.work {
            return self.model_is_there(id, now);
        }
        let settled = |state| desk.images.settled(state);
        let held = settled(ImageState::Held);
        let failed = settled(ImageState::Failed);
        let over = settled(ImageState::Done) + failed + settled(ImageState::Dropped);
        let waiting = desk.images.number(Place::Waiting);
        if over + held < desk.images.count() && waiting > 0 {
            // The queue lost count.
            if let Some(job) = self.state.job_mut(id) {
                job.images_left = waiting;
            }
        } else if over + held < desk.images.count() {
            let lost = Failure::new(Reason::Internal, "some of the job's pictures were lost");
            self.fail(id, lost, now);
        } else if held > 0 {
            desk.enter(JobState::Paused, PauseReason::Held);
            self.stop_for_now(id);
            self.write(id, now);
        } else {
            let state = if failed > 0 {
                JobState::Failed
            } else {
                JobState::Succeeded
            };
            self.end_job(id, state, None, now);
        }
    }

    fn model_is_there(&mut self, id: JobId, now: Instant) {
        let Some(model) = self.state.job(id).map(|job| job.model.clone()) else {
            return;
        };
        self.state.remove(id, now);
        self.followed.remove(&id);
        if let Some(desk) = self.desks.remove(&id) {
            desk.log.push(self.loaded_model(&model, now).map_or_else(
                || {
                    let gone = Failure::new(Reason::Internal, "the model was unloaded again");
                    Event::Failed(gone)
                },
                Event::Loaded,
            ));
        }
        self.tell_positions();
    }

    /// Tells a job that it failed, and takes it away.
    pub(super) fn fail(&mut self, id: JobId, failure: Failure, now: Instant) {
        self.end_job(id, JobState::Failed, Some(failure), now);
    }

    /// Takes a job away; its pictures in flight are forgotten by the worker first.
    pub(super) fn cancel(&mut self, id: JobId, why: Failure, now: Instant) {
        self.end_job(id, JobState::Cancelled, Some(why), now);
    }

    /// A job comes to its end, which is written down before all but its owner hear of it.
    fn end_job(&mut self, id: JobId, state: JobState, why: Option<Failure>, now: Instant) {
        let Some(desk) = self.desks.get_mut(&id) else {
            return;
        };
        desk.end(state, why);
        if let Some(failure) = desk
            .failure
            .clone()
            .filter(|_| state != JobState::Succeeded)
        {
            desk.log.push(Event::Failed(failure));
        }
        self.ended(id, state, now);
        self.write(id, now);
    }

    /// A job is at its end; only papers of it are left.
    pub(super) fn ended(&mut self, id: JobId, state: JobState, now: Instant) {
        if let Some(mut desk) = self.desks.remove(&id) {
            desk.record.state = state;
            desk.record.pause_reason = PauseReason::Unspecified;
            self.closing.insert(id, desk);
        }
        self.take_from_queue(id, now);
        self.tell_positions();
    }

    fn take_from_queue(&mut self, id: JobId, now: Instant) {
        let begins = self
            .operation
            .as_ref()
            .is_some_and(|operation| operation.tick == Tick::Begin(id));
        match self.state.job_mut(id) {
            Some(job) if !job.images.is_empty() || begins => job.is_cancelled = true,
            _ => self.state.remove(id, now),
        }
    }

    /// A job's end is written down: everybody may hear of it.
    pub(super) fn conclude(&mut self, id: JobId, now: Instant) {
        let Some(desk) = self.closing.remove(&id) else {
            return;
        };
        self.names.remove(&desk.record.id);
        self.followed.remove(&id);
        self.stuck.remove(&id);
        let job = &desk.record.id;
        let took_ms = desk.age(now).as_millis();
        match (desk.record.state, &desk.failure) {
            (JobState::Succeeded, _) => {
                info!(%job, model = %desk.order.model, images = desk.record.image_count, took_ms, "done");
            }
            (JobState::Failed, Some(failure)) => {
                info!(%job, reason = %failure.reason, took_ms, "failed: {failure}");
            }
            _ => info!(%job, took_ms, "cancelled"),
        }
        desk.log.push(Event::Changed(Box::new(desk.outline(0))));
        desk.log.push(match (desk.record.state, desk.failure) {
            (JobState::Succeeded, _) => {
                Event::Finished(desk.times.to_proto(desk.images.settled(ImageState::Done)))
            }
            (_, Some(failure)) => Event::Failed(failure),
            (_, None) => Event::Failed(Failure::new(Reason::Cancelled, "it was cancelled")),
        });
    }

    pub(super) fn turn_came(&mut self, id: JobId, now: Instant) {
        if let Some(job) = self.state.job_mut(id) {
            job.is_running = true;
        }
        if let Some(desk) = self.desks.get_mut(&id) {
            desk.turn_came(now);
        }
        self.write(id, now);
        self.tell_positions();
    }

    /// Owners may have left, or taken pictures.
    pub(super) fn look_at_readers(&mut self, now: Instant) {
        let followed: Vec<_> = self.followed.iter().copied().collect();
        for id in followed {
            match self.desks.get(&id) {
                Some(desk) if desk.is_attached() && desk.log.is_abandoned() => {
                    let gone = Failure::new(Reason::Cancelled, "its client is gone");
                    self.cancel(id, gone, now);
                }
                _ => self.refresh(id),
            }
        }
    }

    /// Places in the queue: the more urgent first, and the older of equals.
    pub(super) fn positions(&self) -> impl Iterator<Item = (u32, JobId)> {
        let waiting = self.state.jobs.iter().filter(|job| is_waiting(job));
        let mut waiting: Vec<_> = waiting.map(|job| (job.class, job.id)).collect();
        // Stable: jobs are in order of arrival.
        waiting.sort_by_key(|(class, _)| *class);
        (0..).zip(waiting.into_iter().map(|(_, id)| id))
    }

    /// The job's place in the queue; 0 for one that does not wait for its turn.
    pub(super) fn position(&self, id: JobId) -> u32 {
        let Some(job) = self.state.job(id).filter(|job| is_waiting(job)) else {
            return 0;
        };
        let is_before =
            |other: &&Job| is_waiting(other) && (other.class, other.id) < (job.class, job.id);
        let before = self.state.jobs.iter().filter(is_before).count();
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    pub(super) fn tell_positions(&mut self) {
        if self.followed.is_empty() {
            return;
        }
        let Self { desks, .. } = self;
        self.followed.retain(|id| {
            desks
                .get(id)
                .is_some_and(|desk| desk.is_attached() || desk.log.is_followed())
        });
        let places: Vec<_> = self
            .positions()
            .filter(|(_, id)| self.followed.contains(id))
            .collect();
        for (position, id) in places {
            if let Some(desk) = self.desks.get_mut(&id) {
                desk.tell_position(position);
            }
        }
    }

    pub(super) fn progress(&mut self, fraction: f64, now: Instant) {
        let Some(operation) = &mut self.operation else {
            return;
        };
        operation.is_alive(now);
        if let Some(model) = &self.loading {
            self.tell_loading(model, fraction);
        }
    }

    /// Tells those who wait for a model how much of it is read. Many may; most of them nobody follows.
    pub(super) fn tell_loading(&self, model: &ModelKey, fraction: f64) {
        let loading = || v1::Loading {
            model: model.name.clone(),
            fraction: fraction.clamp(0.0, 1.0),
        };
        for desk in self.followed.iter().filter_map(|id| self.desks.get(id)) {
            if desk.order.model == *model && desk.record.state != JobState::Paused {
                desk.log.push(Event::Loading(loading()));
            }
        }
    }

    /// The number that stands for a client.
    fn client_id(&mut self, client: &str) -> ClientId {
        if let Some(id) = self.clients.get(client) {
            return *id;
        }
        self.next_client += 1;
        let id = ClientId(self.next_client);
        let Self { clients, desks, .. } = self;
        if clients.len() >= MAX_CLIENTS {
            let wanted: std::collections::BTreeSet<_> = desks
                .values()
                .map(|desk| desk.order.client.as_str())
                .collect();
            clients.retain(|name, _| wanted.contains(name.as_str()));
        }
        clients.insert(client.to_owned(), id);
        id
    }
}

/// Whether it waits for its turn and for nothing else.
pub(super) fn is_waiting(job: &Job) -> bool {
    !job.is_running && !job.is_cancelled && !job.is_paused
}

/// Clients that are remembered by name, besides those that have jobs.
const MAX_CLIENTS: usize = 4096;
