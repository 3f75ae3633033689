//! What the live table says of a line under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use imgd_client::v1::{Job, JobState, PauseReason};

use crate::{jobs::words, live::Row};

/// A job by its state.
pub(super) fn state_row(label: &str, job: &Job) -> Row {
    let text = match (job.state(), job.pause_reason()) {
        (JobState::Queued, _) if job.position == 0 => "next".to_owned(),
        (JobState::Queued, _) => format!("waiting, {} ahead", job.position),
        (JobState::Paused, PauseReason::Asked) => {
            format!("paused: `imgctl jobs resume {}`", words::short_id(&job.id))
        }
        _ => words::state(job).to_owned(),
    };
    Row::state(label, text)
}

/// A job by the network evaluations of its pictures in flight, `(done, of)` by index, and its pictures that are `there`.
pub(super) fn drawing_row(
    label: &str,
    job: &Job,
    there: &BTreeSet<u32>,
    evaluations: &BTreeMap<u32, (u32, u32)>,
    left: Option<Duration>,
) -> Row {
    let each = evaluations
        .values()
        .map(|(_, of)| *of)
        .max()
        .unwrap_or_default();
    let now: u32 = evaluations.values().map(|(done, _)| *done).sum();
    if job.image_count <= 1 {
        return Row::drawing(label, now, each, left);
    }
    let drawn = u32::try_from(there.len()).unwrap_or(u32::MAX);
    Row {
        label: label.to_owned(),
        done: drawn.saturating_mul(each).saturating_add(now),
        of: job.image_count.saturating_mul(each),
        text: format!("{drawn}/{} pictures", job.image_count),
    }
}
