//! From a decision to the call of the engine that carries it out.

use std::time::Instant;

use tracing::info;

use super::{actor::Actor, hooks::Which, operation, pace::Pace};
use crate::{engine::GenerationId, queue::Tick, service_manager};

impl Actor {
    pub(super) fn carry_out(&mut self, tick: Tick, now: Instant) {
        let least = self.options.patience;
        if tick == Tick::StartWorker {
            self.operation = Some(operation::start_worker(
                self.options.engines.as_ref(),
                now,
                least,
            ));
            return;
        }
        let Some(engine) = self.engine.clone() else {
            self.worker_lost("is not there", None, now);
            return;
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
                service_manager::status(&format!("loading {}", job.model));
                self.loading = Some(job.model.clone());
                operation::load(engine.as_ref(), id, &job.model, now, patience)
            }
            Tick::Refuse {
                job,
                need_bytes,
                have_bytes,
            } => {
                let failure = self.too_large(job, need_bytes, have_bytes);
                self.fail(job, failure, now);
                return;
            }
            Tick::Complete(job) => return self.complete(job, now),
            Tick::Begin(id) => {
                let Some(model) = self.state.job(id).map(|job| job.model.clone()) else {
                    return;
                };
                let Some(next) = self.next_image(id) else {
                    return;
                };
                let which = Which {
                    job: id,
                    generation: GenerationId(self.new_id()),
                    index: next.index,
                };
                operation::begin(engine.as_ref(), which, &model, next.picture, now, patience)
            }
            Tick::Step(generations) => {
                let Some(generation) = generations.first().copied() else {
                    return;
                };
                let wants_preview = self.state.job_of(generation).is_some_and(|job| {
                    job.image(generation)
                        .is_some_and(|image| self.wants_preview(job.id, image.evaluations_done + 1))
                });
                operation::step(&engine, generation, wants_preview, now, patience)
            }
            Tick::Decode(_) | Tick::Save(_) | Tick::Park(_) | Tick::Hold(_) => return,
            Tick::Finish(generation) => {
                let job = self.state.job_of(generation).map(|job| job.id);
                let Some(file) = job.and_then(|id| self.file_of(id)) else {
                    return;
                };
                operation::finish(engine.as_ref(), generation, file, now, patience)
            }
        };
        self.operation = Some(operation);
    }

    /// Pixels of the picture that a decision is about; 0 where it is about none.
    pub(super) fn pixels_of(&self, tick: &Tick) -> u64 {
        let job = match tick {
            Tick::Begin(id) => self.state.job(*id),
            Tick::Step(generations) => generations
                .first()
                .and_then(|generation| self.state.job_of(*generation)),
            Tick::Finish(generation) => self.state.job_of(*generation),
            _ => None,
        };
        job.map_or(0, |job| self.state.pixels(job))
    }
}
