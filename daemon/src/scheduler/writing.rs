//! From a job's papers to the journal, and what follows once it has them.

use std::time::{Duration, Instant, SystemTime};

use imgd_proto::v1::{self, ImageState, JobState, PauseReason};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{
    Order,
    actor::Actor,
    desk::Desk,
    images::{Place, Saved},
    papers::Paper,
    planning::PlanReply,
    records,
};
use crate::{
    engine::Planned,
    events::Event,
    failure::{Failure, Reason},
    journal::{Answer, Inserted, Journal, Outcomes, SavedImage},
    queue::JobId,
};

/// What could not be written is tried again after this long.
const RETRY: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 3_000 });

/// Saved states that are read ahead of their begin: each is as large as its picture's latents and history.
const READ_AHEAD: usize = 8;

/// What comes back of what the task does not wait for.
pub(super) enum Report {
    Written(JobId, Result<(), Failure>),
    Inserted(JobId, Result<Inserted, Failure>),
    Reopened(JobId, Result<Outcomes, Failure>),
    Read(JobId, u32, Result<Option<SavedImage>, Failure>),
    /// The engine's, to who asked.
    Planned(Box<Order>, Result<Box<Planned>, Failure>, PlanReply),
    /// Something that nobody waits for.
    Nothing,
}

/// The next answer of the journal; never, where none is on its way.
pub(super) async fn next_report(reports: &mut JoinSet<Report>) -> Report {
    loop {
        match reports.join_next().await {
            Some(Ok(report)) => return report,
            Some(Err(error)) => warn!("defect: an answer of the journal was lost: {error}"),
            None => std::future::pending().await,
        }
    }
}

impl Actor {
    pub(super) fn report(&mut self, report: Report, now: Instant) {
        match report {
            Report::Written(id, Ok(())) => {
                self.wrote(id, now);
                self.write(id, now);
            }
            Report::Written(id, Err(failure)) => self.not_written(id, &failure, now),
            Report::Inserted(id, result) => self.inserted(id, result, now),
            Report::Reopened(id, result) => self.reopened(id, result, now),
            Report::Planned(order, planned, reply) => self.planned(&order, planned, reply),
            Report::Nothing => {}
            Report::Read(id, index, result) => self.read(id, index, result, now),
        }
    }

    /// Has a paper of the job written.
    pub(super) fn file(&mut self, id: JobId, paper: Paper, now: Instant) {
        if let Some(desk) = self.desk_mut(id) {
            desk.papers.push(paper);
        }
        self.write(id, now);
    }

    /// Writes what is to be written of the job, if nothing of it is on its way.
    pub(super) fn write(&mut self, id: JobId, now: Instant) {
        loop {
            let journal = self.journal.clone();
            let Some(desk) = self.desk_mut(id) else {
                return;
            };
            if desk.papers.begin(now).is_none() {
                break;
            }
            if !desk.is_journaled() {
                self.wrote(id, now);
                continue;
            }
            if let Some(answer) = send(&journal, desk) {
                self.reports
                    .spawn(async move { Report::Written(id, answer.await) });
                self.stuck.remove(&id);
            }
            break;
        }
        self.refresh(id);
    }

    /// Tries again what could not be written.
    pub(super) fn try_again(&mut self, now: Instant) {
        let due = |id: &JobId| {
            let retry_at = self.desk(*id).and_then(|desk| desk.papers.retry_at());
            retry_at.is_none_or(|moment| moment <= now)
        };
        let due: Vec<_> = self.stuck.iter().copied().filter(due).collect();
        for id in due {
            self.write(id, now);
        }
    }

    /// When to try again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let stuck = self.stuck.iter().filter_map(|id| self.desk(*id));
        stuck.filter_map(|desk| desk.papers.retry_at()).min()
    }

    /// The paper at work is written, for good.
    fn wrote(&mut self, id: JobId, now: Instant) {
        let Some(desk) = self.desk_mut(id) else {
            return;
        };
        let Some(paper) = desk.papers.front() else {
            return;
        };
        let record = desk.record_with(paper);
        let was_final = desk.record.is_final();
        let (state, reason) = (desk.record.state, desk.record.pause_reason);
        let Some(paper) = desk.papers.written() else {
            return;
        };
        let is_choice = matches!(paper, Paper::Choose { .. });
        settle(desk, paper);
        if record.is_final() && !was_final {
            desk.record.finished = record.finished;
            desk.papers.drop_states();
            self.ended(id, record.state, now);
        } else if record.pause_reason == PauseReason::Held && reason != PauseReason::Held {
            desk.record.state = record.state;
            desk.record.pause_reason = record.pause_reason;
            desk.log.push(Event::Changed(Box::new(desk.outline(0))));
            self.stop_for_now(id);
        } else if (state, reason) == (JobState::Paused, PauseReason::DiskFull) {
            desk.enter(JobState::Queued, PauseReason::Unspecified);
            info!(job = %desk.record.id, "there is room on the disk again");
            self.go_on(id);
        } else if is_choice && state != JobState::Paused {
            self.go_on(id);
        }
        self.read_ahead(id);
        let is_through = |desk: &Desk| desk.papers.is_empty();
        if self.desk(id).is_some_and(is_through) {
            self.answer_writers(id);
            if self.closing.contains_key(&id) {
                self.conclude(id, now);
            }
        }
    }

    /// The paper at work could not be written.
    fn not_written(&mut self, id: JobId, failure: &Failure, now: Instant) {
        let is_active = self.desks.contains_key(&id);
        let Some(desk) = self.desk_mut(id) else {
            return;
        };
        let job = desk.record.id.clone();
        let is_gone = failure.reason == Reason::JobNotFound;
        if is_gone || matches!(desk.papers.front(), Some(Paper::Save { .. })) {
            warn!(%job, "not written, and let go: {failure}");
            drop(desk.papers.written());
            if is_gone && desk.papers.is_empty() && !is_active {
                self.conclude(id, now);
                return;
            }
            self.write(id, now);
            return;
        }
        desk.papers.try_again(now + RETRY);
        let is_full = failure.reason == Reason::DiskFull;
        let is_at_it = matches!(desk.record.state, JobState::Queued | JobState::Running);
        warn!(%job, "not written, and tried again: {failure}");
        if matches!(desk.papers.front(), Some(Paper::Delete)) {
            for reply in desk.papers.take_replies() {
                drop(reply.send(Err(failure.clone())));
            }
        }
        if is_active && is_full && is_at_it {
            desk.notice(
                "disk_full",
                "the disk is full: the job goes on once there is room".to_owned(),
            );
            desk.enter(JobState::Paused, PauseReason::DiskFull);
            self.stop_for_now(id);
        }
        self.answer_writers(id);
        self.stuck.insert(id);
        self.refresh(id);
    }

    /// Tells those who wait for it how the job is.
    fn answer_writers(&mut self, id: JobId) {
        if let Some(desk) = self.desk_mut(id) {
            for reply in desk.papers.take_replies() {
                // Who has gone needs no answer.
                drop(reply.send(Ok(desk.whole(0))));
            }
        }
    }

    /// Reads the next chosen pictures' states.
    pub(super) fn read_ahead(&mut self, id: JobId) {
        let journal = self.journal.clone();
        let Some(desk) = self.desks.get_mut(&id) else {
            return;
        };
        let mut near = desk.images.returned()
            + usize::try_from(desk.images.number(Place::Read)).unwrap_or(usize::MAX);
        while near < READ_AHEAD
            && let Some(index) = desk.images.first(Place::Unread)
        {
            desk.images.put(index, Place::Read);
            let answer = journal.saved(&desk.record.id, index);
            self.reports
                .spawn(async move { Report::Read(id, index, answer.await) });
            near += 1;
        }
    }

    fn read(
        &mut self,
        id: JobId,
        index: u32,
        result: Result<Option<SavedImage>, Failure>,
        now: Instant,
    ) {
        let Some(desk) = self.desks.get_mut(&id) else {
            return;
        };
        match result {
            Ok(Some(saved)) => {
                desk.images.put(index, Place::Waiting);
                desk.images.save(index, Saved::of(saved));
            }
            // It is made from the beginning.
            Ok(None) => desk.images.begin_again(index),
            Err(failure) => {
                warn!(job = %desk.record.id, "image {index} begins again: {failure}");
                desk.images.begin_again(index);
            }
        }
        if let Some(job) = self.state.job_mut(id) {
            job.images_left += 1;
        }
        self.write(id, now);
    }
}

/// Puts the pictures that a paper was about where they are now, and tells who watches.
fn settle(desk: &mut Desk, paper: Paper) {
    let finished = Some(SystemTime::now().into());
    let mut put = |index: u32, image: v1::JobImage| {
        desk.images.put(index, Place::Settled(image.state()));
        desk.log.push(Event::Image(Box::new(v1::JobImage {
            image_index: index,
            finished,
            ..image
        })));
    };
    let state = |state: ImageState| v1::JobImage {
        state: state.into(),
        ..v1::JobImage::default()
    };
    match paper {
        Paper::State | Paper::Delete => {}
        Paper::Save { index, saved, .. } => desk.kept(index, saved.evaluations_done),
        Paper::Finish { index, image } => put(
            index,
            v1::JobImage {
                size_bytes: image.bytes.len() as u64,
                metadata: Some(image.metadata),
                ..state(ImageState::Done)
            },
        ),
        Paper::Fail { index, failure } => {
            let problem = Some(records::problem(&failure));
            put(
                index,
                v1::JobImage {
                    problem: problem.clone(),
                    ..state(ImageState::Failed)
                },
            );
            desk.failure.get_or_insert(failure);
            desk.record.problem = desk.record.problem.take().or(problem);
        }
        Paper::Hold { index, preview, .. } => put(
            index,
            v1::JobImage {
                preview,
                ..state(ImageState::Held)
            },
        ),
        Paper::Choose { kept, dropped } => {
            for index in dropped {
                put(index, state(ImageState::Dropped));
            }
            for index in kept {
                desk.images.put(index, Place::Unread);
            }
        }
    }
}

/// Sends the paper at work on its way.
fn send(journal: &Journal, desk: &Desk) -> Option<Answer<()>> {
    let paper = desk.papers.front()?;
    let record = desk.record_with(paper);
    Some(match paper {
        Paper::State => journal.update(record),
        Paper::Save {
            index,
            saved,
            preview,
        } => journal.save_generation(&record.id, saved.at(*index, preview.clone())),
        Paper::Finish { index, image } => {
            journal.finish_image(record, *index, image.as_ref().clone())
        }
        Paper::Fail { index, failure } => {
            journal.fail_image(record, *index, records::problem(failure))
        }
        Paper::Hold {
            index,
            saved,
            preview,
        } => journal.hold_image(record, saved.at(*index, preview.clone())),
        Paper::Choose { kept, dropped } => {
            journal.choose_images(record, kept.clone(), dropped.clone())
        }
        Paper::Delete => journal.delete(&record.id),
    })
}

impl Saved {
    /// As the journal gives it.
    pub(super) fn of(saved: SavedImage) -> Self {
        Self {
            bytes: saved.bytes,
            evaluations_done: saved.evaluations_done,
            evaluation_count: saved.evaluation_count,
        }
    }

    /// As the journal takes it.
    fn at(&self, index: u32, preview: Option<v1::Preview>) -> SavedImage {
        SavedImage {
            index,
            evaluations_done: self.evaluations_done,
            evaluation_count: self.evaluation_count,
            bytes: self.bytes.clone(),
            preview,
        }
    }
}
