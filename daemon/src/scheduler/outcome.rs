//! What the scheduler makes of the engine's answers: about pictures here, about models in `models`, saved states in
//! `saving`, the worker's end in `deaths`.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{
    actor::Actor,
    curves::{group_of, second_pass_of},
    hooks::Which,
    operation::{Evaluated, Outcome},
};
use crate::{
    engine::{Begun, Decoded, GenerationId, Picture, Stepped},
    failure::Failure,
    queue::{Beginning, Class, JobId, Progress},
};

impl Actor {
    /// The engine answered the call that is under way.
    pub(super) fn answered(&mut self, outcome: Outcome, now: Instant) {
        let Some(mut operation) = self.operation.take() else {
            return;
        };
        if let Some(failure) = outcome.death() {
            operation.await_death(failure.message.clone(), now);
            self.operation = Some(operation);
            return;
        }
        self.outcome(outcome, now - operation.since, now);
    }

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
            Outcome::Unloaded(model, result) => self.model_unloaded(&model, result, now),
            Outcome::Loaded(id, result) => self.model_loaded(id, result, took, now),
            Outcome::Begun(which, Ok(begun)) => self.begun(which, begun, now),
            Outcome::Begun(which, Err(failure)) => self.not_begun(which, failure, now),
            Outcome::Stepped(generations, result) => self.stepped(&generations, result, now),
            Outcome::Decoded(generation, result) => self.decoded(generation, result, now),
            Outcome::Finished(generation, result) => self.finished(generation, result, now),
            Outcome::Saved(generation, purpose, Ok(state)) => {
                self.saved(generation, purpose, state, now);
            }
            // Deaths alone: they are taken elsewhere.
            Outcome::Saved(_, _, Err(failure)) => warn!("a picture was not saved: {failure}"),
        }
    }

    fn begun(&mut self, which: Which, begun: Begun, now: Instant) {
        let model = self.state.job(which.job).map(|job| job.model.clone());
        if let Some(model) = model
            && let Some(loaded) = self.loaded.get(&model)
        {
            let bytes = loaded.memory_bytes.saturating_add(begun.kept_bytes);
            self.state.takes(&model, bytes);
        }
        self.hold_controls(which.job);
        let beginning = Beginning {
            generation: which.generation,
            index: which.index,
            evaluations_done: begun.evaluations_done,
            evaluation_count: begun.evaluation_count,
            group: group_of(&begun.settings),
            second: second_pass_of(&begun.settings),
            alone_until: self.suspicions.alone_until(which),
        };
        self.state.begun(which.job, beginning, now);
        self.saving.begun(which.generation, now);
        self.image_begun(which, begun, now);
    }

    /// A picture was not begun: the request's fault, unless it was to go on from a saved state.
    fn not_begun(&mut self, which: Which, failure: Failure, now: Instant) {
        if self.kept_is_lost(which, &failure) {
            self.image_returned(which);
        } else {
            self.fail(which.job, failure, now);
        }
        self.remove_if_cancelled(which.job, now);
    }

    fn stepped(
        &mut self,
        generations: &[GenerationId],
        result: Result<Vec<Evaluated>, Failure>,
        now: Instant,
    ) {
        let evaluated = match result {
            Ok(evaluated) => evaluated,
            Err(failure) => vec![Err(failure); generations.len()],
        };
        let made: Vec<_> = generations
            .iter()
            .zip(&evaluated)
            .filter_map(|(generation, one)| Some((*generation, &one.as_ref().ok()?.0)))
            .collect();
        if made.len() == generations.len() {
            self.measured(&made);
        }
        let progress: Vec<_> = made.iter().map(|(id, step)| progress(*id, step)).collect();
        self.state.stepped(&progress, now);
        let jobs: Vec<_> = generations
            .iter()
            .map(|generation| self.state.job_of(*generation).map(|job| job.id))
            .collect();
        let rest = self.pace.finish_estimate();
        for (generation, one) in generations.iter().zip(evaluated) {
            let Some(which) = self.which(*generation) else {
                continue;
            };
            match one {
                Ok((mut step, preview)) => {
                    // Pictures of one job share the call's time; those of different jobs each waited for all of it.
                    let own = jobs.iter().filter(|job| **job == Some(which.job)).count();
                    step.took /= u32::try_from(own).unwrap_or(u32::MAX).max(1);
                    let interval = self.options.save_interval;
                    if self.saving.is_due(*generation, interval, now) {
                        self.state.save_due(*generation, true);
                    }
                    self.image_stepped(which, &step, preview, rest, now);
                }
                Err(failure) => self.picture_failed(which, failure, now),
            }
        }
    }

    /// An evaluation of all of these took as long as each of them says.
    fn measured(&mut self, made: &[(GenerationId, &Stepped)]) {
        let Some((first, step)) = made.first().copied() else {
            return;
        };
        let took = step.took;
        let pixels = made
            .iter()
            .filter_map(|(id, _)| self.state.image(*id)?.group)
            .map(|group| group.work(1))
            .sum();
        self.pace.stepped(took, pixels);
        let group = self.state.image(first).and_then(|image| image.group);
        let job = self.state.job_of(first);
        let Some((job, group)) = job.zip(group) else {
            return;
        };
        let (model, is_background) = (job.model.clone(), job.class == Class::Background);
        let generations = u32::try_from(made.len()).unwrap_or(u32::MAX);
        let is_news = self
            .state
            .curves
            .measured(&model, group, generations, took.as_secs_f64());
        if is_news {
            self.curve_changed(&model, group);
        }
        if is_background {
            self.background_worked(took);
        }
    }

    fn decoded(
        &mut self,
        generation: GenerationId,
        result: Result<Decoded, Failure>,
        now: Instant,
    ) {
        let Some(which) = self.which(generation) else {
            return;
        };
        match result {
            Ok(decoded) => {
                self.state.decoded(generation, decoded.is_done, now);
                self.pace.decoded(generation, decoded.took);
                let job = self.state.job(which.job);
                if job.is_some_and(|job| job.class == Class::Background) {
                    self.background_worked(decoded.took);
                }
            }
            Err(failure) => self.picture_failed(which, failure, now),
        }
    }

    fn finished(
        &mut self,
        generation: GenerationId,
        result: Result<Picture, Failure>,
        now: Instant,
    ) {
        let Some(which) = self.which(generation) else {
            return;
        };
        match result {
            Ok(mut picture) => {
                picture.took = self.pace.finished(generation, picture.took);
                self.generation_ended(which);
                self.image_finished(which, picture);
            }
            Err(failure) => self.picture_failed(which, failure, now),
        }
        self.remove_if_cancelled(which.job, now);
    }

    /// A picture cannot be made; its generation is forgotten next.
    fn picture_failed(&mut self, which: Which, failure: Failure, now: Instant) {
        self.state.failed(which.generation);
        self.suspicions.clear(which);
        self.image_failed(which, failure, now);
    }

    fn forgot(&mut self, generation: GenerationId, result: Result<(), Failure>, now: Instant) {
        if let Some(which) = self.which(generation) {
            self.generation_ended(which);
            self.remove_if_cancelled(which.job, now);
        }
        if let Err(failure) = result {
            self.engine_failed(None, failure, now);
        }
    }

    /// A generation is no more, for good.
    pub(super) fn generation_ended(&mut self, which: Which) {
        self.state.ended(which.generation);
        self.saving.ended(which.generation);
        self.pace.ended(which.generation);
        self.suspicions.clear(which);
    }

    pub(super) fn remove_if_cancelled(&mut self, job: JobId, now: Instant) {
        let job = self.state.job(job);
        if let Some(job) = job.filter(|job| job.is_cancelled && job.images.is_empty()) {
            self.state.remove(job.id, now);
        }
    }

    /// A call failed: the fault of the job alone.
    pub(super) fn engine_failed(&mut self, job: Option<JobId>, failure: Failure, now: Instant) {
        match job {
            Some(id) => self.fail(id, failure, now),
            None => warn!("the worker refused: {failure}"),
        }
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
}

fn progress(generation: GenerationId, step: &Stepped) -> Progress {
    Progress {
        generation,
        evaluations_done: step.evaluations_done,
        inference_step: step.inference_step,
        is_done: step.is_done,
    }
}
