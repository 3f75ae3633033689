//! The decision what to do next: a pure function.
//!
//! Here is what is done at once whoever is first: what was cancelled, paused or held. Who is first is in `order`, who
//! shares its evaluation in `batch`, what has to be in memory for it in `residency`.

use std::time::Instant;

use super::{Class, Job, JobId, Stage, State, WorkerState, batch, order, residency};
use crate::engine::{GenerationId, ModelKey};

/// What to do next. Each is done before the next decision is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tick {
    /// Nothing, until something happens or this moment comes.
    Wait {
        /// `None`: no moment is known.
        until: Option<Instant>,
    },
    /// Start a worker.
    StartWorker,
    /// End the worker: the last model in it is not needed any more, and so its memory is free for good.
    EndWorker,
    /// Forget a picture in flight that is not wanted any more, or cannot be made.
    Forget(GenerationId),
    /// Read a model's headers.
    Inspect(ModelKey),
    /// Look whether the files of a job's model have changed.
    Look(JobId),
    /// Unload a model.
    Unload(ModelKey),
    /// Load the model that this job needs.
    Load(JobId),
    /// Refuse the job: its model, or its picture besides the model, does not fit.
    Refuse {
        /// Which.
        job: JobId,
        /// Memory it needs, in bytes.
        need_bytes: u64,
        /// Memory there is, in bytes.
        have_bytes: u64,
    },
    /// Nothing is left to do for this job.
    Complete(JobId),
    /// Begin or restore the job's next picture.
    Begin(JobId),
    /// One network evaluation for all of these together; the one it is made for comes first.
    Step(Vec<GenerationId>),
    /// One stage of the decoder.
    Decode(GenerationId),
    /// Write the decoded picture's file.
    Finish(GenerationId),
    /// Save the generation; it goes on.
    Save(GenerationId),
    /// Save the generation and forget it in the worker; its picture waits again.
    Park(GenerationId),
    /// Save the generation and forget it in the worker; its picture is held.
    Hold(GenerationId),
}

/// Decides what to do next.
///
/// The most urgent class goes first, in it the client that has been given least, of its jobs the oldest; pictures that
/// can share an evaluation do so where that pays. What waits for a reader holds nobody else up.
pub fn pick(state: &State, now: Instant) -> Tick {
    if let Some(job) = state.jobs.iter().find(|job| is_complete(state, job)) {
        return Tick::Complete(job.id);
    }
    let lead = order::lead(state, now);
    if let WorkerState::Absent { retry_at } = state.worker {
        return match (lead.is_some() || !state.inquiries.is_empty(), retry_at) {
            (false, _) => residency::rest(state, now),
            (true, Some(moment)) if moment > now => Tick::Wait {
                until: Some(moment),
            },
            (true, _) => Tick::StartWorker,
        };
    }
    if let Some(tick) = put_away(state) {
        return tick;
    }
    if let Some(model) = state.inquiries.first() {
        return Tick::Inspect(model.clone());
    }
    if let Some(tick) = residency::expired(state, now) {
        return tick;
    }
    let Some(lead) = lead else {
        return residency::rest(state, now);
    };
    let job = lead.candidate.job;
    let Some(image) = lead.candidate.image else {
        return residency::begin(state, job);
    };
    match image.stage {
        Stage::Denoising => batch::step(state, &lead, image, now),
        Stage::Denoised if image.is_save_due => Tick::Save(image.generation),
        Stage::Denoised | Stage::Decoding => {
            let need_bytes = residency::working_bytes(state, job);
            residency::make_room(state, need_bytes, &job.model, Some(image.generation))
                .unwrap_or(Tick::Decode(image.generation))
        }
        Stage::Decoded => Tick::Finish(image.generation),
    }
}

/// Whether nothing is left to do for the job. One that only loads is complete as soon as its model is there: before
/// others can push it out again.
fn is_complete(state: &State, job: &Job) -> bool {
    let is_made = if job.only_loads {
        job.fingerprint.is_some() && residency::is_ready(state, job)
    } else {
        job.images_left == 0 && job.images.is_empty()
    };
    is_made && !job.is_cancelled && !job.is_paused && !job.is_storing
}

/// A picture that leaves the worker before anything else is done: cancelled ones are forgotten, those of paused jobs
/// and of background work that has to wait are parked, and held ones are held.
fn put_away(state: &State) -> Option<Tick> {
    let (mut parked, mut held) = (None, None);
    for (job, image) in state.in_flight() {
        let waits = job.class == Class::Background && state.background.blocked.is_some();
        if job.is_cancelled || image.is_failed {
            return Some(Tick::Forget(image.generation));
        } else if job.is_paused || waits {
            parked = parked.or(Some(Tick::Park(image.generation)));
        } else if image.is_hold_due {
            held = held.or(Some(Tick::Hold(image.generation)));
        }
    }
    parked.or(held)
}
