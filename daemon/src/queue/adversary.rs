//! An opponent of the decisions: random jobs, models, memory, faults and changes of mind. It knows what may never
//! happen and does not look at how decisions are made.
//!
//! The simulated engine takes time for everything, and memory for models and for pictures at work. After each decision
//! something must have changed; after a bounded number of them a picture must have come nearer to its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};

use super::{
    Background, Beginning, Class, ClientId, Fingerprint, Group, Image, Job, JobId, Known, Progress,
    Resident, Stage, State, Tick, WorkerState, pick,
};
use crate::{
    engine::{GenerationId, ModelKey},
    fake_engine::model,
    keep_alive::KeepAlive,
};

/// Memory of the simulated machine, in bytes.
const MEMORY: u64 = 1000;

/// Memory that the weights of each model take, in bytes. The last one fits nowhere.
const WEIGHTS: [u64; 5] = [100, 300, 500, 850, 2000];

/// Memory that a picture of a model takes at its peak, in bytes, for each of its 64 pixels.
const WORKING_PER_PIXEL: u64 = 1;

/// Stages of the simulated decoder.
const DECODER_STAGES: u32 = 3;

/// What may happen to the machine and its users.
#[derive(Debug, Clone)]
enum Event {
    Arrival(Asked),
    Cancel(prop::sample::Index),
    Pause(prop::sample::Index, bool),
    Reader(prop::sample::Index, bool),
    Death,
    FilesChange(u8),
    Memory(u64),
    Unwanted(u8),
    Inquiry(u8),
    Background(bool),
    Duty(u64),
    SaveDue(prop::sample::Index),
    Failure(prop::sample::Index),
    Time(u64),
    Work(u32),
}

#[derive(Debug, Clone)]
struct Asked {
    model: u8,
    images: u32,
    class: u8,
    client: u32,
    side_px: u32,
    is_guided: bool,
    hold_after: Option<u32>,
    stay_secs: Option<u64>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let model = prop_oneof![5 => 0u8..3, 2 => Just(3u8), 1 => Just(4u8)];
    let side = prop_oneof![3 => Just(8u32), 1 => Just(16u32), 1 => Just(40u32)];
    let hold = prop::option::weighted(0.1, 1u32..4);
    let stay = prop::option::weighted(0.7, 0u64..40);
    (
        (model, 0u32..7, 0u8..3, 0u32..3),
        (side, any::<bool>(), hold, stay),
    )
        .prop_map(|((model, images, class, client), rest)| {
            let (side_px, is_guided, hold_after, stay_secs) = rest;
            Asked {
                model,
                images,
                class,
                client,
                side_px,
                is_guided,
                hold_after,
                stay_secs,
            }
        })
}

fn event() -> impl Strategy<Value = Event> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => asked().prop_map(Event::Arrival),
        2 => index().prop_map(Event::Cancel),
        2 => (index(), any::<bool>()).prop_map(|(index, on)| Event::Pause(index, on)),
        2 => (index(), any::<bool>()).prop_map(|(index, on)| Event::Reader(index, on)),
        1 => Just(Event::Death),
        1 => (0u8..4).prop_map(Event::FilesChange),
        1 => (0u64..1500).prop_map(Event::Memory),
        1 => (0u8..4).prop_map(Event::Unwanted),
        1 => (0u8..5).prop_map(Event::Inquiry),
        2 => any::<bool>().prop_map(Event::Background),
        1 => (0u64..30).prop_map(Event::Duty),
        2 => index().prop_map(Event::SaveDue),
        1 => index().prop_map(Event::Failure),
        2 => (0u64..100).prop_map(Event::Time),
        12 => (1u32..40).prop_map(Event::Work),
    ]
}

/// What the opponent itself knows of a picture in flight.
#[derive(Debug, Clone, Copy)]
struct Picture {
    decoded: u32,
    is_guided: bool,
}

struct World {
    state: State,
    now: Instant,
    next: u64,
    memory: u64,
    /// Whether the memory ever fell below what was promised: then pictures in flight may take more than there is.
    has_shrunk: bool,
    files: [u64; 5],
    pictures: BTreeMap<GenerationId, Picture>,
    /// Evaluations that were saved of pictures that are not in flight, and whether they are guided.
    parked: BTreeMap<(JobId, u32), u32>,
    /// Pictures of each job that were never begun or went back.
    waiting: BTreeMap<JobId, BTreeSet<u32>>,
    guided: BTreeSet<JobId>,
    /// Grows with each event: what is done again after one is not done in vain.
    events: u64,
    /// For each picture, the event after which it was parked last without an evaluation since.
    parks: BTreeMap<(JobId, u32), u64>,
    /// For each model, how often it was loaded without being used, and the event after which that was last.
    loads: BTreeMap<ModelKey, (u64, u32)>,
    load_count: u32,
    /// Decisions since a picture or job came nearer to its end.
    idle_ticks: usize,
    last: Vec<Tick>,
    over: BTreeSet<JobId>,
    load_time: Duration,
    served: BTreeMap<Class, Instant>,
}

fn key(number: u8) -> ModelKey {
    model(&number.to_string())
}

fn number(key: &ModelKey) -> usize {
    key.name.parse().unwrap()
}

impl World {
    fn new() -> Self {
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

    fn arrive(&mut self, asked: &Asked) -> JobId {
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

    fn happen(&mut self, event: &Event) -> Result<(), String> {
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

    fn some_job(&self, index: prop::sample::Index) -> Option<JobId> {
        (!self.state.jobs.is_empty()).then(|| index.get(&self.state.jobs).id)
    }

    fn some_picture(&self, index: prop::sample::Index) -> Option<GenerationId> {
        let all: Vec<_> = self.pictures.keys().copied().collect();
        (!all.is_empty()).then(|| *index.get(&all))
    }

    fn change(&mut self, index: prop::sample::Index, change: impl FnOnce(&mut Job)) {
        if let Some(id) = self.some_job(index)
            && let Some(job) = self.state.job_mut(id)
        {
            change(job);
        }
    }

    fn cancel(&mut self, id: JobId) {
        match self.state.job_mut(id) {
            Some(job) if !job.images.is_empty() => job.is_cancelled = true,
            _ => self.remove(id),
        }
    }

    fn remove(&mut self, id: JobId) {
        self.over.insert(id);
        self.state.remove(id, self.now);
    }

    fn die(&mut self) {
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

    fn working_bytes(&self, job: &Job) -> u64 {
        let pixels = u64::from(job.width_px.unwrap_or(8)) * u64::from(job.height_px.unwrap_or(8));
        pixels * WORKING_PER_PIXEL
    }

    fn weights_bytes(&self) -> u64 {
        let models = self.state.models.iter();
        models.map(|model| model.memory_bytes).sum()
    }

    /// What pictures that are being decoded hold whatever else is done.
    fn decoding_bytes(&self, except: &[GenerationId]) -> u64 {
        let decoding = self.state.in_flight().filter(|(_, image)| {
            matches!(image.stage, Stage::Decoding | Stage::Decoded)
                && !except.contains(&image.generation)
        });
        decoding.map(|(job, _)| self.working_bytes(job)).sum()
    }

    fn check_memory(&self, working: u64, at_work: &[GenerationId]) -> Result<(), String> {
        let taken = self.weights_bytes() + self.decoding_bytes(at_work) + working;
        if taken > self.memory && !self.has_shrunk {
            return Err(format!(
                "{taken} bytes are taken of {}: {:?}",
                self.memory, self.last
            ));
        }
        Ok(())
    }

    fn may_compute(&self, generation: GenerationId) -> Result<(&Job, &Image), String> {
        let job = self.state.job_of(generation).ok_or("nobody's picture")?;
        let image = job.image(generation).ok_or("nobody's picture")?;
        if job.is_cancelled || image.is_failed {
            return Err("what nobody wants was computed".to_owned());
        }
        if job.is_paused {
            return Err("a paused job was worked for".to_owned());
        }
        if job.class == Class::Background && !self.state.background.is_allowed(self.now) {
            return Err("background work was done when it may not be".to_owned());
        }
        if image.is_hold_due {
            return Err("a picture went on that is to be held".to_owned());
        }
        if self.state.resident(&job.model).is_none() {
            return Err("a picture went on without its model".to_owned());
        }
        Ok((job, image))
    }

    /// Whether anything could be done for the job if it had the machine to itself.
    fn is_active(&self, job: &Job) -> bool {
        let may = job.class != Class::Background || self.state.background.is_allowed(self.now);
        // Pictures begun with a model's old files are finished first, even if their reader takes his time: he has a
        // minute before his stream is given up.
        let is_old = |model: &Resident| Some(model.fingerprint) != job.fingerprint;
        let waits_for_old = job.fingerprint.is_some()
            && self.state.resident(&job.model).is_some_and(is_old)
            && self
                .state
                .in_flight()
                .any(|(other, _)| other.model == job.model);
        let begins = !job.is_blocked && !waits_for_old && (job.images_left > 0 || job.only_loads);
        let goes_on = job
            .images
            .iter()
            .any(|image| !(job.is_blocked && image.stage == Stage::Denoised));
        may && !job.is_cancelled && !job.is_paused && (begins || goes_on)
    }

    /// Carries one decision out. False where there is nothing to do, now and later.
    fn tick(&mut self) -> Result<bool, String> {
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

    fn carry_out(&mut self, tick: Tick) -> Result<bool, String> {
        match tick {
            Tick::Wait { until } => return self.wait(until),
            Tick::StartWorker => {
                if matches!(self.state.worker, WorkerState::Present { .. }) {
                    return Err("a second worker was started".to_owned());
                }
                self.state.worker_started(self.now);
            }
            Tick::EndWorker => {
                if self.state.in_flight().next().is_some() {
                    return Err("a worker with pictures in flight was ended".to_owned());
                }
                self.state.worker_gone(None);
            }
            Tick::Forget(generation) => self.forget(generation)?,
            Tick::Inspect(key) => self.inspect(key),
            Tick::Look(id) => {
                let files = self.files;
                let job = self.state.job_mut(id).ok_or("no such job")?;
                let found = Fingerprint(files[number(&job.model)]);
                if job.fingerprint.replace(found) == Some(found) {
                    return Err("looked twice".to_owned());
                }
                job.is_running = true;
            }
            Tick::Unload(key) => {
                if self.state.in_flight().any(|(job, _)| job.model == key) {
                    return Err("a model with a picture in flight was unloaded".to_owned());
                }
                if self.state.resident(&key).is_none() {
                    return Err("a model that is not there was unloaded".to_owned());
                }
                self.state.unloaded(&key);
            }
            Tick::Load(id) => self.load(id)?,
            Tick::Refuse {
                job,
                need_bytes,
                have_bytes,
            } => {
                if need_bytes <= have_bytes {
                    return Err("what fits was refused".to_owned());
                }
                let refused = self.state.job(job).ok_or("no such job")?;
                let needs = WEIGHTS[number(&refused.model)] + self.working_bytes(refused);
                if !self.has_shrunk && needs <= MEMORY {
                    return Err(format!("{needs} of {MEMORY} bytes were refused"));
                }
                if refused.images.is_empty() {
                    self.remove(job);
                } else {
                    self.cancel(job);
                }
            }
            Tick::Complete(id) => {
                let job = self.state.job(id).ok_or("no such job")?;
                if job.images_left > 0 || !job.images.is_empty() {
                    return Err("a job was complete too early".to_owned());
                }
                if job.only_loads {
                    let model = job.model.clone();
                    self.loads.remove(&model);
                }
                self.remove(id);
            }
            Tick::Begin(id) => self.begin(id)?,
            Tick::Step(generations) => self.step(&generations)?,
            Tick::Decode(generation) => self.decode(generation)?,
            Tick::Finish(generation) => {
                let (_, image) = self.may_compute(generation)?;
                if image.stage != Stage::Decoded {
                    return Err("a picture without pixels was finished".to_owned());
                }
                self.now += Duration::from_millis(20);
                self.end(generation);
            }
            Tick::Save(generation) => {
                let (_, image) = self.may_compute(generation)?;
                if !image.is_save_due {
                    return Err("a save that was not due".to_owned());
                }
                self.now += Duration::from_millis(5);
                self.state.save_due(generation, false);
            }
            Tick::Park(generation) => self.park(generation)?,
            Tick::Hold(generation) => {
                let image = self.state.image(generation).ok_or("nobody's picture")?;
                if !image.is_hold_due {
                    return Err("held too early".to_owned());
                }
                self.end(generation);
            }
        }
        Ok(true)
    }

    fn wait(&mut self, until: Option<Instant>) -> Result<bool, String> {
        let retry = match self.state.worker {
            WorkerState::Absent { retry_at } => retry_at.filter(|moment| *moment > self.now),
            WorkerState::Present { .. } => None,
        };
        let jobs = self.state.jobs.iter();
        let active: Vec<_> = jobs.filter(|job| self.is_active(job)).collect();
        if let (Some(job), None) = (active.first(), retry) {
            return Err(format!("waits, though something can be done: {job:?}"));
        }
        match until {
            None if retry.is_some() && !active.is_empty() => {
                Err("waits for ever for a worker".to_owned())
            }
            None => Ok(false),
            Some(moment) if moment <= self.now => Err("waits for a moment that is over".to_owned()),
            Some(moment) => {
                self.now = moment;
                Ok(true)
            }
        }
    }

    fn inspect(&mut self, key: ModelKey) {
        self.now += Duration::from_millis(2);
        self.state.inquiries.retain(|model| *model != key);
        let known = Known {
            fingerprint: Fingerprint(self.files[number(&key)]),
            weights_bytes: WEIGHTS[number(&key)],
            working_bytes_per_pixel: WORKING_PER_PIXEL,
            width_px: 8,
            height_px: 8,
        };
        // What was found is what the job will load: the files are looked at once more.
        for job in self.state.jobs.iter_mut() {
            if job.model == key && job.images.is_empty() && job.fingerprint.is_some() {
                job.fingerprint = Some(known.fingerprint);
            }
        }
        self.state.known.insert(key, known);
    }

    fn load(&mut self, id: JobId) -> Result<(), String> {
        let job = self.state.job(id).ok_or("no such job")?;
        let (key, keep_alive) = (job.model.clone(), job.keep_alive);
        if self.state.resident(&key).is_some() {
            return Err("a model was loaded twice".to_owned());
        }
        // Once in vain is bad luck: somebody's turn came while it was loaded.
        let in_vain = self.loads.entry(key.clone()).or_default();
        *in_vain = match *in_vain {
            (event, count) if event == self.events => (event, count + 1),
            _ => (self.events, 1),
        };
        if in_vain.1 > 2 {
            return Err(format!(
                "a model was loaded again and again and never used: {:?}",
                self.last
            ));
        }
        self.load_count += 1;
        self.now += self.load_time;
        let resident = Resident {
            memory_bytes: WEIGHTS[number(&key)],
            fingerprint: job.fingerprint.ok_or("loaded without a look")?,
            key,
            used: self.now,
            keep_alive,
            is_unwanted: false,
        };
        self.state.loaded(resident, self.load_time);
        self.check_memory(0, &[])
    }

    fn begin(&mut self, id: JobId) -> Result<(), String> {
        let job = self.state.job(id).ok_or("no such job")?;
        let resident = self
            .state
            .resident(&job.model)
            .ok_or("begun without its model")?;
        if Some(resident.fingerprint) != job.fingerprint {
            return Err("begun with files that were changed".to_owned());
        }
        if job.is_cancelled || job.is_paused || job.is_blocked {
            return Err("a picture was begun that may not be".to_owned());
        }
        let working = self.working_bytes(job);
        let (side, count) = (job.width_px.unwrap_or(8), 1 + (id.0 % 5) as u32);
        let is_guided = self.guided.contains(&id);
        let waiting = self.waiting.get_mut(&id).ok_or("no such job")?;
        let index = waiting.pop_first().ok_or("more pictures than asked for")?;
        let done = self.parked.remove(&(id, index)).unwrap_or(0);
        self.check_memory(working, &[])?;
        self.next += 1;
        let generation = GenerationId(self.next);
        let group = Group {
            width_px: side,
            height_px: side,
            is_guided,
        };
        let beginning = Beginning {
            generation,
            index,
            evaluations_done: done,
            evaluation_count: count,
            group,
            alone_until: 0,
        };
        self.now += Duration::from_millis(50);
        let picture = Picture {
            decoded: 0,
            is_guided,
        };
        self.pictures.insert(generation, picture);
        self.state.begun(id, beginning, self.now);
        Ok(())
    }

    fn step(&mut self, generations: &[GenerationId]) -> Result<(), String> {
        let distinct: BTreeSet<_> = generations.iter().collect();
        if generations.is_empty() || distinct.len() != generations.len() {
            return Err("an evaluation of nobody or of one twice".to_owned());
        }
        let mut working = 0;
        let mut first = None;
        let mut progress = Vec::new();
        for generation in generations {
            let (job, image) = self.may_compute(*generation)?;
            if image.stage != Stage::Denoising {
                return Err("an evaluation too many".to_owned());
            }
            let is_guided = self.pictures[generation].is_guided;
            let kind = (job.model.clone(), job.width_px, is_guided);
            if first.get_or_insert_with(|| kind.clone()) != &kind {
                return Err("what cannot share an evaluation did".to_owned());
            }
            working += self.working_bytes(job);
            let done = image.evaluations_done + 1;
            progress.push(Progress {
                generation: *generation,
                evaluations_done: done,
                inference_step: done,
                is_done: done == image.evaluation_count,
            });
        }
        self.check_memory(working, generations)?;
        let took = Duration::from_millis(60 + 40 * u64::try_from(generations.len()).unwrap());
        self.now += took;
        for generation in generations {
            let (job, image) = self.may_compute(*generation)?;
            let (picture, model, class) = ((job.id, image.index), job.model.clone(), job.class);
            let group = image.group.ok_or("no group")?;
            self.parks.remove(&picture);
            self.loads.remove(&model);
            self.served.insert(class, self.now);
            if *generation == generations[0] {
                let count = u32::try_from(generations.len()).unwrap();
                let seconds = took.as_secs_f64();
                self.state.curves.measured(&model, group, count, seconds);
            }
        }
        self.state.stepped(&progress, self.now);
        Ok(())
    }

    fn decode(&mut self, generation: GenerationId) -> Result<(), String> {
        let (job, image) = self.may_compute(generation)?;
        if !matches!(image.stage, Stage::Denoised | Stage::Decoding) {
            return Err("decoded too early or too late".to_owned());
        }
        if job.is_blocked && image.stage == Stage::Denoised {
            return Err("a picture was decoded that nobody takes".to_owned());
        }
        let (model, working) = (job.model.clone(), self.working_bytes(job));
        let picture = (job.id, image.index);
        self.check_memory(working, &[generation])?;
        self.parks.remove(&picture);
        self.loads.remove(&model);
        self.now += Duration::from_millis(100);
        let held = self
            .pictures
            .get_mut(&generation)
            .ok_or("nobody's picture")?;
        held.decoded += 1;
        let is_done = held.decoded == DECODER_STAGES;
        self.state.decoded(generation, is_done, self.now);
        Ok(())
    }

    fn park(&mut self, generation: GenerationId) -> Result<(), String> {
        let job = self.state.job_of(generation).ok_or("nobody's picture")?;
        let image = *job.image(generation).ok_or("nobody's picture")?;
        let picture = (job.id, image.index);
        let waits = job.is_paused
            || (job.class == Class::Background && self.state.background.blocked.is_some());
        if job.is_cancelled {
            return Err("a cancelled picture was saved".to_owned());
        }
        if self.parks.insert(picture, self.events) == Some(self.events) && !waits {
            return Err(format!(
                "parked again without an evaluation: {:?}",
                self.last
            ));
        }
        self.now += Duration::from_millis(5);
        self.parked.insert(picture, image.evaluations_done);
        self.waiting.entry(picture.0).or_default().insert(picture.1);
        self.pictures.remove(&generation);
        let back = self.state.returned(generation).ok_or("nobody's picture")?;
        if back.job != picture.0 || back.evaluations_done != image.evaluations_done {
            return Err("another picture came back".to_owned());
        }
        Ok(())
    }

    fn forget(&mut self, generation: GenerationId) -> Result<(), String> {
        let job = self.state.job_of(generation).ok_or("nobody's picture")?;
        let is_failed = job.image(generation).is_some_and(|image| image.is_failed);
        if !job.is_cancelled && !is_failed {
            return Err("a picture that somebody wants was forgotten".to_owned());
        }
        self.end(generation);
        Ok(())
    }

    fn end(&mut self, generation: GenerationId) {
        self.pictures.remove(&generation);
        if let Some(id) = self.state.ended(generation)
            && let Some(job) = self.state.job(id)
            && job.is_cancelled
            && job.images.is_empty()
        {
            self.remove(id);
        }
    }

    /// Nobody changes his mind any more, and there is room again.
    fn calm(&mut self) {
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

    fn drain(&mut self) -> Result<(), String> {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_work_goes_on_within_memory_and_comes_to_its_end(
        events in prop::collection::vec(event(), 1..80)
    ) {
        let mut world = World::new();
        for event in &events {
            if let Err(error) = world.happen(event) {
                return Err(proptest::test_runner::TestCaseError::fail(format!("{event:?}: {error}")));
            }
        }
        world.calm();
        world.drain().map_err(proptest::test_runner::TestCaseError::fail)?;
    }
}

fn plain(model: u8, images: u32, class: Class, client: u32) -> Asked {
    Asked {
        model,
        images,
        class: u8::try_from(Class::ALL.iter().position(|other| *other == class).unwrap()).unwrap(),
        client,
        side_px: 8,
        is_guided: false,
        hold_after: None,
        stay_secs: None,
    }
}

/// Interactive requests of one picture that never end; `images` of each lower class beside them, by these models. Returns
/// the longest time that each of the two classes waited.
fn flood(models: [u8; 3], hours: u64) -> [Duration; 2] {
    let mut world = World::new();
    world.arrive(&plain(models[1], 10_000, Class::Batch, 8));
    world.arrive(&plain(models[2], 10_000, Class::Background, 9));
    let begin = world.now;
    let mut longest = [Duration::ZERO; 2];
    while world.now < begin + Duration::from_secs(hours * 3600) {
        let interactive = |job: &&Job| job.class == Class::Interactive;
        while world.state.jobs.iter().filter(interactive).count() < 2 {
            let client = u32::try_from(world.next % 3).unwrap();
            world.arrive(&plain(models[0], 1, Class::Interactive, client));
            world.events += 1;
        }
        assert_eq!(world.tick(), Ok(true));
        for (class, longest) in [Class::Batch, Class::Background].iter().zip(&mut longest) {
            let last = world.served.get(class).copied().unwrap_or(begin);
            *longest = (*longest).max(world.now - last);
        }
    }
    longest
}

#[test]
fn people_without_end_starve_nobody_by_one_model() {
    let [batch, background] = flood([0, 0, 0], 2);
    assert!(batch <= Duration::from_secs(65), "{batch:?}");
    assert!(background <= Duration::from_secs(610), "{background:?}");
}

#[test]
fn people_without_end_starve_nobody_by_models_that_do_not_fit_together() {
    let [batch, background] = flood([3, 2, 1], 2);
    // A load before and one after, for each that takes its turn.
    assert!(batch <= Duration::from_secs(75), "{batch:?}");
    assert!(background <= Duration::from_secs(620), "{background:?}");
}

/// Loads that two jobs of twenty pictures each take whose models do not fit together, and the seconds of the whole.
fn two_models(class: Class, load_secs: u64) -> (u32, u64) {
    let mut world = World::new();
    world.load_time = Duration::from_secs(load_secs);
    let begin = world.now;
    world.arrive(&plain(3, 20, class, 1));
    world.arrive(&plain(2, 20, class, 2));
    world.drain().unwrap();
    (world.load_count, (world.now - begin).as_secs())
}

#[test]
fn models_that_do_not_fit_together_are_switched_when_it_is_worth_it() {
    for class in Class::ALL {
        for load_secs in [1, 5, 30] {
            let (loads, seconds) = two_models(class, load_secs);
            let loading = u64::from(loads) * load_secs;
            // The first load of each cannot be helped.
            let more = loading.saturating_sub(2 * load_secs);
            assert!(
                more * 2 <= seconds,
                "{class:?}: {loads} loads of {load_secs} s in {seconds} s"
            );
        }
    }
}
