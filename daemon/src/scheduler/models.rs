//! What the scheduler makes of the engine's answers about models.

use std::time::{Duration, Instant};

use imgd_proto::v1;
use tracing::info;

use super::actor::Actor;
use crate::{
    engine::{Loaded, ModelKey},
    failure::{Failure, is_worker_died, worker_died},
    queue::{Fingerprint, Job, JobId, Known, Resident},
};

impl Actor {
    /// Answers who asked about a model.
    pub(super) fn answer_inquirers(&mut self, key: &ModelKey, answer: &Result<v1::Model, Failure>) {
        self.state.inquiries.retain(|inquiry| inquiry != key);
        let answer = match answer {
            Err(failure) if is_worker_died(failure) => Err(worker_died(&failure.message)),
            answer => answer.clone(),
        };
        for index in (0..self.inquirers.len()).rev() {
            if self.inquirers[index].0 == *key {
                // Who has gone needs no answer.
                drop(self.inquirers.swap_remove(index).1.send(answer.clone()));
            }
        }
    }

    pub(super) fn inspected(
        &mut self,
        key: &ModelKey,
        result: Result<(Fingerprint, v1::Model), Failure>,
        now: Instant,
    ) {
        let answer = match &result {
            Ok((_, model)) => Ok(model.clone()),
            Err(failure) => Err(failure.clone()),
        };
        self.answer_inquirers(key, &answer);
        match result {
            Ok((fingerprint, model)) => {
                let defaults = model.defaults.clone().unwrap_or_default();
                let mut known = Known {
                    fingerprint,
                    weights_bytes: 0,
                    working_bytes_per_pixel: model.working_bytes_per_pixel,
                    width_px: defaults.width_px,
                    height_px: defaults.height_px,
                };
                known.weights_bytes = model.memory_bytes.saturating_sub(known.own_working_bytes());
                self.remember(key.clone(), model);
                self.state.known.insert(key.clone(), known);
                // The files may have changed between a look and this; the later look counts.
                for job in self
                    .state
                    .jobs
                    .iter_mut()
                    .filter(|job| job.model == *key && job.images.is_empty())
                {
                    if job.fingerprint.is_some() {
                        job.fingerprint = Some(fingerprint);
                    }
                }
            }
            Err(failure) => {
                let needs = |job: &&Job| job.model == *key && job.is_running;
                let job = self.state.jobs.iter().find(needs).map(|job| job.id);
                self.engine_failed(job, failure, now);
            }
        }
    }

    pub(super) fn model_loaded(
        &mut self,
        id: JobId,
        result: Result<Loaded, Failure>,
        took: Duration,
        now: Instant,
    ) {
        // A job that was cancelled meanwhile has told which model it wanted all the same.
        let Some(model) = self.loading.take() else {
            return;
        };
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(failure) => return self.engine_failed(Some(id), failure, now),
        };
        info!(%model, took_ms = took.as_millis(), memory_mib = loaded.memory_bytes >> 20, "loaded");
        let fingerprint = self
            .state
            .known
            .get(&model)
            .map_or(Fingerprint(0), |known| known.fingerprint);
        let keep_alive = self
            .state
            .job(id)
            .map_or(self.options.keep_alive, |job| job.keep_alive);
        let resident = Resident {
            key: model.clone(),
            fingerprint,
            memory_bytes: loaded.memory_bytes,
            used: now,
            keep_alive,
            is_unwanted: false,
        };
        self.state.loaded(resident, took);
        self.held_controls.remove(&model);
        self.loaded.insert(model.clone(), loaded);
        self.pace.model_changed();
        self.model_is_resident(&model);
        self.tell_loading(&model, 1.0);
        if let Some(desk) = self.desks.get_mut(&id) {
            desk.loading_took(took);
        }
    }

    pub(super) fn model_unloaded(
        &mut self,
        model: &ModelKey,
        result: Result<(), Failure>,
        now: Instant,
    ) {
        info!(%model, "unloaded");
        self.state.unloaded(model);
        self.loaded.remove(model);
        if let Err(failure) = result {
            self.engine_failed(None, failure, now);
        }
    }
}
