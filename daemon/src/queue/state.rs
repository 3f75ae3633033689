//! The state that decisions are made from, and how each thing that happens changes it.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    engine::{GenerationId, ModelKey},
    keep_alive::KeepAlive,
};

/// Names a job within the daemon; later jobs have larger numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// Changes when any file of a model changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub u64);

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
    /// Memory that a new model and its pictures may take, in bytes.
    pub available_bytes: u64,
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

/// A request at work or in wait.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// The model it needs.
    pub model: ModelKey,
    /// The state of the model's files, once looked at.
    pub fingerprint: Option<Fingerprint>,
    /// Whether the job is done once its model is in memory.
    pub only_loads: bool,
    /// Size of its pictures in pixels; `None` is the model's own.
    pub width_px: Option<u32>,
    /// See [`Job::width_px`].
    pub height_px: Option<u32>,
    /// Pictures that have not been begun.
    pub images_left: u32,
    /// The picture in flight.
    pub image: Option<Image>,
    /// Whether its turn has come.
    pub is_running: bool,
    /// Nobody wants its result any more.
    pub is_cancelled: bool,
    /// Its reader is so far behind that nothing more is made for it.
    pub is_blocked: bool,
    /// How long its model stays afterwards.
    pub keep_alive: KeepAlive,
}

/// A picture in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Its generation in the worker.
    pub generation: GenerationId,
    /// Whether all evaluations are made.
    pub is_denoised: bool,
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
    fn pixels(&self, job: &Job) -> u64 {
        u64::from(job.width_px.unwrap_or(self.width_px))
            .saturating_mul(u64::from(job.height_px.unwrap_or(self.height_px)))
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
        self.jobs.iter().find(|job| {
            job.image
                .is_some_and(|image| image.generation == generation)
        })
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

    /// Whether any job that is still wanted needs the model.
    pub fn is_needed(&self, key: &ModelKey) -> bool {
        self.jobs
            .iter()
            .any(|job| job.model == *key && (!job.is_cancelled || job.image.is_some()))
    }

    /// Pixels of one picture of the job; 0 as long as its model is not known.
    pub fn pixels(&self, job: &Job) -> u64 {
        self.known
            .get(&job.model)
            .map_or(0, |known| known.pixels(job))
    }

    /// A worker was started.
    pub fn worker_started(&mut self, now: Instant) {
        self.worker = WorkerState::Present { used: now };
    }

    /// The worker is gone, with all that it held. Returns the jobs that lose a picture.
    pub fn worker_gone(&mut self, retry_at: Option<Instant>) -> Vec<JobId> {
        self.worker = WorkerState::Absent { retry_at };
        self.models.clear();
        self.jobs
            .iter_mut()
            .filter_map(|job| job.image.take().map(|_| job.id))
            .collect()
    }

    /// The worker did something.
    pub fn worker_used(&mut self, now: Instant) {
        if let WorkerState::Present { used } = &mut self.worker {
            *used = now;
        }
    }

    /// A model was loaded.
    pub fn loaded(&mut self, model: Resident) {
        self.models.retain(|other| other.key != model.key);
        self.models.push(model);
    }

    /// A model was unloaded.
    pub fn unloaded(&mut self, key: &ModelKey) {
        self.models.retain(|model| model.key != *key);
    }

    /// A job's next picture was begun.
    pub fn begun(&mut self, id: JobId, generation: GenerationId) {
        if let Some(job) = self.job_mut(id) {
            job.images_left = job.images_left.saturating_sub(1);
            job.image = Some(Image {
                generation,
                is_denoised: false,
            });
        }
    }

    /// A generation made its last evaluation.
    pub fn denoised(&mut self, generation: GenerationId) {
        let images = self.jobs.iter_mut().filter_map(|job| job.image.as_mut());
        for image in images.filter(|image| image.generation == generation) {
            image.is_denoised = true;
        }
    }

    /// A generation is no more. Returns its job.
    pub fn ended(&mut self, generation: GenerationId) -> Option<JobId> {
        let job = self.jobs.iter_mut().find(|job| {
            job.image
                .is_some_and(|image| image.generation == generation)
        })?;
        job.image = None;
        Some(job.id)
    }

    /// A job is no more; its model's stay begins.
    pub fn remove(&mut self, id: JobId, now: Instant) {
        let Some(place) = self.jobs.iter().position(|job| job.id == id) else {
            return;
        };
        let job = self.jobs.remove(place);
        if !job.is_running {
            return;
        }
        if let Some(model) = self.models.iter_mut().find(|model| model.key == job.model) {
            model.used = now;
            model.keep_alive = job.keep_alive;
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}
