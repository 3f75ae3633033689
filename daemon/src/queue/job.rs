//! Jobs and their pictures as the queue knows them: who waits for what, and how far it is.

use std::time::Instant;

use super::Fingerprint;
use crate::{
    engine::{GenerationId, ModelKey},
    keep_alive::KeepAlive,
};

/// Names a job within the daemon; later jobs have larger numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// Names who asked: jobs of one client take turns with those of others, not with each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// How urgent a job is; the most urgent comes first in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Somebody waits for it.
    Interactive,
    /// It may take its time.
    Batch,
    /// Only while nothing else wants the machine.
    Background,
}

impl Class {
    /// The most urgent first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Batch, Self::Background];
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
    /// How much longer the sides become in a second pass, where there is one.
    pub hires_scale: Option<f64>,
    /// Memory that its ControlNets will take, in bytes, as long as none of its pictures was begun: then they count among the
    /// model's.
    pub controls_bytes: u64,
    /// How urgent it is.
    pub class: Class,
    /// Who asked.
    pub client: ClientId,
    /// When it came.
    pub arrived: Instant,
    /// When a picture of it last made an evaluation.
    pub served: Option<Instant>,
    /// Pictures that are to be begun, or restored; those in flight and those that are done do not count.
    pub images_left: u32,
    /// The pictures in flight.
    pub images: Vec<Image>,
    /// What its pictures need to share their first evaluation, once one of them was begun.
    pub group: Option<Group>,
    /// The denoising step after which each picture is held.
    pub hold_after: Option<u32>,
    /// Whether its turn has come.
    pub is_running: bool,
    /// Nobody wants its result any more.
    pub is_cancelled: bool,
    /// It waits for something else than its turn; its pictures in flight are parked.
    pub is_paused: bool,
    /// Its reader is so far behind that nothing more is made for it.
    pub is_blocked: bool,
    /// Finished pictures of it are on their way into the library; it is not complete before they are there.
    pub is_storing: bool,
    /// How long its model stays afterwards.
    pub keep_alive: KeepAlive,
}

impl Job {
    /// An interactive job of one picture of the model's own size.
    pub fn new(id: JobId, model: ModelKey, arrived: Instant) -> Self {
        Self {
            id,
            model,
            fingerprint: None,
            only_loads: false,
            width_px: None,
            height_px: None,
            hires_scale: None,
            controls_bytes: 0,
            class: Class::Interactive,
            client: ClientId::default(),
            arrived,
            served: None,
            images_left: 1,
            images: Vec::new(),
            group: None,
            hold_after: None,
            is_running: false,
            is_cancelled: false,
            is_paused: false,
            is_blocked: false,
            is_storing: false,
            keep_alive: KeepAlive::Forever,
        }
    }

    /// The picture in flight of that generation.
    pub fn image(&self, generation: GenerationId) -> Option<&Image> {
        self.images
            .iter()
            .find(|image| image.generation == generation)
    }
}

/// A picture in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Its generation in the worker.
    pub generation: GenerationId,
    /// Which of the job's, from 0.
    pub index: u32,
    /// How far it is.
    pub stage: Stage,
    /// Evaluations done.
    pub evaluations_done: u32,
    /// Evaluations it takes.
    pub evaluation_count: u32,
    /// Whether its state is to be saved before its next evaluation.
    pub is_save_due: bool,
    /// Whether it is as far as its job's `hold_after`.
    pub is_hold_due: bool,
    /// Whether it cannot be made; it is forgotten next.
    pub is_failed: bool,
    /// It shares no evaluation with others before it has done so many: the worker may have died of it.
    pub alone_until: u32,
    /// What it needs to share an evaluation, in the pass that it is in.
    pub group: Option<Group>,
    /// The pass that is still to come.
    pub second: Option<SecondPass>,
    /// Its place in its class's order of service; see [`super::Accounts`].
    pub start_tag: u64,
}

impl Image {
    /// What it needs to share its next evaluation; `None` where it shares none.
    pub fn shared_group(&self) -> Option<Group> {
        let is_alone = self.evaluations_done < self.alone_until;
        self.group.filter(|_| !is_alone)
    }

    /// It has made so many evaluations. The next one may be of another pass, shared with others than before.
    pub(super) fn advance(&mut self, evaluations_done: u32) {
        self.evaluations_done = evaluations_done;
        let due = self
            .second
            .take_if(|second| evaluations_done >= second.after);
        self.group = due.map(|second| second.group).or(self.group);
    }

    /// What is left to do, and `decoding` evaluations more, in pixel-evaluations.
    pub(super) fn work_left(&self, decoding: u32) -> u64 {
        let left = self.evaluation_count.saturating_sub(self.evaluations_done);
        let (now, later) = match self.second {
            None => (left.saturating_add(decoding), 0),
            Some(second) => {
                let now = second.after.saturating_sub(self.evaluations_done);
                let later = left.saturating_sub(now).saturating_add(decoding);
                (now, second.group.work(later))
            }
        };
        self.group
            .map_or(0, |group| group.work(now))
            .saturating_add(later)
    }
}

/// The second pass of a picture, at a larger size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondPass {
    /// Evaluations of the first.
    pub after: u32,
    /// What it needs to share an evaluation then.
    pub group: Group,
}

/// How far a picture in flight is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Evaluations are left.
    Denoising,
    /// All evaluations are made.
    Denoised,
    /// Some stages of the decoder are made: it holds as much memory as decoding takes.
    Decoding,
    /// Its pixels are there; its file is not.
    Decoded,
}

/// What generations of one model need to have in common to share an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// Width of the picture in pixels.
    pub width_px: u32,
    /// Height of the picture in pixels.
    pub height_px: u32,
    /// Whether the network runs for the negative prompt too.
    pub is_guided: bool,
    /// Stands for the adapters and their weights; 0 without any.
    pub adapters: u64,
}

impl Group {
    /// So many evaluations of one picture, in pixel-evaluations; with guidance the network runs twice in each.
    pub fn work(self, evaluations: u32) -> u64 {
        let runs = u64::from(evaluations) * if self.is_guided { 2 } else { 1 };
        u64::from(self.width_px)
            .saturating_mul(u64::from(self.height_px))
            .saturating_mul(runs)
    }
}

/// What the engine says of a picture that was begun or restored.
#[derive(Debug, Clone, Copy)]
pub struct Beginning {
    /// Its generation in the worker.
    pub generation: GenerationId,
    /// Which of the job's, from 0.
    pub index: u32,
    /// Evaluations that a restored one has done; else 0.
    pub evaluations_done: u32,
    /// Evaluations it takes.
    pub evaluation_count: u32,
    /// What it needs to share an evaluation, in its first pass.
    pub group: Group,
    /// Its second pass, where it has one; it may be in it.
    pub second: Option<SecondPass>,
    /// See [`Image::alone_until`].
    pub alone_until: u32,
}

/// One generation's evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Which.
    pub generation: GenerationId,
    /// Evaluations done.
    pub evaluations_done: u32,
    /// Denoising step, from 1, that the evaluation belongs to.
    pub inference_step: u32,
    /// Whether it was the last.
    pub is_done: bool,
}

/// A picture that went back to the waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Returned {
    /// Its job.
    pub job: JobId,
    /// The generation it was.
    pub generation: GenerationId,
    /// Which of the job's, from 0.
    pub index: u32,
    /// Evaluations it had done.
    pub evaluations_done: u32,
}
