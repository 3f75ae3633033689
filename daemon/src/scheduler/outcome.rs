//! What the scheduler makes of the engine's answers, and of its end.

use std::time::{Duration, Instant};

use imgd_proto::v1;
use tracing::{info, warn};

use super::{
    actor::Actor,
    desk::Desk,
    hooks::Which,
    operation::{Evaluation, Outcome},
};
use crate::{
    engine::{Begun, GenerationId, Loaded, ModelKey},
    failure::{Failure, Reason, is_worker_died, worker_died},
    queue::{Beginning, Fingerprint, Group, JobId, Known, Progress, Resident, Tick, WorkerState},
    service_manager,
};

impl Actor {
    /// An answer came; it `took` so long.
    pub(super) fn outcome(&mut self, outcome: Outcome, took: Duration, now: Instant) {
        self.state.worker_used(now);
        match outcome {
            Outcome::WorkerStarted(Ok(engine)) => {
                info!(pid = engine.pid(), "worker started");
                self.engine = Some(engine);
                self.state.worker_started(now);
            }
            Outcome::WorkerStarted(Err(failure)) => self.worker_did_not_start(&failure, now),
            Outcome::WorkerEnded => {
                info!("worker ended: no model is needed");
                self.engine = None;
                self.loaded.clear();
                self.worker_left(None);
            }
            Outcome::Forgot(generation, result) => self.forgot(generation, result, now),
            Outcome::Inspected(model, result) => self.inspected(&model, result, now),
            Outcome::Looked(id, fingerprint) => {
                if let Some(job) = self.state.job_mut(id) {
                    job.fingerprint = Some(fingerprint);
                }
            }
            Outcome::Unloaded(model, result) => {
                info!(%model, "unloaded");
                self.state.unloaded(&model);
                self.loaded.remove(&model);
                if let Err(failure) = result {
                    self.engine_failed(None, failure, now);
                }
            }
            Outcome::Loaded(id, result) => self.model_loaded(id, result, took, now),
            Outcome::Begun(which, Ok(begun)) => {
                self.state.begun(which.job, beginning(which, &begun), now);
                self.image_begun(which, begun, now);
            }
            Outcome::Begun(which, Err(failure)) if is_worker_died(&failure) => {
                self.image_returned(which);
                self.worker_lost_at_begin(&failure.message, which.job, now);
            }
            Outcome::Begun(which, Err(failure)) => {
                self.engine_failed(Some(which.job), failure, now);
            }
            Outcome::Stepped(generation, result) => self.stepped(generation, result, now),
            Outcome::Finished(generation, Ok(picture)) => {
                self.pace.finished(picture.took);
                let which = self.which(generation);
                let job = self.state.ended(generation);
                if let Some(which) = which {
                    self.image_finished(which, picture);
                }
                self.remove_if_cancelled(job, now);
            }
            Outcome::Finished(generation, Err(failure)) => {
                let job = self.state.job_of(generation).map(|job| job.id);
                self.engine_failed(job, failure, now);
            }
        }
    }

    fn forgot(&mut self, generation: GenerationId, result: Result<(), Failure>, now: Instant) {
        let job = self.state.ended(generation);
        self.remove_if_cancelled(job, now);
        if let Err(failure) = result {
            self.engine_failed(None, failure, now);
        }
    }

    fn remove_if_cancelled(&mut self, job: Option<JobId>, now: Instant) {
        if let Some(job) = job
            .and_then(|id| self.state.job(id))
            .filter(|job| job.is_cancelled && job.images.is_empty())
        {
            self.state.remove(job.id, now);
        }
    }

    fn inspected(
        &mut self,
        key: &ModelKey,
        result: Result<(Fingerprint, v1::Model), Failure>,
        now: Instant,
    ) {
        self.state.inquiries.retain(|inquiry| inquiry != key);
        let answer = match &result {
            Ok((_, model)) => Ok(model.clone()),
            Err(failure) if is_worker_died(failure) => Err(worker_died(&failure.message)),
            Err(failure) => Err(failure.clone()),
        };
        for index in (0..self.inquirers.len()).rev() {
            if self.inquirers[index].0 == *key {
                // Who has gone needs no answer.
                drop(self.inquirers.swap_remove(index).1.send(answer.clone()));
            }
        }
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
                let needs = |job: &&crate::queue::Job| job.model == *key && job.is_running;
                let job = self.state.jobs.iter().find(needs).map(|job| job.id);
                self.engine_failed(job, failure, now);
            }
        }
    }

    fn model_loaded(
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
        self.loaded.insert(model.clone(), loaded);
        self.pace.model_changed();
        service_manager::status("ready");
        self.tell_loading(&model, 1.0);
        if let Some(desk) = self.desks.get_mut(&id) {
            desk.loading_took(took);
        }
    }

    fn stepped(
        &mut self,
        generation: GenerationId,
        result: Result<Evaluation, Failure>,
        now: Instant,
    ) {
        let job = self.state.job_of(generation).map(|job| job.id);
        match result {
            Ok(Evaluation { step, preview }) => {
                let pixels = self.pixels_of(&Tick::Finish(generation));
                self.pace.stepped(step.took, pixels);
                let progress = Progress {
                    generation,
                    evaluations_done: step.evaluations_done,
                    inference_step: step.inference_step,
                    is_done: step.is_done,
                };
                self.state.stepped(&[progress], now);
                let finish = self.pace.finish_estimate();
                if let Some(which) = self.which(generation) {
                    self.image_stepped(which, &step, preview, finish, now);
                }
            }
            Err(failure) => self.engine_failed(job, failure, now),
        }
    }

    /// A call failed: the fault of the job alone, or the end of the worker.
    fn engine_failed(&mut self, job: Option<JobId>, failure: Failure, now: Instant) {
        if is_worker_died(&failure) {
            self.worker_lost(&failure.message, job, now);
        } else if let Some(id) = job {
            self.fail(id, failure, now);
        } else {
            warn!("the worker refused: {failure}");
        }
    }

    /// The worker ended by itself; `how` follows "the worker".
    pub(super) fn worker_ended(&mut self, how: &str, now: Instant) {
        match self.operation.take().map(|operation| operation.tick) {
            // It was asked to.
            Some(Tick::EndWorker) => self.outcome(Outcome::WorkerEnded, Duration::ZERO, now),
            Some(Tick::Begin(id)) => self.worker_lost_at_begin(how, id, now),
            Some(Tick::Load(id)) => self.worker_lost(how, Some(id), now),
            Some(Tick::Inspect(model)) => self.inspected(&model, Err(died(how)), now),
            _ => self.worker_lost(how, None, now),
        }
    }

    /// The worker is gone, as it turns out when a picture is to begin: it may have died before, so the job gets another
    /// one, once.
    fn worker_lost_at_begin(&mut self, how: &str, id: JobId, now: Instant) {
        let is_first = self
            .desks
            .get_mut(&id)
            .is_some_and(Desk::may_begin_with_another_worker);
        self.worker_lost(how, Some(id).filter(|_| !is_first), now);
    }

    /// The worker is gone. The job it worked on is told; the others go on waiting.
    pub(super) fn worker_lost(&mut self, how: &str, at_work: Option<JobId>, now: Instant) {
        warn!("the worker {how}");
        if let Some(engine) = self.engine.take() {
            // Ends one that hangs; one that is dead is only collected.
            tokio::spawn(engine.end());
        }
        let pause = self.pace.died();
        self.loading = None;
        self.loaded.clear();
        let mut losers = self.worker_left(Some(now + pause));
        losers.extend(at_work.filter(|id| !losers.contains(id)));
        for id in losers {
            self.fail(id, worker_died(how), now);
        }
        let cancelled: Vec<_> = self
            .state
            .jobs
            .iter()
            .filter(|job| job.is_cancelled)
            .map(|job| job.id)
            .collect();
        for id in cancelled {
            self.state.remove(id, now);
        }
    }

    /// Pictures in flight wait again. Returns their jobs.
    fn worker_left(&mut self, retry_at: Option<Instant>) -> Vec<JobId> {
        let returned = self.state.worker_gone(retry_at);
        for image in &returned {
            self.image_returned(Which {
                job: image.job,
                generation: image.generation,
                index: image.index,
            });
        }
        returned.iter().map(|image| image.job).collect()
    }

    /// The picture of that generation.
    pub(super) fn which(&self, generation: GenerationId) -> Option<Which> {
        let job = self.state.job_of(generation)?;
        let index = job.image(generation)?.index;
        Some(Which {
            job: job.id,
            generation,
            index,
        })
    }

    fn worker_did_not_start(&mut self, failure: &Failure, now: Instant) {
        warn!("no worker could be started: {failure}");
        let pause = self.pace.died().max(Duration::from_millis(100));
        self.state.worker = WorkerState::Absent {
            retry_at: Some(now + pause),
        };
        let first = self
            .state
            .jobs
            .iter()
            .find(|job| !job.is_cancelled)
            .map(|job| job.id);
        if let Some(id) = first {
            self.fail(id, failure.clone(), now);
        }
        for (_, inquirer) in self.inquirers.drain(..) {
            drop(inquirer.send(Err(failure.clone())));
        }
        self.state.inquiries.clear();
    }
}

fn beginning(which: Which, begun: &Begun) -> Beginning {
    Beginning {
        generation: which.generation,
        index: which.index,
        evaluations_done: begun.evaluations_done,
        evaluation_count: begun.evaluation_count,
        group: Group {
            width_px: begun.settings.width_px,
            height_px: begun.settings.height_px,
            is_guided: begun.settings.guidance_scale > 1.0,
        },
    }
}

/// As engines say that they are gone; `how` follows "the worker".
fn died(how: &str) -> Failure {
    Failure::new(Reason::WorkerDied, how)
}
