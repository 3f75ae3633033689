//! What happens to jobs between their coming and their end, and what their readers are told of it.

use std::time::Instant;

use imgd_proto::v1;
use tracing::info;

use super::{Work, actor::Actor};
use crate::{
    engine::ModelKey,
    events::Event,
    failure::{Failure, Reason},
    queue::{JobId, Tick},
};

impl Actor {
    pub(super) fn complete(&mut self, id: JobId, now: Instant) {
        let Some(job) = self.state.job(id) else {
            return;
        };
        let model = job.model.clone();
        self.state.remove(id, now);
        if let Some(desk) = self.desks.remove(&id) {
            desk.log.push(match desk.order.work {
                Work::Draw(_) => Event::Finished(desk.timings()),
                Work::Load => self.loaded_model(&model, now).map_or_else(
                    || {
                        Event::Failed(Failure::new(
                            Reason::Internal,
                            "the model was unloaded again",
                        ))
                    },
                    Event::Loaded,
                ),
            });
            info!(job = %desk.job_id, model = %model, images = desk.image_count(), took_ms = desk.age(now).as_millis(), "done");
        }
        self.tell_positions();
    }

    /// Tells a job that it failed, and takes it away.
    pub(super) fn fail(&mut self, id: JobId, failure: Failure, now: Instant) {
        if let Some(desk) = self.desks.remove(&id) {
            info!(job = %desk.job_id, reason = %failure.reason, "failed: {failure}");
            desk.log.push(Event::Failed(failure));
        }
        match self.state.job_mut(id) {
            Some(job) if !job.images.is_empty() => job.is_cancelled = true,
            _ => self.state.remove(id, now),
        }
        self.tell_positions();
    }

    /// Takes a job away; its picture in flight is forgotten by the worker first.
    pub(super) fn cancel(&mut self, id: JobId, now: Instant) {
        if let Some(desk) = self.desks.remove(&id) {
            info!(job = %desk.job_id, "cancelled");
        }
        let begins = self
            .operation
            .as_ref()
            .is_some_and(|operation| operation.tick == Tick::Begin(id));
        match self.state.job_mut(id) {
            Some(job) if !job.images.is_empty() || begins => job.is_cancelled = true,
            _ => self.state.remove(id, now),
        }
        self.tell_positions();
    }

    pub(super) fn turn_came(&mut self, id: JobId, now: Instant) {
        if let Some(job) = self.state.job_mut(id) {
            job.is_running = true;
        }
        if let Some(desk) = self.desks.get_mut(&id) {
            desk.turn_came(now);
        }
        self.tell_positions();
    }

    /// Readers may have left.
    pub(super) fn look_at_readers(&mut self, now: Instant) {
        let gone: Vec<_> = self
            .desks
            .iter()
            .filter(|(_, desk)| desk.log.is_abandoned())
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            self.cancel(id, now);
        }
    }

    pub(super) fn tell_positions(&mut self) {
        let waiting: Vec<_> = self.state.waiting().map(|job| job.id).collect();
        for (position, id) in (0..).zip(waiting) {
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

    pub(super) fn tell_loading(&self, model: &ModelKey, fraction: f64) {
        let loading = || v1::Loading {
            model: model.name.clone(),
            fraction: fraction.clamp(0.0, 1.0),
        };
        for desk in self
            .state
            .jobs
            .iter()
            .filter(|job| job.model == *model)
            .filter_map(|job| self.desks.get(&job.id))
        {
            desk.log.push(Event::Loading(loading()));
        }
    }
}
