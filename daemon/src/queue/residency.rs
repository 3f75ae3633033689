//! Which models and pictures are in memory: what has to be there for a job, what goes to make room, and what goes
//! because nobody needs it any more.

use std::time::{Duration, Instant};

use super::{Class, Image, Job, Resident, Stage, State, Tick, WorkerState};
use crate::engine::{GenerationId, ModelKey};

/// A worker that holds no model is ended after this long; a user who asks about a model often draws with it next.
const EMPTY_WORKER_STAY: Duration = Duration::from_secs(10);

/// A picture in flight that is not being computed holds this part of what it takes at its peak: latents, the solver's
/// history and the embeddings, against the decoder's widest maps.
const IDLE_PART: u64 = 64;

/// Whether the job's model is in memory as its files are now.
pub(super) fn is_ready(state: &State, job: &Job) -> bool {
    state.resident(&job.model).is_some_and(|model| {
        job.fingerprint
            .is_none_or(|fingerprint| fingerprint == model.fingerprint)
    })
}

/// Whether the job can only be begun after something else has left memory.
pub(super) fn needs_eviction(state: &State, job: &Job) -> bool {
    need_bytes(state, job).is_some_and(|need| need > free_bytes(state, None))
}

/// Memory that pictures may take besides those in flight, `except` not counted.
pub(super) fn free_bytes(state: &State, except: Option<GenerationId>) -> u64 {
    let held: u64 = state
        .in_flight()
        .filter(|(_, image)| Some(image.generation) != except)
        .map(|(job, image)| held_bytes(state, job, image))
        .sum();
    state.available_bytes.saturating_sub(held)
}

/// Memory that one picture of the job takes at its peak; 0 as long as its model is not known.
pub(super) fn working_bytes(state: &State, job: &Job) -> u64 {
    state
        .known
        .get(&job.model)
        .map_or(0, |known| known.working_bytes(job))
}

/// Memory that a picture holds while others are computed.
fn held_bytes(state: &State, job: &Job, image: &Image) -> u64 {
    let peak = working_bytes(state, job);
    match image.stage {
        Stage::Denoising | Stage::Denoised => peak / IDLE_PART,
        Stage::Decoding | Stage::Decoded => peak,
    }
}

/// Memory that beginning the job's next picture takes, its model and ControlNets included where they are not there.
fn need_bytes(state: &State, job: &Job) -> Option<u64> {
    let known = state.known.get(&job.model)?;
    let weights_bytes = if is_ready(state, job) {
        0
    } else {
        known.weights_bytes
    };
    let beside = known.working_bytes(job).saturating_add(job.controls_bytes);
    Some(weights_bytes.saturating_add(beside))
}

/// The next thing to do so that the job's next picture is begun.
pub(super) fn begin(state: &State, job: &Job) -> Tick {
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
    let known = state.known.get(&job.model);
    if known.is_none_or(|known| known.fingerprint != fingerprint) {
        return Tick::Inspect(job.model.clone());
    }
    let need_bytes = need_bytes(state, job).unwrap_or(0);
    let then = match resident {
        Some(_) => Tick::Begin(job.id),
        None => Tick::Load(job.id),
    };
    let most_bytes = state.available_bytes.saturating_add(
        others(state, &job.model)
            .map(|model| model.memory_bytes)
            .sum(),
    );
    if need_bytes > most_bytes {
        return Tick::Refuse {
            job: job.id,
            need_bytes,
            have_bytes: most_bytes,
        };
    }
    match make_room(state, need_bytes, &job.model, None) {
        Some(room) => room,
        None if need_bytes <= free_bytes(state, None) => then,
        None => Tick::Refuse {
            job: job.id,
            need_bytes,
            have_bytes: free_bytes(state, None),
        },
    }
}

/// What has to go first so that there are `need_bytes` for work by the model `keep`; `None` where there are, or where
/// nothing is left that could go. The picture `except` is what the room is for.
pub(super) fn make_room(
    state: &State,
    need_bytes: u64,
    keep: &ModelKey,
    except: Option<GenerationId>,
) -> Option<Tick> {
    if need_bytes <= free_bytes(state, except) {
        return None;
    }
    // First models that nothing is in flight of, those that no job waits for before others; then what holds most for
    // its urgency.
    let is_used = |key: &ModelKey| state.in_flight().any(|(job, _)| job.model == *key);
    let idle = others(state, keep).filter(|model| !is_used(&model.key));
    if let Some(model) = idle.min_by_key(|model| (state.is_needed(&model.key), model.used)) {
        return Some(unload(state, &model.key));
    }
    let fellows = state
        .in_flight()
        .filter(|(_, image)| Some(image.generation) != except && image.stage != Stage::Decoded);
    // One that is decoded is finished sooner than it is parked, but it may be all that is left.
    let decoded = state
        .in_flight()
        .filter(|(_, image)| Some(image.generation) != except && image.stage == Stage::Decoded);
    let order = |(job, image): &(&Job, &Image)| {
        let is_of_other_model = job.model != *keep;
        (
            is_of_other_model,
            job.class,
            held_bytes(state, job, image),
            image.start_tag,
        )
    };
    fellows
        .max_by_key(order)
        .or_else(|| decoded.max_by_key(order))
        .map(|(_, image)| Tick::Park(image.generation))
}

fn others<'a>(state: &'a State, keep: &'a ModelKey) -> impl Iterator<Item = &'a Resident> {
    state.models.iter().filter(move |model| model.key != *keep)
}

/// A model that nothing needs and whose time is over.
pub(super) fn expired(state: &State, now: Instant) -> Option<Tick> {
    let model = state.models.iter().find(|model| {
        let is_over = model.is_unwanted || expiry(model).is_some_and(|end| end <= now);
        is_over && !state.is_needed(&model.key)
    })?;
    Some(unload(state, &model.key))
}

/// The last model goes with its process: only that gives all its memory back.
fn unload(state: &State, key: &ModelKey) -> Tick {
    if state.models.len() == 1 && state.in_flight().next().is_none() {
        Tick::EndWorker
    } else {
        Tick::Unload(key.clone())
    }
}

/// No job can go on: how long to rest.
pub(super) fn rest(state: &State, now: Instant) -> Tick {
    let background = || {
        let waits = |job: &Job| job.class == Class::Background && !job.is_cancelled;
        let from = state.background.from.filter(|from| *from > now)?;
        let is_all = state.background.blocked.is_none() && state.jobs.iter().any(waits);
        is_all.then_some(from)
    };
    let WorkerState::Present { used } = state.worker else {
        return Tick::Wait {
            until: background(),
        };
    };
    if state.models.is_empty() {
        let end = used + EMPTY_WORKER_STAY;
        return if end <= now {
            Tick::EndWorker
        } else {
            Tick::Wait {
                until: background().map_or(Some(end), |from| Some(from.min(end))),
            }
        };
    }
    let idle = state
        .models
        .iter()
        .filter(|model| !state.is_needed(&model.key));
    Tick::Wait {
        until: idle.filter_map(expiry).chain(background()).min(),
    }
}

fn expiry(model: &Resident) -> Option<Instant> {
    model.keep_alive.end(model.used)
}
