//! The simulated house: its state as the scheduler holds it, and what the opponent knows besides.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use proptest::prelude::prop;

use super::events::{Asked, Event};
use crate::{
    engine::{GenerationId, ModelKey},
    fake_engine::model,
    keep_alive::KeepAlive,
    queue::{Background, Class, ClientId, Job, JobId, State, Tick, WorkerState, pick},
};

/// Memory of the simulated machine, in bytes.
pub(super) const MEMORY: u64 = 1000;

/// What the opponent itself knows of a picture in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picture {
    pub(super) decoded: u32,
    pub(super) is_guided: bool,
}

pub(super) struct World {
    pub(super) state: State,
    pub(super) now: Instant,
    pub(super) next: u64,
    pub(super) memory: u64,
    /// Whether the memory ever fell below what was promised: then pictures in flight may take more than there is.
    pub(super) has_shrunk: bool,
    pub(super) files: [u64; 5],
    pub(super) pictures: BTreeMap<GenerationId, Picture>,
    /// Evaluations that were saved of pictures that are not in flight, and whether they are guided.
    pub(super) parked: BTreeMap<(JobId, u32), u32>,
    /// Pictures of each job that were never begun or went back.
    pub(super) waiting: BTreeMap<JobId, BTreeSet<u32>>,
    pub(super) guided: BTreeSet<JobId>,
    /// Grows with each event: what is done again after one is not done in vain.
    pub(super) events: u64,
    /// For each picture, the event after which it was parked last without an evaluation since.
    pub(super) parks: BTreeMap<(JobId, u32), u64>,
    /// For each model, how often it was loaded without being used, and the event after which that was last.
    pub(super) loads: BTreeMap<ModelKey, (u64, u32)>,
    pub(super) load_count: u32,
    /// Decisions since a picture or job came nearer to its end.
    pub(super) idle_ticks: usize,
    pub(super) last: Vec<Tick>,
    pub(super) over: BTreeSet<JobId>,
    pub(super) load_time: Duration,
    pub(super) served: BTreeMap<Class, Instant>,
}

pub(super) fn key(number: u8) -> ModelKey {
    model(&number.to_string())
}

pub(super) fn number(key: &ModelKey) -> usize {
    key.name.parse().unwrap()
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            state: State::new(),
            now: Instant::now(),
            next: 0,
            memory: MEMORY,
            has_shrunk: false,
            files: [0; 5],
            pictures: BTreeMap::new(),
            parked: BTreeMap::new(),
            waiting: BTreeMap::new(),
            guided: BTreeSet::new(),
            events: 0,
            parks: BTreeMap::new(),
            loads: BTreeMap::new(),
            load_count: 0,
            idle_ticks: 0,
            last: Vec::new(),
            over: BTreeSet::new(),
            load_time: Duration::from_secs(2),
            served: BTreeMap::new(),
        }
    }

    pub(super) fn arrive(&mut self, asked: &Asked) -> JobId {
        self.next += 1;
        let id = JobId(self.next);
        let class = Class::ALL[usize::from(asked.class)];
        self.waiting.insert(id, (0..asked.images).collect());
        if asked.is_guided {
            self.guided.insert(id);
        }
        let stay = |seconds| KeepAlive::For(Duration::from_secs(seconds));
        self.state.add(Job {
            only_loads: asked.images == 0,
            images_left: asked.images,
            class,
            client: ClientId(asked.client),
            width_px: Some(asked.side_px),
            height_px: Some(asked.side_px),
            hold_after: asked.hold_after,
            keep_alive: asked.stay_secs.map_or(KeepAlive::Forever, stay),
            ..Job::new(id, key(asked.model), self.now)
        });
        id
    }

    pub(super) fn happen(&mut self, event: &Event) -> Result<(), String> {
        self.events += 1;
        self.idle_ticks = 0;
        match event {
            Event::Arrival(asked) => {
                self.arrive(asked);
            }
            Event::Cancel(index) => {
                if let Some(id) = self.some_job(*index) {
                    self.cancel(id);
                }
            }
            Event::Pause(index, on) => self.change(*index, |job| job.is_paused = *on),
            Event::Reader(index, on) => self.change(*index, |job| job.is_blocked = *on),
            Event::Death => self.die(),
            Event::FilesChange(model) => self.files[usize::from(*model)] += 1,
            Event::Memory(bytes) => {
                self.has_shrunk |= *bytes < self.memory;
                self.memory = *bytes;
            }
            Event::Unwanted(number) => {
                let key = key(*number);
                for model in self
                    .state
                    .models
                    .iter_mut()
                    .filter(|model| model.key == key)
                {
                    model.is_unwanted = true;
                }
            }
            Event::Inquiry(model) => self.state.inquiries.push(key(*model)),
            Event::Background(blocked) => {
                let background = Background {
                    blocked: blocked.then_some("the machine is in use"),
                    ..self.state.background
                };
                self.state.allow_background(background, self.now);
            }
            Event::Duty(seconds) => {
                let background = Background {
                    from: Some(self.now + Duration::from_secs(*seconds)),
                    ..self.state.background
                };
                self.state.allow_background(background, self.now);
            }
            Event::SaveDue(index) => {
                if let Some(generation) = self.some_picture(*index) {
                    self.state.save_due(generation, true);
                }
            }
            Event::Failure(index) => {
                if let Some(generation) = self.some_picture(*index) {
                    self.state.failed(generation);
                }
            }
            Event::Time(seconds) => self.now += Duration::from_secs(*seconds),
            Event::Work(ticks) => {
                for _ in 0..*ticks {
                    if !self.tick()? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn some_job(&self, index: prop::sample::Index) -> Option<JobId> {
        (!self.state.jobs.is_empty()).then(|| index.get(&self.state.jobs).id)
    }

    pub(super) fn some_picture(&self, index: prop::sample::Index) -> Option<GenerationId> {
        let all: Vec<_> = self.pictures.keys().copied().collect();
        (!all.is_empty()).then(|| *index.get(&all))
    }

    pub(super) fn change(&mut self, index: prop::sample::Index, change: impl FnOnce(&mut Job)) {
        if let Some(id) = self.some_job(index)
            && let Some(job) = self.state.job_mut(id)
        {
            change(job);
        }
    }

    pub(super) fn cancel(&mut self, id: JobId) {
        match self.state.job_mut(id) {
            Some(job) if !job.images.is_empty() => job.is_cancelled = true,
            _ => self.remove(id),
        }
    }

    pub(super) fn remove(&mut self, id: JobId) {
        self.over.insert(id);
        self.state.remove(id, self.now);
    }

    pub(super) fn die(&mut self) {
        let returned = self
            .state
            .worker_gone(Some(self.now + Duration::from_secs(1)));
        for back in returned {
            self.waiting.entry(back.job).or_default().insert(back.index);
        }
        self.pictures.clear();
        let cancelled: Vec<_> = self
            .state
            .jobs
            .iter()
            .filter(|job| job.is_cancelled)
            .map(|job| job.id)
            .collect();
        for id in cancelled {
            self.remove(id);
        }
    }

    /// Carries one decision out. False where there is nothing to do, now and later.
    pub(super) fn tick(&mut self) -> Result<bool, String> {
        self.state.available_bytes = self.memory.saturating_sub(self.weights_bytes());
        let tick = pick(&self.state, self.now);
        self.last.push(tick.clone());
        if self.last.len() > 30 {
            self.last.remove(0);
        }
        if tick != pick(&self.state, self.now) {
            return Err("the same state gave two decisions".to_owned());
        }
        self.state.decided(&tick, self.now);
        let is_present = matches!(self.state.worker, WorkerState::Present { .. });
        let needs_none = matches!(
            tick,
            Tick::Wait { .. } | Tick::StartWorker | Tick::Complete(_)
        );
        if !is_present && !needs_none {
            return Err(format!("{tick:?} without a worker"));
        }
        let is_productive = matches!(
            tick,
            Tick::Wait { .. }
                | Tick::Step(_)
                | Tick::Decode(_)
                | Tick::Finish(_)
                | Tick::Forget(_)
                | Tick::Hold(_)
                | Tick::Complete(_)
                | Tick::Refuse { .. }
        );
        self.idle_ticks = if is_productive {
            0
        } else {
            self.idle_ticks + 1
        };
        let in_flight = self.state.in_flight().count();
        let bound = 20 + 4 * self.state.jobs.len() + 4 * self.state.models.len() + 3 * in_flight;
        if self.idle_ticks > bound {
            return Err(format!("nothing comes nearer to its end: {:?}", self.last));
        }
        self.carry_out(tick)
    }

    /// Nobody changes his mind any more, and there is room again.
    pub(super) fn calm(&mut self) {
        self.events += 1;
        self.idle_ticks = 0;
        self.has_shrunk |= MEMORY < self.memory;
        self.memory = MEMORY;
        for job in &mut self.state.jobs {
            job.is_paused = false;
            job.is_blocked = false;
        }
        self.state.allow_background(Background::default(), self.now);
    }

    pub(super) fn drain(&mut self) -> Result<(), String> {
        for _ in 0..20_000 {
            if !self.tick()? {
                return if self.state.jobs.is_empty() && self.pictures.is_empty() {
                    Ok(())
                } else {
                    Err(format!("left over: {:?}", self.state.jobs))
                };
            }
        }
        Err(format!("the work does not end: {:?}", self.last))
    }
}
