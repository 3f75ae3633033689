//! What becomes of the work when the worker is gone: who is to blame, who tries again and from where.
//!
//! Every picture in flight goes back to the waiting with its last saved state. Only what was in the engine's call is
//! suspected. A suspect is tried again, alone until it is past the evaluation that the worker died at; when the worker
//! dies again and the picture has not come further, its job fails. A worker that somebody else ended suspects nobody, but
//! not for ever: a program that ends others when memory runs short (earlyoom, systemd-oomd) looks like somebody else.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{
    actor::Actor,
    hooks::Which,
    operation::{Operation, Outcome},
};
use crate::{
    engine::{Death, GenerationId},
    failure::{Failure, Reason, worker_died, worker_keeps_dying},
    queue::{JobId, Tick, WorkerState},
};

/// What a job is suspected of besides its pictures: its model, which is inspected or loaded.
const MODEL: u32 = u32::MAX;

/// Workers that somebody else may end in a row at a picture that comes no further.
const MAX_FOREIGN: u32 = 10;

/// What deaths were seen of, each: how far it was, 0 before its first evaluation, else the evaluation, from 1.
#[derive(Debug, Default)]
pub(super) struct Suspicions {
    /// At the last death of its own.
    own: BTreeMap<(JobId, u32), u32>,
    /// The furthest at a death by somebody else, and how many there were since it came so far.
    foreign: BTreeMap<(JobId, u32), (u32, u32)>,
}

/// Something that was in the engine's call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suspect {
    which: Which,
    progress: u32,
}

impl Suspicions {
    /// The evaluation up to which a picture shares none with others.
    pub(super) fn alone_until(&self, which: Which) -> u32 {
        let known = self.own.get(&(which.job, which.index));
        known.copied().unwrap_or(0)
    }

    /// A picture is finished, or was given up.
    pub(super) fn clear(&mut self, which: Which) {
        self.own.remove(&(which.job, which.index));
        self.foreign.remove(&(which.job, which.index));
        // Its model was there.
        self.foreign.remove(&(which.job, MODEL));
    }

    /// Forgets jobs that are over.
    fn retain(&mut self, is_there: impl Fn(JobId) -> bool) {
        self.own.retain(|(job, _), _| is_there(*job));
        self.foreign.retain(|(job, _), _| is_there(*job));
    }

    /// Whether somebody else has ended so many workers at it that it is given up.
    fn is_hopeless(&mut self, suspect: &Suspect) -> bool {
        let key = (suspect.which.job, suspect.which.index);
        let (furthest, deaths) = self.foreign.entry(key).or_default();
        if suspect.progress > *furthest {
            (*furthest, *deaths) = (suspect.progress, 0);
        }
        *deaths += 1;
        *deaths >= MAX_FOREIGN
    }

    /// Whether the worker died before of the same, and it has not come further since.
    fn is_proven(&mut self, suspect: &Suspect) -> bool {
        let key = (suspect.which.job, suspect.which.index);
        let before = self.own.insert(key, suspect.progress);
        before.is_some_and(|before| before >= suspect.progress)
    }
}

/// A death of which nothing more is known.
pub(super) fn lost(how: &str) -> Death {
    Death {
        how: how.to_owned(),
        signal: None,
        is_out_of_memory: false,
        is_foreign: false,
    }
}

impl Actor {
    /// The engine has been silent for too long.
    pub(super) fn look_at_operation(&mut self, now: Instant) {
        let Some(operation) = &self.operation else {
            return;
        };
        if operation.deadline <= now {
            let overdue = lost(&operation.overdue());
            self.worker_ended(&overdue, now);
        }
    }

    /// The worker ended.
    pub(super) fn worker_ended(&mut self, death: &Death, now: Instant) {
        let operation = self.operation.take();
        let suspects = operation
            .as_ref()
            .map_or_else(Vec::new, |operation| self.suspects(operation));
        if let Some(which) = operation.as_ref().and_then(|operation| operation.begins) {
            self.image_returned(which);
        }
        match operation.map(|operation| operation.tick) {
            // It was asked to.
            Some(Tick::EndWorker) => self.outcome(Outcome::WorkerEnded, Duration::ZERO, now),
            Some(Tick::Inspect(model)) => {
                let died = Failure::new(Reason::WorkerDied, death.how.as_str());
                self.answer_inquirers(&model, &Err(died));
                self.worker_lost(death, &suspects, now);
            }
            _ => self.worker_lost(death, &suspects, now),
        }
    }

    /// What was in the engine's call.
    fn suspects(&self, operation: &Operation) -> Vec<Suspect> {
        let model = |job: JobId| Suspect {
            which: Which {
                job,
                generation: GenerationId(0),
                index: MODEL,
            },
            progress: 0,
        };
        match &operation.tick {
            Tick::Begin(_) => operation
                .begins
                .map(|which| Suspect { which, progress: 0 })
                .into_iter()
                .collect(),
            Tick::Load(job) => vec![model(*job)],
            Tick::Inspect(key) => {
                let mut jobs = self.state.jobs.iter();
                let first = jobs.find(|job| job.model == *key && job.is_running);
                first.map(|job| model(job.id)).into_iter().collect()
            }
            Tick::Step(generations) => self.suspect(generations),
            Tick::Decode(generation)
            | Tick::Finish(generation)
            | Tick::Save(generation)
            | Tick::Park(generation)
            | Tick::Hold(generation) => self.suspect(&[*generation]),
            _ => Vec::new(),
        }
    }

    fn suspect(&self, generations: &[GenerationId]) -> Vec<Suspect> {
        let suspect = |generation: &GenerationId| {
            let done = self.state.image(*generation)?.evaluations_done;
            let which = self.which(*generation)?;
            Some(Suspect {
                which,
                progress: done + 1,
            })
        };
        generations.iter().filter_map(suspect).collect()
    }

    /// The worker is gone, with all that it held.
    pub(super) fn worker_lost(&mut self, death: &Death, suspects: &[Suspect], now: Instant) {
        let how = &death.how;
        warn!("the worker {how}");
        if let Some(engine) = self.engine.take() {
            // Ends one that hangs; one that is dead is only collected.
            tokio::spawn(engine.end());
        }
        let pause = self.pace.died();
        self.loading = None;
        self.loaded.clear();
        self.worker_left(Some(now + pause));
        let Self {
            suspicions, state, ..
        } = self;
        suspicions.retain(|job| state.job(job).is_some());
        let mut told = Vec::new();
        for suspect in suspects {
            let job = suspect.which.job;
            let is_proven = if death.is_foreign {
                self.suspicions.is_hopeless(suspect)
            } else {
                self.suspicions.is_proven(suspect)
            };
            if !told.contains(&job) {
                told.push(job);
                self.worker_died_at(job);
                if !is_proven {
                    self.worker_died_notice(suspect.which, how);
                }
            }
            if is_proven {
                let why = if death.is_foreign {
                    worker_keeps_dying(how, MAX_FOREIGN)
                } else {
                    worker_died(how)
                };
                self.fail(job, why, now);
            }
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

    /// Pictures in flight wait again.
    pub(super) fn worker_left(&mut self, retry_at: Option<Instant>) {
        self.saving.clear();
        for image in self.state.worker_gone(retry_at) {
            self.image_returned(Which {
                job: image.job,
                generation: image.generation,
                index: image.index,
            });
        }
    }

    pub(super) fn worker_did_not_start(&mut self, failure: &Failure, now: Instant) {
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
