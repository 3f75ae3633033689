//! Who comes first: classes, fairness between clients, switches of the model, and the turn of a class that waited too
//! long.

use std::time::{Duration, Instant};

use super::{
    Class, ClientId, Image, Job, Stage, Starving, State,
    residency::{free_bytes, is_ready, needs_eviction, working_bytes},
};
use crate::engine::ModelKey;

/// Work on a model that is not resident waits this many times its load before models are switched for it, so that
/// loading takes a tenth of the time at most when two models take turns.
const SWITCH_FACTOR: u32 = 10;

/// Switching more often than this is never worth the saves and the loads.
const SWITCH_LEAST: Duration = Duration::from_secs(10);

/// What could be done next: a picture in flight could go on, or a job's next picture could be begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) job: &'a Job,
    pub(super) image: Option<&'a Image>,
}

/// A person's work on a model that is not resident waits this many times its load as long as other people's work by the
/// resident ones is there: a load itself, and as long again for those whose model would go.
const PERSON_SWITCH_FACTOR: u32 = 2;

/// What is done next, and the most urgent class that has something to do: the same, but where a lower class has its
/// turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lead<'a> {
    pub(super) candidate: Candidate<'a>,
    pub(super) top: Class,
}

/// Whether somebody wants the job to go on now.
pub(super) fn is_wanted(state: &State, job: &Job, now: Instant) -> bool {
    let may = job.class != Class::Background || state.background.is_allowed(now);
    may && !job.is_cancelled && !job.is_paused
}

/// Whether a picture of a wanted job may go on. As long as nobody takes the pictures that are there, no other one is
/// decoded.
pub(super) fn may_go_on(job: &Job, image: &Image) -> bool {
    let waits_for_reader = job.is_blocked && image.stage == Stage::Denoised;
    !(image.is_hold_due || image.is_failed || waits_for_reader)
}

/// Whether a wanted job may begin its next picture, or have its model loaded.
pub(super) fn may_begin(state: &State, job: &Job) -> bool {
    if job.is_blocked || (job.images_left == 0 && !job.only_loads) {
        return false;
    }
    // Pictures in flight are finished with the files they were begun with.
    let is_changed = job.fingerprint.is_some_and(|fingerprint| {
        state
            .resident(&job.model)
            .is_some_and(|model| model.fingerprint != fingerprint)
    });
    !is_changed || state.in_flight().all(|(other, _)| other.model != job.model)
}

/// Whether the job has something to do now.
pub(super) fn is_active(state: &State, job: &Job, now: Instant) -> bool {
    is_wanted(state, job, now)
        && (job.images.iter().any(|image| may_go_on(job, image)) || may_begin(state, job))
}

/// Whether a class has waited behind higher ones for longer than its bound.
pub(super) fn is_starving(state: &State, class: Class, now: Instant) -> bool {
    Starving::bound(class).is_some_and(|bound| waits_longer(state, class, bound, now))
}

fn waits_longer(state: &State, class: Class, bound: Duration, now: Instant) -> bool {
    let last = state.starving.last_served(class);
    if last.is_some_and(|last| last + bound > now) {
        return false;
    }
    state
        .jobs
        .iter()
        .any(|job| job.class == class && job.arrived + bound <= now && is_active(state, job, now))
}

/// What is done next, if anything can be.
pub(super) fn lead(state: &State, now: Instant) -> Option<Lead<'_>> {
    let (top, first) = Class::ALL
        .into_iter()
        .find_map(|class| Some((class, best(state, class, now)?)))?;
    let candidate = turn(state, top, first, now).unwrap_or(first);
    Some(Lead { candidate, top })
}

/// What a class below `top` does now because it has waited too long; `first` is what would be done else.
fn turn<'a>(
    state: &'a State,
    top: Class,
    first: Candidate<'_>,
    now: Instant,
) -> Option<Candidate<'a>> {
    let under_way = state.starving.turn().and_then(|generation| {
        let (job, image) = state
            .in_flight()
            .find(|(_, image)| image.generation == generation)?;
        let goes_on = job.class > top && is_wanted(state, job, now) && may_go_on(job, image);
        goes_on.then_some(Candidate {
            job,
            image: Some(image),
        })
    });
    if under_way.is_some() {
        // The two alternate; where one would push the other out of memory for each call, the turn goes first.
        return under_way.filter(|turn| {
            !state.starving.had_turn_last() || evicts(state, first) || crowds(state, first, *turn)
        });
    }
    let lower = Class::ALL.into_iter().filter(|class| *class > top);
    lower
        .filter(|class| is_starving(state, *class, now))
        .find_map(|class| {
            let candidate = best(state, class, now)?;
            let patience = switch_patience(state, &candidate.job.model);
            let is_worth = !evicts(state, candidate) || waits_longer(state, class, patience, now);
            is_worth.then_some(candidate)
        })
}

/// Whether something has to leave memory first.
fn evicts(state: &State, candidate: Candidate<'_>) -> bool {
    match candidate.image {
        Some(image) => {
            working_bytes(state, candidate.job) > free_bytes(state, Some(image.generation))
        }
        None => needs_eviction(state, candidate.job),
    }
}

/// Whether the model that `first` has to load would leave no room for the picture that has the turn, which would push it
/// out again before it is used.
fn crowds(state: &State, first: Candidate<'_>, turn: Candidate<'_>) -> bool {
    let Some(known) = state.known.get(&first.job.model) else {
        return false;
    };
    let generation = turn.image.map(|image| image.generation);
    let need_bytes = known
        .weights_bytes
        .saturating_add(working_bytes(state, turn.job));
    !is_ready(state, first.job) && need_bytes > free_bytes(state, generation)
}

fn switch_patience(state: &State, model: &ModelKey) -> Duration {
    SWITCH_LEAST.max(state.load_estimate(model).saturating_mul(SWITCH_FACTOR))
}

/// What another model would have to be given up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    /// None has to.
    None,
    /// Its time has come.
    Due,
    /// Only when nothing else is to be done.
    Idle,
}

/// The class's first: the least start tag, pictures in flight first, then who came first. As long as there is something
/// to do by the resident models, others are only loaded in their place when that is due: pictures in flight are finished then, and no others are begun before.
fn best(state: &State, class: Class, now: Instant) -> Option<Candidate<'_>> {
    let virtual_time = state.virtual_time(class, now);
    let mut candidates = Vec::new();
    // Of a client's jobs by one model, the first that may begin stands for all.
    let mut seen: Vec<(ClientId, &ModelKey)> = Vec::new();
    for job in state.jobs.iter().filter(|job| job.class == class) {
        if !is_wanted(state, job, now) {
            continue;
        }
        for image in job.images.iter().filter(|image| may_go_on(job, image)) {
            let candidate = Candidate {
                job,
                image: Some(image),
            };
            candidates.push((candidate, image.start_tag, Switch::None));
        }
        let kind = (job.client, &job.model);
        if !seen.contains(&kind) && may_begin(state, job) {
            seen.push(kind);
            let tag = state.accounts.tag(class, job.client, virtual_time);
            candidates.push((Candidate { job, image: None }, tag, switch(state, job, now)));
        }
    }
    let due = candidates
        .iter()
        .filter(|(_, _, switch)| *switch == Switch::Due)
        .map(|(_, tag, _)| *tag)
        .min();
    let mut first: Option<((u8, u64, bool), Candidate<'_>)> = None;
    for (candidate, tag, switch) in candidates {
        let begins = candidate.image.is_none();
        let level = match switch {
            Switch::None if begins && due.is_some_and(|due| due < tag) => 2,
            Switch::None => 0,
            Switch::Due => 1,
            Switch::Idle => 3,
        };
        let rank = (level, tag, begins);
        if first.is_none_or(|(least, _)| rank < least) {
            first = Some((rank, candidate));
        }
    }
    first.map(|(_, candidate)| candidate)
}

fn switch(state: &State, job: &Job, now: Instant) -> Switch {
    if is_ready(state, job) || !needs_eviction(state, job) {
        return Switch::None;
    }
    let patience = match job.class {
        Class::Interactive => state
            .load_estimate(&job.model)
            .saturating_mul(PERSON_SWITCH_FACTOR),
        Class::Batch | Class::Background => switch_patience(state, &job.model),
    };
    let since = job
        .served
        .map_or(job.arrived, |served| served.max(job.arrived));
    if since + patience <= now {
        Switch::Due
    } else {
        Switch::Idle
    }
}
