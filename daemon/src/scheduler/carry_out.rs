//! From a decision to the call of the engine that carries it out.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{
    actor::Actor,
    deaths,
    hooks::Which,
    operation::{self, Operation, Purpose},
    pace::Pace,
};
use crate::{
    engine::{Engine, GenerationId},
    failure::{Failure, Reason},
    queue::{JobId, Tick},
};

impl Actor {
    pub(super) fn carry_out(&mut self, tick: Tick, now: Instant) {
        self.state.decided(&tick, now);
        let least = self.options.patience;
        if tick == Tick::StartWorker {
            self.operation = Some(operation::start_worker(
                self.options.engines.as_ref(),
                now,
                least,
            ));
            return;
        }
        // These need no engine.
        match tick {
            Tick::Complete(job) => return self.complete(job, now),
            Tick::Refuse {
                job,
                need_bytes,
                have_bytes,
            } => {
                let failure = self.too_large(job, need_bytes, have_bytes);
                return self.fail(job, failure, now);
            }
            _ => {}
        }
        let Some(engine) = self.engine.clone() else {
            return self.worker_lost(&deaths::lost("is not there"), &[], now);
        };
        if let Tick::Load(id) | Tick::Begin(id) = tick
            && let Some(failure) = self.over_budget(id)
        {
            self.fail(id, failure, now);
            return;
        }
        let patience = self.pace.patience(least, self.pixels_of(&tick));
        let operation = match tick {
            Tick::Wait { .. } | Tick::StartWorker => return,
            Tick::EndWorker => operation::end_worker(engine.as_ref(), now, least),
            Tick::Forget(generation) => {
                operation::forget(engine.as_ref(), generation, now, patience)
            }
            Tick::Inspect(model) => operation::inspect(&engine, model, now, least),
            Tick::Unload(model) => operation::unload(engine.as_ref(), model, now, least),
            Tick::Look(id) => {
                self.turn_came(id, now);
                let Some(job) = self.state.job(id) else {
                    return;
                };
                operation::look(id, &job.model, now, least)
            }
            Tick::Load(id) => {
                let Some(job) = self.state.job(id) else {
                    return;
                };
                let need = self
                    .state
                    .known
                    .get(&job.model)
                    .map_or(0, |known| known.weights_bytes);
                let patience = Pace::load_patience(least, need);
                info!(model = %job.model, "loading");
                self.loading = Some(job.model.clone());
                operation::load(engine.as_ref(), id, &job.model, now, patience)
            }
            Tick::Refuse { .. } | Tick::Complete(_) => return,
            Tick::Begin(id) => {
                let Some(operation) = self.begin(engine.as_ref(), id, patience, now) else {
                    return;
                };
                operation
            }
            Tick::Step(generations) => {
                let wants_preview = self.wanting_previews(&generations);
                operation::step(&engine, generations, wants_preview, now, patience)
            }
            Tick::Decode(generation) => {
                operation::decode(engine.as_ref(), generation, now, patience)
            }
            Tick::Finish(generation) => {
                let Some(job) = self.state.job_of(generation).map(|job| job.id) else {
                    return;
                };
                let Some(file) = self.file_of(job) else {
                    let failure = Failure::new(Reason::Internal, "its pictures have no format");
                    return self.fail(job, failure, now);
                };
                operation::finish(engine.as_ref(), generation, file, now, patience)
            }
            Tick::Save(generation) => {
                operation::save(&engine, generation, Purpose::GoOn, now, patience)
            }
            Tick::Park(generation) => {
                operation::save(&engine, generation, Purpose::Park, now, patience)
            }
            Tick::Hold(generation) => {
                operation::save(&engine, generation, Purpose::Hold, now, patience)
            }
        };
        self.operation = Some(operation);
    }

    /// Begins the job's next picture; one whose pictures are all taken has none left, whatever the queue thinks.
    fn begin(
        &mut self,
        engine: &dyn Engine,
        id: JobId,
        patience: Duration,
        now: Instant,
    ) -> Option<Operation> {
        let model = self.state.job(id)?.model.clone();
        let Some(next) = self.next_image(id) else {
            warn!("a job with pictures left has none to begin");
            self.state.job_mut(id)?.images_left = 0;
            return None;
        };
        let which = Which {
            job: id,
            generation: GenerationId(self.new_id()),
            index: next.index,
        };
        Some(operation::begin(engine, which, &model, next, now, patience))
    }

    fn wanting_previews(&self, generations: &[GenerationId]) -> BTreeSet<GenerationId> {
        let wants = |generation: &GenerationId| {
            let job = self.state.job_of(*generation)?;
            let evaluation = job.image(*generation)?.evaluations_done + 1;
            self.wants_preview(job.id, evaluation)
                .then_some(*generation)
        };
        generations.iter().filter_map(wants).collect()
    }

    /// Pixels of the pictures that a decision is about, together; 0 where it is about none.
    pub(super) fn pixels_of(&self, tick: &Tick) -> u64 {
        let pixels = |generation: &GenerationId| {
            let job = self.state.job_of(*generation);
            job.map_or(0, |job| self.state.pixels(job))
        };
        match tick {
            Tick::Begin(id) => self.state.job(*id).map_or(0, |job| self.state.pixels(job)),
            Tick::Step(generations) => generations.iter().map(pixels).sum(),
            Tick::Decode(generation)
            | Tick::Finish(generation)
            | Tick::Save(generation)
            | Tick::Park(generation)
            | Tick::Hold(generation) => pixels(generation),
            _ => 0,
        }
    }
}
