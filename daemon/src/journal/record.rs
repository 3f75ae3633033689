//! What the journal takes and gives: a job's record, its pictures, its saved generations.
//!
//! Types that hold a user's words say nothing of them in `Debug`.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use imgd_proto::v1;
use tonic::codegen::Bytes;

use super::Outcomes;
use crate::engine::ModelKey;

/// What is kept of jobs that have ended; 0 and `None` are without limit. Pictures of jobs that have not ended are not
/// counted, and the job that ended last stays whatever it weighs, unless it is too old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Pictures; a job without any counts as one.
    pub max_images: u64,
    /// Age since the job's end.
    pub max_age: Option<Duration>,
    /// Bytes of pictures and thumbnails.
    pub max_bytes: u64,
}

/// A job as it is written down.
#[derive(Clone, PartialEq)]
pub struct Record {
    /// Its name: 32 hexadecimal digits.
    pub id: String,
    /// `request_id` of its SubmitJob: no two jobs have the same.
    pub submit_key: Option<String>,
    /// The model it needs.
    pub model_key: ModelKey,
    /// What was asked for, the seed filled in. Written once, by [`super::Journal::insert`]: updates leave it.
    pub submission: Arc<v1::SubmitJobRequest>,
    /// Whether it ends with the stream that asked for it.
    pub attached: bool,
    /// Who asked.
    pub client: String,
    /// Never unspecified.
    pub priority: v1::Priority,
    /// Never unspecified.
    pub state: v1::JobState,
    /// What a paused job waits for.
    pub pause_reason: v1::PauseReason,
    /// Whether its pictures are held no more: ResumeJob said which to finish.
    pub is_released: bool,
    /// Why it failed or was cancelled.
    pub problem: Option<v1::Problem>,
    /// Pictures it makes.
    pub image_count: u32,
    /// Pictures that are finished.
    pub images_done: u32,
    /// Pictures that failed.
    pub images_failed: u32,
    /// Pictures that are held.
    pub images_held: u32,
    /// Pictures that were held and not chosen.
    pub images_dropped: u32,
    /// When it was accepted. Kept to the microsecond, as all times here.
    pub submitted: SystemTime,
    /// When its first picture was begun.
    pub started: Option<SystemTime>,
    /// When it came to its end.
    pub finished: Option<SystemTime>,
    /// Where its time went so far.
    pub timings: v1::Finished,
    /// Workers that died while they were at it.
    pub worker_deaths: u32,
    /// Cursor of its latest event.
    pub cursor: u64,
}

impl Record {
    /// Whether nothing more happens to it by itself.
    pub fn is_final(&self) -> bool {
        is_final(self.state)
    }
}

/// Whether nothing more happens by itself to a job in this state.
pub(super) fn is_final(state: v1::JobState) -> bool {
    use v1::JobState::{Cancelled, Failed, Succeeded};
    matches!(state, Succeeded | Failed | Cancelled)
}

impl fmt::Debug for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Record")
            .field("id", &self.id)
            .field("state", &self.state)
            .field("image_count", &self.image_count)
            .field("images_done", &self.images_done)
            .finish_non_exhaustive()
    }
}

/// What became of a new job.
#[derive(Debug, Clone, PartialEq)]
pub enum Inserted {
    /// It is on disk.
    New,
    /// One of that `submit_key`, or of that id, was there already; nothing was written.
    Existed(Box<Record>),
}

/// A generation as it was saved.
#[derive(Clone, PartialEq)]
pub struct SavedImage {
    /// Which image of the job, from 0.
    pub index: u32,
    /// Network evaluations done.
    pub evaluations_done: u32,
    /// Network evaluations in all.
    pub evaluation_count: u32,
    /// What the engine saved.
    pub bytes: Bytes,
    /// What it looks like so far.
    pub preview: Option<v1::Preview>,
}

impl fmt::Debug for SavedImage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            index,
            evaluations_done,
            evaluation_count,
            bytes,
            ..
        } = self;
        let length = bytes.len();
        write!(
            formatter,
            "SavedImage({index}: {evaluations_done}/{evaluation_count}, {length} bytes)"
        )
    }
}

/// A finished picture.
#[derive(Clone)]
pub struct FinishedImage {
    /// The file.
    pub bytes: Bytes,
    /// A small JPEG of it.
    pub thumbnail: Bytes,
    /// What it is. Its format decides the name of the file in the library.
    pub metadata: v1::ImageMetadata,
}

impl fmt::Debug for FinishedImage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FinishedImage({} bytes)", self.bytes.len())
    }
}

/// A job that has not ended, as it is found at the start.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The job; its counts are those of `images`.
    pub record: Record,
    /// Pictures that are done, failed, held or dropped.
    pub images: Outcomes,
    /// Generations that were in flight, in order of index. Those that are held are not here: they may be thousands;
    /// see [`super::Journal::saved`].
    pub saved: Vec<SavedImage>,
}

/// What a journal says at the start.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// Number of times the journal was opened, this one included.
    pub life: u32,
    /// Every job that has not ended, oldest first.
    pub jobs: Vec<Recorded>,
    /// What was measured.
    pub curves: Vec<CurvePoint>,
}

/// What one step of so many pictures together takes.
#[derive(Debug, Clone, PartialEq)]
pub struct CurvePoint {
    /// SHA-256 over the model's weights, hex.
    pub model_hash: String,
    /// Width of the pictures in pixels.
    pub width_px: u32,
    /// Height of the pictures in pixels.
    pub height_px: u32,
    /// Whether the network runs twice a picture.
    pub is_guided: bool,
    /// Threads the engine computes with.
    pub threads: u32,
    /// The program that measured, and the numbers it computed with.
    pub build_id: String,
    /// Pictures stepped together.
    pub batch_size: u32,
    /// Time of that step in seconds.
    pub seconds: f64,
}
