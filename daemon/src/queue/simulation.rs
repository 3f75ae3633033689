//! Random arrivals, cancellations and deaths, carried out on the state alone: whatever happens, the decisions lead to
//! an end, and in the right order.

use std::time::{Duration, Instant};

use proptest::prelude::{
    Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};

use super::{
    Beginning, Fingerprint, Group, Job, JobId, Known, Progress, Resident, State, Tick, WorkerState,
    pick,
};
use crate::{
    engine::{GenerationId, ModelKey},
    fake_engine::model,
    keep_alive::KeepAlive,
};

/// Memory of the simulated machine; a model takes 10 times its number.
const MEMORY: u64 = 35;

/// Evaluations of a simulated picture.
const EVALUATIONS: u32 = 3;

#[derive(Debug, Clone)]
enum Happening {
    Arrival {
        model: u8,
        images: u32,
        stay_secs: u64,
    },
    Cancellation(prop::sample::Index),
    Death,
    Time(u64),
    Work(u32),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (1u8..6, 0u32..4, 0u64..5)
            .prop_map(|(model, images, stay_secs)| Happening::Arrival { model, images, stay_secs }),
        1 => any::<prop::sample::Index>().prop_map(Happening::Cancellation),
        1 => Just(Happening::Death),
        1 => (0u64..10).prop_map(Happening::Time),
        8 => (1u32..12).prop_map(Happening::Work),
    ]
}

struct House {
    state: State,
    now: Instant,
    next: u64,
    evaluations: std::collections::BTreeMap<GenerationId, u32>,
    begun: Vec<JobId>,
    over: Vec<JobId>,
}

fn key(number: u8) -> ModelKey {
    model(&number.to_string())
}

fn size(key: &ModelKey) -> u64 {
    key.name.parse::<u64>().unwrap() * 10
}

impl House {
    fn happen(&mut self, happening: &Happening) -> Result<(), String> {
        match happening {
            Happening::Arrival {
                model,
                images,
                stay_secs,
            } => {
                self.next += 1;
                self.state.jobs.push(Job {
                    only_loads: *images == 0,
                    images_left: *images,
                    keep_alive: KeepAlive::For(Duration::from_secs(*stay_secs)),
                    ..Job::new(JobId(self.next), key(*model), self.now)
                });
            }
            Happening::Cancellation(index) if !self.state.jobs.is_empty() => {
                let id = index.get(&self.state.jobs).id;
                self.cancel(id);
            }
            Happening::Cancellation(_) => {}
            Happening::Death => {
                for returned in self
                    .state
                    .worker_gone(Some(self.now + Duration::from_secs(1)))
                {
                    let id = returned.job;
                    if !self.over.contains(&id) {
                        self.over.push(id);
                    }
                    self.state.remove(id, self.now);
                }
                self.evaluations.clear();
                self.state.jobs.retain(|job| !job.is_cancelled);
            }
            Happening::Time(seconds) => self.now += Duration::from_secs(*seconds),
            Happening::Work(ticks) => {
                for _ in 0..*ticks {
                    if !self.tick()? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn cancel(&mut self, id: JobId) {
        if self.over.contains(&id) {
            return;
        }
        self.over.push(id);
        match self.state.job_mut(id) {
            Some(job) if !job.images.is_empty() => job.is_cancelled = true,
            _ => self.state.remove(id, self.now),
        }
    }

    /// Carries one decision out. False when there is nothing to do.
    fn tick(&mut self) -> Result<bool, String> {
        let taken: u64 = self
            .state
            .models
            .iter()
            .map(|model| model.memory_bytes)
            .sum();
        self.state.available_bytes = MEMORY
            .checked_sub(taken)
            .ok_or("more memory was taken than there is")?;
        let tick = pick(&self.state, self.now);
        let is_present = matches!(self.state.worker, WorkerState::Present { .. });
        if !is_present && !matches!(tick, Tick::Wait { .. } | Tick::StartWorker) {
            return Err(format!("{tick:?} without a worker"));
        }
        match tick {
            Tick::Wait { until } => return self.wait(until),
            Tick::StartWorker => self.state.worker_started(self.now),
            Tick::EndWorker => {
                if self.state.jobs.iter().any(|job| !job.images.is_empty()) {
                    return Err("a worker with a picture in flight was ended".to_owned());
                }
                self.state.worker_gone(None);
            }
            Tick::Forget(generation) => self.end_generation(generation),
            Tick::Inspect(key) => {
                let known = Known {
                    fingerprint: Fingerprint(0),
                    weights_bytes: size(&key),
                    working_bytes_per_pixel: 0,
                    width_px: 8,
                    height_px: 8,
                };
                self.state.known.insert(key, known);
            }
            Tick::Look(id) => {
                let job = self.state.job_mut(id).ok_or("no such job")?;
                job.fingerprint = Some(Fingerprint(0));
                job.is_running = true;
            }
            Tick::Unload(key) => {
                if self
                    .state
                    .jobs
                    .iter()
                    .any(|job| job.model == key && !job.images.is_empty())
                {
                    return Err("a model with a picture in flight was unloaded".to_owned());
                }
                self.state.unloaded(&key);
            }
            Tick::Load(id) => {
                let job = self.state.job(id).ok_or("no such job")?;
                let (key, keep_alive) = (job.model.clone(), job.keep_alive);
                let resident = Resident {
                    memory_bytes: size(&key),
                    key,
                    fingerprint: Fingerprint(0),
                    used: self.now,
                    keep_alive,
                    is_unwanted: false,
                };
                self.state.loaded(resident, Duration::ZERO);
            }
            Tick::Refuse {
                job,
                need_bytes,
                have_bytes,
            } => {
                if need_bytes <= have_bytes || !self.state.models.is_empty() {
                    return Err("a model that could have fitted was refused".to_owned());
                }
                self.finish_job(job);
            }
            Tick::Complete(id) => self.finish_job(id),
            Tick::Begin(id) => {
                self.next += 1;
                let beginning = Beginning {
                    generation: GenerationId(self.next),
                    index: 0,
                    evaluations_done: 0,
                    evaluation_count: EVALUATIONS,
                    group: Group {
                        width_px: 8,
                        height_px: 8,
                        is_guided: false,
                    },
                    alone_until: 0,
                };
                self.state.begun(id, beginning, self.now);
                self.evaluations.insert(GenerationId(self.next), 0);
                self.begun.push(id);
            }
            Tick::Step(generations) => {
                for generation in generations {
                    let job = self
                        .state
                        .job_of(generation)
                        .ok_or("a step of nobody's picture")?;
                    if job.is_cancelled {
                        return Err("a cancelled picture was stepped".to_owned());
                    }
                    let done = self
                        .evaluations
                        .get_mut(&generation)
                        .ok_or("no such generation")?;
                    *done += 1;
                    let progress = Progress {
                        generation,
                        evaluations_done: *done,
                        inference_step: *done,
                        is_done: *done == EVALUATIONS,
                    };
                    self.state.stepped(&[progress], self.now);
                }
            }
            Tick::Decode(_) | Tick::Save(_) | Tick::Park(_) | Tick::Hold(_) => {
                return Err("nothing asked for it".to_owned());
            }
            Tick::Finish(generation) => self.end_generation(generation),
        }
        if self
            .state
            .jobs
            .iter()
            .filter(|job| !job.images.is_empty())
            .count()
            > 1
        {
            return Err("two pictures are in flight".to_owned());
        }
        Ok(true)
    }

    fn wait(&mut self, until: Option<Instant>) -> Result<bool, String> {
        let Some(moment) = until else {
            return if self.state.jobs.is_empty() {
                Ok(false)
            } else {
                Err("jobs wait for ever".to_owned())
            };
        };
        if moment <= self.now {
            return Err("waiting for a moment that is over".to_owned());
        }
        self.now = moment;
        Ok(true)
    }

    fn end_generation(&mut self, generation: GenerationId) {
        self.evaluations.remove(&generation);
        if let Some(job) = self
            .state
            .ended(generation)
            .and_then(|id| self.state.job(id))
            && job.is_cancelled
        {
            self.state.remove(job.id, self.now);
        }
    }

    fn finish_job(&mut self, id: JobId) {
        self.over.push(id);
        self.state.remove(id, self.now);
    }
}

proptest! {
    #[test]
    fn every_job_comes_to_its_end_in_turn(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut house = House {
            state: State::new(),
            now: Instant::now(),
            next: 0,
            evaluations: std::collections::BTreeMap::new(),
            begun: Vec::new(),
            over: Vec::new(),
        };
        for happening in &happenings {
            if let Err(error) = house.happen(happening) {
                prop_assert!(false, "{happening:?}: {error}");
            }
        }
        for count in 0.. {
            prop_assert!(count < 10_000, "the work does not end");
            match house.tick() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
        prop_assert!(house.evaluations.is_empty());
        prop_assert!(house.state.models.is_empty(), "idle models go");
        let is_absent = matches!(house.state.worker, WorkerState::Absent { .. });
        prop_assert!(is_absent, "an idle worker goes");
        prop_assert!(house.begun.is_sorted(), "first come, first served");
        let mut over = house.over.clone();
        over.sort_unstable();
        over.dedup();
        prop_assert_eq!(over.len(), house.over.len(), "each job ends once");
    }
}
