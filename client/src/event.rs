//! What happens while a request is served.

use std::time::Duration;

use imgd_proto::v1;

use crate::request::{ImageFormat, Priority};

/// One event of a request. They come in this order: queued, loading (only when the model was not resident), then
/// for every image started, steps and image, and finished last; notices anywhere.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The request waits.
    Queued {
        /// Requests that are served before this one; 0 is next.
        position: u32,
        /// The request's own id; empty when it has none.
        request_id: String,
        /// The request's priority.
        priority: Priority,
    },
    /// The model is being read.
    Loading {
        /// The model's name.
        model: String,
        /// Share that is done, 0 to 1.
        fraction: f64,
    },
    /// An image begins; every default is filled in.
    Started(Started),
    /// One network evaluation is done.
    Step(Step),
    /// A picture is complete.
    Image(Image),
    /// Everything is done; the last event.
    Finished(Timings),
    /// Something the user should know that is no error.
    Notice {
        /// What kind: `prompt_truncated`, `prompt_empty`, `setting_ignored`, `worker_died`, `image_restarted`,
        /// `disk_full`.
        reason: String,
        /// A sentence for the user.
        message: String,
        /// The field it is about; empty for none.
        field: String,
    },
}

/// An image begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// Which image of the request, from 0.
    pub image_index: u32,
    /// Number of images of the request.
    pub image_count: u32,
    /// Network evaluations that the image takes.
    pub evaluation_count: u32,
    /// Network evaluations that are done already: more than 0 where a saved image goes on.
    pub evaluations_done: u32,
    /// The settings it is made with.
    pub settings: v1::Settings,
}

/// One network evaluation is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Which image of the request, from 0.
    pub image_index: u32,
    /// Evaluations done, 1 to `count`.
    pub index: u32,
    /// Evaluations in all; some samplers make two a step.
    pub count: u32,
    /// Denoising step the evaluation belongs to, 1 to `num_inference_steps`.
    pub inference_step: u32,
    /// Noise level after it.
    pub sigma: f64,
    /// Estimated time until the image is finished.
    pub eta: Option<Duration>,
    /// A small picture of the state, where one was asked for.
    pub preview: Option<Preview>,
}

/// A small picture of an unfinished image.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// A PNG file.
    pub png: Vec<u8>,
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
}

/// A finished picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Which image of the request, from 0.
    pub index: u32,
    /// The file, complete.
    pub bytes: Vec<u8>,
    /// The file's format.
    pub format: ImageFormat,
    /// The settings it was made with.
    pub settings: v1::Settings,
    /// SHA-256 over the model's weights, hex.
    pub model_hash: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    /// The settings as text in A1111's `parameters` form.
    pub parameters: String,
}

/// Where the time of a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Waiting in the queue.
    pub queued: Duration,
    /// Loading the model; zero when it was resident.
    pub loading: Duration,
    /// Text encoding and noise.
    pub starting: Duration,
    /// Network evaluations.
    pub stepping: Duration,
    /// Decoding and writing the picture's file.
    pub finishing: Duration,
    /// Pictures made.
    pub image_count: u32,
}

impl Timings {
    /// What the engine worked: starting, stepping and finishing.
    pub fn engine(&self) -> Duration {
        self.starting + self.stepping + self.finishing
    }
}

impl From<v1::Started> for Started {
    fn from(started: v1::Started) -> Self {
        Self {
            image_index: started.image_index,
            image_count: started.image_count,
            evaluation_count: started.evaluation_count,
            evaluations_done: started.evaluations_done,
            settings: started.settings.unwrap_or_default(),
        }
    }
}

impl From<v1::Step> for Step {
    fn from(step: v1::Step) -> Self {
        Self {
            image_index: step.image_index,
            index: step.index,
            count: step.count,
            inference_step: step.inference_step,
            sigma: step.sigma,
            eta: step.eta.and_then(|eta| Duration::try_from(eta).ok()),
            preview: step.preview.map(|preview| Preview {
                png: preview.png.into(),
                width_px: preview.width_px,
                height_px: preview.height_px,
            }),
        }
    }
}

impl From<v1::Finished> for Timings {
    fn from(finished: v1::Finished) -> Self {
        let time = |time: Option<prost_types::Duration>| {
            time.and_then(|time| Duration::try_from(time).ok())
                .unwrap_or_default()
        };
        Self {
            queued: time(finished.queued),
            loading: time(finished.loading),
            starting: time(finished.starting),
            stepping: time(finished.stepping),
            finishing: time(finished.finishing),
            image_count: finished.image_count,
        }
    }
}
