//! Follows a job over the deaths of its daemons.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use imgd_proto::v1::{
    ImageState, Job, WatchJobRequest, WatchJobResponse, watch_job_response::Event,
};
use tokio::time;
use tonic::Status;

use crate::line::{Line, is_final, is_lost};

/// What watchers saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Pictures that were begun, or gone on with, by evaluations that were done by then.
    pub started_from: BTreeMap<u32, usize>,
    /// Notices by reason.
    pub notices: BTreeMap<String, usize>,
    /// Snapshots: streams that began, or fell behind.
    pub snapshots: usize,
    /// Network evaluations that were announced.
    pub steps: usize,
    /// Streams that broke.
    pub breaks: usize,
    /// What went wrong.
    pub violations: Vec<String>,
}

impl Seen {
    /// Pictures that went on from a saved state.
    pub fn restored(&self) -> usize {
        let restored = self.started_from.iter().filter(|(done, _)| **done > 0);
        restored.map(|(_, count)| count).sum()
    }
}

/// One watcher's own knowledge.
#[derive(Default)]
struct Watcher {
    cursor: u64,
    /// The cursor of the last snapshot.
    snapshot: u64,
    /// Pictures that were announced as done since the last snapshot.
    done: BTreeSet<u32>,
}

/// Follows a job to its last event.
pub(super) async fn follow(line: &Line, id: &str, seen: &Mutex<Seen>) {
    let mut watcher = Watcher::default();
    loop {
        match stream(line, id, &mut watcher, seen).await {
            Ok(true) => return,
            // it ended without the last event, as when the daemon goes
            Ok(false) => {}
            Err(status) if is_lost(&status) => {}
            Err(status) => {
                note(seen, |seen| {
                    seen.violations.push(format!("watch {id}: {status}"))
                });
                return;
            }
        }
        note(seen, |seen| seen.breaks += 1);
        time::sleep(Duration::from_millis(30)).await;
    }
}

/// Reads one stream; true when it gave the last event.
async fn stream(
    line: &Line,
    id: &str,
    watcher: &mut Watcher,
    seen: &Mutex<Seen>,
) -> Result<bool, Status> {
    let request = WatchJobRequest {
        job_id: id.into(),
        cursor: watcher.cursor,
    };
    let mut stream = line.jobs().watch_job(request).await?.into_inner();
    let mut is_first = true;
    while let Some(message) = stream.message().await? {
        let is_last = match &message.event {
            Some(Event::Snapshot(job) | Event::Changed(job)) => is_final(job.state()),
            _ => false,
        };
        note(seen, |seen| watcher.take(id, message, is_first, seen));
        is_first = false;
        if is_last {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Watcher {
    fn take(&mut self, id: &str, message: WatchJobResponse, is_first: bool, seen: &mut Seen) {
        // a snapshot may stand for what is known already, and pictures after it are a part of it
        let is_part =
            matches!(message.event, Some(Event::Image(_))) && self.snapshot == self.cursor;
        let may_repeat = is_first || is_part;
        let grows = message.cursor > self.cursor || may_repeat && message.cursor == self.cursor;
        if !grows || message.job_id != id {
            let what = format!(
                "watch {id}: event {} of {} after {}",
                message.cursor, message.job_id, self.cursor
            );
            seen.violations.push(what);
        }
        self.cursor = message.cursor;
        match message.event {
            Some(Event::Snapshot(job)) => {
                self.done.clear();
                self.snapshot = message.cursor;
                seen.snapshots += 1;
                counts_add_up(&job, seen);
            }
            Some(Event::Changed(job)) => counts_add_up(&job, seen),
            Some(Event::Started(started)) => {
                *seen
                    .started_from
                    .entry(started.evaluations_done)
                    .or_default() += 1;
            }
            Some(Event::Step(_)) => seen.steps += 1,
            Some(Event::Image(image)) => {
                let is_done = image.state() == ImageState::Done;
                if is_done && !self.done.insert(image.image_index) {
                    let what = format!("watch {id}: picture {} is done twice", image.image_index);
                    seen.violations.push(what);
                }
            }
            Some(Event::Notice(notice)) => *seen.notices.entry(notice.reason).or_default() += 1,
            _ => {}
        }
    }
}

fn counts_add_up(job: &Job, seen: &mut Seen) {
    let ended = job.images_done + job.images_failed + job.images_held + job.images_dropped;
    if ended > job.image_count {
        seen.violations.push(format!("{ended} pictures of {job:?}"));
    }
}

fn note(seen: &Mutex<Seen>, change: impl FnOnce(&mut Seen)) {
    change(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
}
