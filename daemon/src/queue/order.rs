//! Who comes first: classes, fairness between clients, and the turn of a class that waited too long.

use std::time::Instant;

use super::{Class, Job, Starving, State};

/// Whether the job has something to do now, as far as it depends on itself.
pub(super) fn is_wanted(state: &State, job: &Job, now: Instant) -> bool {
    let may = job.class != Class::Background || state.background.is_allowed(now);
    may && !job.is_cancelled && !job.is_paused
}

/// Whether a class has waited behind higher ones for longer than its bound.
pub(super) fn is_starving(state: &State, class: Class, now: Instant) -> bool {
    let Some(bound) = Starving::bound(class) else {
        return false;
    };
    let jobs = state.jobs.iter();
    let oldest = jobs
        .filter(|job| job.class == class && is_wanted(state, job, now))
        .map(|job| job.arrived)
        .min();
    oldest.is_some_and(|arrived| {
        let since = state
            .starving
            .last_served(class)
            .map_or(arrived, |served| served.max(arrived));
        since + bound <= now
    })
}
