//! The state that decisions are made from, and how each thing that happens changes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use imgd_proto::limits::enlarged_px;

use super::{
    Accounts, Beginning, Class, ClientId, Curves, Image, Job, JobId, Progress, Returned, Stage,
    Starving, Tick,
    order::{is_active, is_starving, is_wanted, may_begin, may_go_on},
    residency::is_ready,
};
use crate::{
    engine::{GenerationId, ModelKey},
    keep_alive::KeepAlive,
};

/// What a disk gives in bytes a second, as long as a model's load was not measured.
const DISK_BYTES_PER_SECOND: u64 = 1_000_000_000;

/// Changes when any file of a model changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub u64);

/// Decoding counts as so many evaluations.
const DECODING: u32 = 1;

/// Everything a decision depends on.
#[derive(Debug, Clone)]
pub struct State {
    /// The process that computes.
    pub worker: WorkerState,
    /// Jobs in the order in which they came.
    pub jobs: Vec<Job>,
    /// Models in the worker's memory.
    pub models: Vec<Resident>,
    /// Models that somebody asked about, oldest first.
    pub inquiries: Vec<ModelKey>,
    /// What is known of models from their headers.
    pub known: BTreeMap<ModelKey, Known>,
    /// Memory that models which are not resident may take together with all pictures in flight, in bytes: what there
    /// would be if no picture was in flight.
    pub available_bytes: u64,
    /// Whether background work may be done.
    pub background: Background,
    /// What sharing an evaluation costs.
    pub curves: Curves,
    /// What each client has been given.
    pub accounts: Accounts,
    /// Which lower class has waited too long, and which picture has its turn for it.
    pub starving: Starving,
    /// What loading each model took.
    pub load_times: BTreeMap<ModelKey, Duration>,
}

/// Whether background work may be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Background {
    /// Why it may not, in words that follow "background work waits: "; its pictures are parked.
    pub blocked: Option<&'static str>,
    /// Not before this moment: the pause of its duty cycle. Its pictures stay where they are.
    pub from: Option<Instant>,
}

impl Background {
    /// Whether it may be done now.
    pub fn is_allowed(&self, now: Instant) -> bool {
        self.blocked.is_none() && self.from.is_none_or(|from| from <= now)
    }
}

/// Whether there is a process that computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerState {
    /// None; a new one may be started from this moment on.
    Absent {
        /// `None`: at once.
        retry_at: Option<Instant>,
    },
    /// There is one.
    Present {
        /// When it last had something to do.
        used: Instant,
    },
}

/// A model in the worker's memory.
#[derive(Debug, Clone)]
pub struct Resident {
    /// Which.
    pub key: ModelKey,
    /// The files it was read from.
    pub fingerprint: Fingerprint,
    /// Memory it takes.
    pub memory_bytes: u64,
    /// When it was last used.
    pub used: Instant,
    /// How long it stays.
    pub keep_alive: KeepAlive,
    /// Whether somebody asked to unload it.
    pub is_unwanted: bool,
}

/// What is known of a model without loading it.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The files it was read from.
    pub fingerprint: Fingerprint,
    /// Memory its weights take.
    pub weights_bytes: u64,
    /// Memory a picture takes besides them, in bytes for each of its pixels.
    pub working_bytes_per_pixel: u64,
    /// Width of a picture whose request does not say, in pixels.
    pub width_px: u32,
    /// Height of a picture whose request does not say, in pixels.
    pub height_px: u32,
}

impl Known {
    /// Memory that one picture of the model's own size takes besides the weights.
    pub fn own_working_bytes(&self) -> u64 {
        u64::from(self.width_px)
            .saturating_mul(u64::from(self.height_px))
            .saturating_mul(self.working_bytes_per_pixel)
    }

    /// Memory that one picture of the job takes besides the weights; nothing where the job only loads.
    pub fn working_bytes(&self, job: &Job) -> u64 {
        if job.only_loads {
            return 0;
        }
        self.pixels(job)
            .saturating_mul(self.working_bytes_per_pixel)
    }

    /// Pixels of one picture of the job.
    pub fn pixels(&self, job: &Job) -> u64 {
        let (width_px, height_px) = self.size_px(job);
        u64::from(width_px).saturating_mul(u64::from(height_px))
    }

    /// Width and height of the job's finished pictures in pixels, before a second pass's are rounded down.
    pub fn size_px(&self, job: &Job) -> (u32, u32) {
        let last = |side_px| {
            job.hires_scale
                .map_or(side_px, |scale| enlarged_px(side_px, scale))
        };
        (
            last(job.width_px.unwrap_or(self.width_px)),
            last(job.height_px.unwrap_or(self.height_px)),
        )
    }
}

impl State {
    /// Nothing waits and nothing is resident.
    pub fn new() -> Self {
        Self {
            worker: WorkerState::Absent { retry_at: None },
            jobs: Vec::new(),
            models: Vec::new(),
            inquiries: Vec::new(),
            known: BTreeMap::new(),
            available_bytes: 0,
            background: Background::default(),
            curves: Curves::default(),
            accounts: Accounts::default(),
            starving: Starving::default(),
            load_times: BTreeMap::new(),
        }
    }

    /// The job of that name.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == id)
    }

    /// The job of that name, to change.
    pub fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.id == id)
    }

    /// The job that a generation belongs to.
    pub fn job_of(&self, generation: GenerationId) -> Option<&Job> {
        self.jobs.iter().find(|job| job.image(generation).is_some())
    }

    /// A picture in flight.
    pub fn image(&self, generation: GenerationId) -> Option<&Image> {
        self.jobs.iter().find_map(|job| job.image(generation))
    }

    /// All pictures in flight, with their jobs.
    pub fn in_flight(&self) -> impl Iterator<Item = (&Job, &Image)> {
        self.jobs
            .iter()
            .flat_map(|job| job.images.iter().map(move |image| (job, image)))
    }

    /// The model in memory.
    pub fn resident(&self, key: &ModelKey) -> Option<&Resident> {
        self.models.iter().find(|model| model.key == *key)
    }

    /// Jobs whose turn has not come.
    pub fn waiting(&self) -> impl Iterator<Item = &Job> {
        self.jobs
            .iter()
            .filter(|job| !job.is_running && !job.is_cancelled)
    }

    /// Whether any job that is still wanted needs the model. One that is paused, or in the background as long as that
    /// has to wait, does not once its pictures are parked.
    pub fn is_needed(&self, key: &ModelKey) -> bool {
        let wants = |job: &Job| {
            let is_background = job.class == Class::Background && self.background.blocked.is_some();
            !(job.is_cancelled || job.is_paused || is_background)
        };
        self.jobs
            .iter()
            .any(|job| job.model == *key && (!job.images.is_empty() || wants(job)))
    }

    /// Pixels of one picture of the job; 0 as long as its model is not known.
    pub fn pixels(&self, job: &Job) -> u64 {
        self.known
            .get(&job.model)
            .map_or(0, |known| known.pixels(job))
    }

    /// What loading the model is likely to take.
    pub fn load_estimate(&self, key: &ModelKey) -> Duration {
        self.load_times.get(key).copied().unwrap_or_else(|| {
            let bytes = self.known.get(key).map_or(0, |known| known.weights_bytes);
            Duration::from_millis(bytes / (DISK_BYTES_PER_SECOND / 1000))
        })
    }

    /// A job came.
    pub fn add(&mut self, job: Job) {
        let now = job.arrived;
        let clients: BTreeSet<ClientId> = self
            .jobs
            .iter()
            .filter(|other| other.class == job.class && is_active(self, other, now))
            .map(|other| other.client)
            .collect();
        if clients.is_empty() {
            self.accounts.idle(job.class);
        }
        if !clients.contains(&job.client) {
            let virtual_time = self.virtual_time(job.class, now);
            self.accounts.came(job.class, job.client, virtual_time);
        }
        self.jobs.push(job);
    }

    /// The start tag in service of a class: the least of its pictures that go on, and of clients whose next one could be
    /// begun at once.
    pub(super) fn virtual_time(&self, class: Class, now: Instant) -> u64 {
        let mut least: Option<u64> = None;
        let mut last = None;
        for job in self.jobs.iter().filter(|job| job.class == class) {
            if !is_wanted(self, job, now) {
                continue;
            }
            let images = job.images.iter().filter(|image| may_go_on(job, image));
            least = least
                .into_iter()
                .chain(images.map(|image| image.start_tag))
                .min();
            if last != Some(job.client) && may_begin(self, job) && is_ready(self, job) {
                last = Some(job.client);
                let fixed = self.accounts.fixed_tag(class, job.client);
                least = least.into_iter().chain(fixed).min();
            }
        }
        least.unwrap_or_else(|| self.accounts.floor(class))
    }

    /// Fixes the place of clients that wait, before something changes it.
    fn settle(&mut self, now: Instant) {
        let active = self.jobs.iter().filter(|job| is_active(self, job, now));
        let waiting: BTreeSet<_> = active.map(|job| (job.class, job.client)).collect();
        let times = Class::ALL.map(|class| self.virtual_time(class, now));
        self.accounts.settle(&waiting, |class| match class {
            Class::Interactive => times[0],
            Class::Batch => times[1],
            Class::Background => times[2],
        });
    }

    /// Background work may be done, or not any more.
    pub fn allow_background(&mut self, background: Background, now: Instant) {
        if self.background.blocked.is_some() && background.blocked.is_none() {
            // It begins to wait now.
            self.starving.served(Class::Background, now);
        }
        self.background = background;
    }

    /// A worker was started.
    pub fn worker_started(&mut self, now: Instant) {
        self.worker = WorkerState::Present { used: now };
    }

    /// The worker is gone, with all that it held: pictures in flight wait again. Returns those.
    pub fn worker_gone(&mut self, retry_at: Option<Instant>) -> Vec<Returned> {
        self.worker = WorkerState::Absent { retry_at };
        self.models.clear();
        let generations: Vec<_> = self
            .in_flight()
            .map(|(_, image)| image.generation)
            .collect();
        generations
            .into_iter()
            .filter_map(|generation| self.returned(generation))
            .collect()
    }

    /// The worker did something.
    pub fn worker_used(&mut self, now: Instant) {
        if let WorkerState::Present { used } = &mut self.worker {
            *used = now;
        }
    }

    /// A model was loaded; it took so long.
    pub fn loaded(&mut self, model: Resident, took: Duration) {
        self.unloaded(&model.key);
        self.available_bytes = self.available_bytes.saturating_sub(model.memory_bytes);
        self.load_times.insert(model.key.clone(), took);
        self.models.push(model);
    }

    /// A model takes more memory than before, or less.
    pub fn takes(&mut self, key: &ModelKey, memory_bytes: u64) {
        if let Some(model) = self.models.iter_mut().find(|model| model.key == *key) {
            self.available_bytes = self
                .available_bytes
                .saturating_add(model.memory_bytes)
                .saturating_sub(memory_bytes);
            model.memory_bytes = memory_bytes;
        }
    }

    /// A model was unloaded.
    pub fn unloaded(&mut self, key: &ModelKey) {
        if let Some(place) = self.models.iter().position(|model| model.key == *key) {
            let model = self.models.remove(place);
            self.available_bytes = self.available_bytes.saturating_add(model.memory_bytes);
        }
    }

    /// A job's next picture was begun or restored.
    pub fn begun(&mut self, id: JobId, beginning: Beginning, now: Instant) {
        self.settle(now);
        let Some(job) = self.job(id) else { return };
        let (class, client) = (job.class, job.client);
        let mut image = Image {
            generation: beginning.generation,
            index: beginning.index,
            stage: if beginning.evaluations_done < beginning.evaluation_count {
                Stage::Denoising
            } else {
                Stage::Denoised
            },
            evaluations_done: 0,
            evaluation_count: beginning.evaluation_count,
            is_save_due: false,
            is_hold_due: false,
            is_failed: false,
            alone_until: beginning.alone_until,
            group: Some(beginning.group),
            second: beginning.second,
            start_tag: 0,
        };
        image.advance(beginning.evaluations_done);
        let work = image.work_left(DECODING);
        let virtual_time = self.virtual_time(class, now);
        image.start_tag = self.accounts.charge(class, client, virtual_time, work);
        if let Some(job) = self.job_mut(id) {
            job.images_left = job.images_left.saturating_sub(1);
            job.group = Some(beginning.group);
            job.images.push(image);
        }
    }

    /// That is what is done next. Where it is the turn of a class that waited too long, its picture has it to its end.
    pub fn decided(&mut self, tick: &Tick, now: Instant) {
        if matches!(tick, Tick::Load(_) | Tick::Unload(_)) {
            // What is resident moves the virtual time: two clients without a tag would push each other out in turn.
            self.settle(now);
        }
        let leader = match tick {
            Tick::Step(generations) => generations.first().copied(),
            Tick::Decode(generation) => Some(*generation),
            _ => None,
        };
        let Some((leader, job)) = leader.and_then(|leader| Some((leader, self.job_of(leader)?)))
        else {
            return;
        };
        let is_above = |other: &Job| other.class < job.class && is_active(self, other, now);
        let is_turn = self.jobs.iter().any(is_above) && is_starving(self, job.class, now);
        self.starving.led(leader, is_turn);
    }

    /// Generations made an evaluation together, the one it was made for first.
    pub fn stepped(&mut self, progress: &[Progress], now: Instant) {
        self.settle(now);
        for made in progress {
            let Some(job) = self
                .jobs
                .iter_mut()
                .find(|job| job.image(made.generation).is_some())
            else {
                continue;
            };
            job.served = Some(now);
            if let Some(model) = self.models.iter_mut().find(|model| model.key == job.model) {
                model.used = now;
            }
            self.starving.served(job.class, now);
            let hold_after = job.hold_after;
            let images = job.images.iter_mut();
            for image in images.filter(|image| image.generation == made.generation) {
                image.advance(made.evaluations_done);
                if made.is_done {
                    image.stage = Stage::Denoised;
                }
                image.is_hold_due =
                    hold_after.is_some_and(|step| made.is_done || made.inference_step >= step);
            }
        }
    }

    /// A stage of the decoder was made for a generation.
    pub fn decoded(&mut self, generation: GenerationId, is_done: bool, now: Instant) {
        if let Some(class) = self.job_of(generation).map(|job| job.class) {
            self.starving.served(class, now);
        }
        self.change(generation, |image| {
            image.stage = if is_done {
                Stage::Decoded
            } else {
                Stage::Decoding
            };
        });
    }

    /// A picture's state is to be saved before its next evaluation, or was.
    pub fn save_due(&mut self, generation: GenerationId, is_due: bool) {
        self.change(generation, |image| image.is_save_due = is_due);
    }

    /// A picture cannot be made; its generation is forgotten next.
    pub fn failed(&mut self, generation: GenerationId) {
        self.change(generation, |image| image.is_failed = true);
    }

    /// A generation is no more: finished, forgotten, failed or held. Returns its job.
    pub fn ended(&mut self, generation: GenerationId) -> Option<JobId> {
        let job = self
            .jobs
            .iter_mut()
            .find(|job| job.image(generation).is_some())?;
        let place = job
            .images
            .iter()
            .position(|image| image.generation == generation)?;
        let image = job.images.remove(place);
        let (id, class, client) = (job.id, job.class, job.client);
        let not_made = match image.stage {
            Stage::Decoded => 0,
            _ => image.work_left(DECODING),
        };
        self.accounts.refund(class, client, not_made);
        self.accounts.ended(class, image.start_tag);
        self.starving.ended(generation);
        Some(id)
    }

    /// A generation is no more, and its picture waits again: parked, or lost with its worker.
    pub fn returned(&mut self, generation: GenerationId) -> Option<Returned> {
        let image = *self.image(generation)?;
        let job = self.ended(generation)?;
        if let Some(job) = self.job_mut(job) {
            job.images_left += 1;
        }
        Some(Returned {
            job,
            generation,
            index: image.index,
            evaluations_done: image.evaluations_done,
        })
    }

    /// A job is no more; its model's stay begins.
    pub fn remove(&mut self, id: JobId, now: Instant) {
        let Some(place) = self.jobs.iter().position(|job| job.id == id) else {
            return;
        };
        let generations: Vec<_> = self.jobs[place]
            .images
            .iter()
            .map(|image| image.generation)
            .collect();
        for generation in generations {
            self.ended(generation);
        }
        let job = self.jobs.remove(place);
        if !job.is_running {
            return;
        }
        if let Some(model) = self.models.iter_mut().find(|model| model.key == job.model) {
            model.used = now;
            model.keep_alive = job.keep_alive;
        }
    }

    fn change(&mut self, generation: GenerationId, change: impl FnOnce(&mut Image)) {
        let mut images = self.jobs.iter_mut().flat_map(|job| job.images.iter_mut());
        if let Some(image) = images.find(|image| image.generation == generation) {
            change(image);
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}
