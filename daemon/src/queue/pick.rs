//! The decision what to do next: a pure function.

use std::time::{Duration, Instant};

use super::{Job, JobId, Stage, State, WorkerState};
use crate::engine::{GenerationId, ModelKey};

/// A worker that holds no model is ended after this long; a user who asks about a model often draws with it next.
const EMPTY_WORKER_STAY: Duration = Duration::from_secs(10);

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
    /// Forget the picture in flight of a cancelled job.
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
/// The job whose picture is in flight goes on; else the oldest job that can go on does. What waits for a reader holds
/// nobody else up. Models that nothing needs go when their time is over, and the least recently used go first when a
/// new one needs their room.
pub fn pick(state: &State, now: Instant) -> Tick {
    let next = next_job(state);
    if let WorkerState::Absent { retry_at } = state.worker {
        return match (next.is_some() || !state.inquiries.is_empty(), retry_at) {
            (false, _) => Tick::Wait { until: None },
            (true, Some(moment)) if moment > now => Tick::Wait {
                until: Some(moment),
            },
            (true, _) => Tick::StartWorker,
        };
    }
    let cancelled = state.jobs.iter().filter(|job| job.is_cancelled);
    if let Some(image) = cancelled.flat_map(|job| &job.images).next() {
        return Tick::Forget(image.generation);
    }
    if let Some(model) = state.inquiries.first() {
        return Tick::Inspect(model.clone());
    }
    let expired = state.models.iter().find(|model| {
        !state.is_needed(&model.key)
            && (model.is_unwanted || expiry(model).is_some_and(|end| end <= now))
    });
    if let Some(model) = expired {
        return unload(state, &model.key);
    }
    next.map_or_else(|| rest(state, now), |job| advance(state, job))
}

/// The job that goes on: one with a picture in flight, else the oldest.
fn next_job(state: &State) -> Option<&Job> {
    let can_go_on = |job: &&Job| {
        !job.is_cancelled && !job.is_paused && (!job.is_blocked || !job.images.is_empty())
    };
    let in_flight = state
        .jobs
        .iter()
        .filter(can_go_on)
        .find(|job| !job.images.is_empty());
    in_flight.or_else(|| state.jobs.iter().find(can_go_on))
}

/// The next thing to do for one job.
fn advance(state: &State, job: &Job) -> Tick {
    if let Some(image) = job.images.first() {
        return match image.stage {
            Stage::Denoising => Tick::Step(vec![image.generation]),
            Stage::Denoised | Stage::Decoding | Stage::Decoded => Tick::Finish(image.generation),
        };
    }
    if job.images_left == 0 && !job.only_loads {
        return Tick::Complete(job.id);
    }
    let Some(fingerprint) = job.fingerprint else {
        return Tick::Look(job.id);
    };
    let resident = state.resident(&job.model);
    if let Some(model) = resident {
        if model.fingerprint != fingerprint {
            return unload(state, &model.key);
        }
        if job.images_left == 0 {
            return Tick::Complete(job.id);
        }
    }
    let Some(known) = state
        .known
        .get(&job.model)
        .filter(|known| known.fingerprint == fingerprint)
    else {
        return Tick::Inspect(job.model.clone());
    };
    let (weights_bytes, fits) = match resident {
        Some(_) => (0, Tick::Begin(job.id)),
        None => (known.weights_bytes, Tick::Load(job.id)),
    };
    let need_bytes = weights_bytes.saturating_add(known.working_bytes(job));
    if need_bytes <= state.available_bytes {
        return fits;
    }
    let in_use = |key: &ModelKey| {
        state
            .jobs
            .iter()
            .any(|other| other.model == *key && !other.images.is_empty())
            || *key == job.model
    };
    let spare = state.models.iter().filter(|model| !in_use(&model.key));
    match spare.min_by_key(|model| model.used) {
        Some(model) => unload(state, &model.key),
        None => Tick::Refuse {
            job: job.id,
            need_bytes,
            have_bytes: state.available_bytes,
        },
    }
}

/// The last model goes with its process.
fn unload(state: &State, key: &ModelKey) -> Tick {
    if state.models.len() == 1 && state.jobs.iter().all(|job| job.images.is_empty()) {
        Tick::EndWorker
    } else {
        Tick::Unload(key.clone())
    }
}

/// No job can go on: how long to rest.
fn rest(state: &State, now: Instant) -> Tick {
    let WorkerState::Present { used } = state.worker else {
        return Tick::Wait { until: None };
    };
    if state.models.is_empty() {
        let end = used + EMPTY_WORKER_STAY;
        return if end <= now {
            Tick::EndWorker
        } else {
            Tick::Wait { until: Some(end) }
        };
    }
    let idle = state
        .models
        .iter()
        .filter(|model| !state.is_needed(&model.key));
    Tick::Wait {
        until: idle.filter_map(expiry).min(),
    }
}

fn expiry(model: &super::Resident) -> Option<Instant> {
    model.keep_alive.end(model.used)
}
