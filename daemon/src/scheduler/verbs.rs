//! What clients do to jobs: cancel, pause, resume, retry, delete; and in which states they may.

use std::{collections::BTreeSet, time::Instant};

use imgd_proto::v1::{ImageState, JobState, PauseReason};

use super::{
    actor::Actor,
    commands::{Arriving, Waiting},
    desk::Desk,
    papers::{Paper, Reply},
    writing::Report,
};
use crate::{
    failure::{Failure, Reason},
    journal::{Outcomes, Record},
    queue::JobId,
};

impl Actor {
    /// Ends a job that is not over; answers once that is written.
    pub(super) fn cancel_job(&mut self, id: JobId, reply: Reply, now: Instant) {
        let asked = Failure::new(Reason::Cancelled, "a client cancelled it");
        self.answer_later(id, reply);
        self.cancel(id, asked, now);
        self.write(id, now);
    }

    /// Stops a job at the next evaluation.
    pub(super) fn pause_job(&mut self, id: JobId, reply: Reply, now: Instant) {
        let Some(desk) = self.desks.get_mut(&id) else {
            return self.refuse(id, "paused", reply);
        };
        match (desk.record.state, desk.record.pause_reason) {
            (JobState::Paused, PauseReason::Asked | PauseReason::Held) => {
                drop(reply.send(Ok(desk.whole(0))));
            }
            _ => {
                desk.enter(JobState::Paused, PauseReason::Asked);
                desk.papers.answer(reply);
                self.stop_for_now(id);
                self.write(id, now);
            }
        }
    }

    /// Lets a paused job go on; of one that holds its pictures, those of `chosen`, or all where it is empty.
    pub(super) fn resume_job(&mut self, id: JobId, chosen: &[u32], reply: Reply, now: Instant) {
        let Some(desk) = self.desks.get_mut(&id) else {
            return self.refuse(id, "resumed", reply);
        };
        let reason = match desk.record.state {
            JobState::Paused => desk.record.pause_reason,
            _ => PauseReason::Unspecified,
        };
        if reason != PauseReason::Held && !chosen.is_empty() {
            let failure = Failure::invalid("image_indices", "the job holds no pictures now")
                .with_hint("leave image_indices out");
            drop(reply.send(Err(failure)));
            return;
        }
        match reason {
            PauseReason::Held => match choice(desk, chosen) {
                Ok(choice) => {
                    desk.record.is_released = true;
                    desk.enter(JobState::Queued, PauseReason::Unspecified);
                    desk.papers.push(choice);
                }
                Err(failure) => {
                    drop(reply.send(Err(failure)));
                    return;
                }
            },
            PauseReason::Asked => {
                desk.enter(JobState::Queued, PauseReason::Unspecified);
                self.go_on(id);
            }
            // It goes on once it is written, which is tried now.
            PauseReason::DiskFull => desk.papers.hurry(),
            PauseReason::Unspecified => {
                let refusal = not_in_state(desk.record.state, "resumed");
                drop(reply.send(Err(refusal)));
                return;
            }
        }
        self.answer_later(id, reply);
        self.write(id, now);
    }

    /// Answers once the end of a job that is over is written, or cannot be; at once of a job that is not.
    pub(super) fn await_end(&mut self, id: JobId, reply: Reply) {
        match self.closing.get_mut(&id) {
            Some(desk) if !desk.papers.is_empty() => desk.papers.answer(reply),
            _ => drop(reply.send(self.tell(id).ok_or_else(gone))),
        }
    }

    /// Takes up a job that the journal says is over.
    pub(super) fn retry_job(&mut self, record: Record, reply: Reply, now: Instant) {
        if let Some(id) = self.names.get(&record.id) {
            return self.refuse(*id, "retried", reply);
        }
        if let Some(refusal) = self.refusal(&record.client) {
            drop(reply.send(Err(refusal)));
            return;
        }
        let id = JobId(self.new_id());
        let record = Record {
            attached: false,
            state: JobState::Queued,
            pause_reason: PauseReason::Unspecified,
            problem: None,
            finished: None,
            images_failed: 0,
            ..record
        };
        self.names.insert(record.id.clone(), id);
        let (journal, job) = (self.journal.clone(), record.id.clone());
        let reopened = journal.reopen(record.clone());
        self.reports.spawn(async move {
            let outcomes = match reopened.await {
                Ok(()) => journal.outcomes(&job).await,
                Err(failure) => Err(failure),
            };
            Report::Reopened(id, outcomes)
        });
        let desk = self.desk_of(record, &Outcomes::default(), now);
        let waiting = Waiting::Retry(reply);
        self.arriving.insert(id, Arriving { desk, waiting });
    }

    pub(super) fn reopened(&mut self, id: JobId, result: Result<Outcomes, Failure>, now: Instant) {
        let Some(Arriving { desk, waiting }) = self.arriving.remove(&id) else {
            return;
        };
        let Waiting::Retry(reply) = waiting else {
            return;
        };
        match result {
            Ok(outcomes) => {
                let desk = self.desk_of(desk.record, &outcomes, now);
                self.admit(id, desk, now);
                drop(reply.send(self.tell(id).ok_or_else(gone)));
            }
            Err(failure) => {
                self.names.remove(&desk.record.id);
                drop(reply.send(Err(failure)));
            }
        }
    }

    /// Forgets a job that is not over, after cancelling it.
    pub(super) fn delete_job(&mut self, id: JobId, is_forced: bool, reply: Reply, now: Instant) {
        if let Some(desk) = self.desks.get(&id)
            && !is_forced
        {
            let state = not_in_state(desk.record.state, "deleted");
            let refusal = state.with_hint("cancel it first, or use force");
            drop(reply.send(Err(refusal)));
            return;
        }
        let asked = Failure::new(Reason::Cancelled, "a client deleted it");
        self.cancel(id, asked, now);
        self.answer_later(id, reply);
        self.file(id, Paper::Delete, now);
    }

    fn answer_later(&mut self, id: JobId, reply: Reply) {
        match self.desk_mut(id) {
            Some(desk) => desk.papers.answer(reply),
            None => drop(reply.send(Err(gone()))),
        }
    }

    /// A job that is over, or is being written down as such.
    fn refuse(&self, id: JobId, what: &str, reply: Reply) {
        let state = self.desk(id).map(|desk| desk.record.state);
        let refusal = match state {
            Some(state) => not_in_state(state, what),
            None => gone(),
        };
        drop(reply.send(Err(refusal)));
    }
}

/// Which held pictures go on.
fn choice(desk: &Desk, chosen: &[u32]) -> Result<Paper, Failure> {
    let held: BTreeSet<u32> = desk.images.in_state(ImageState::Held).into_iter().collect();
    let chosen: BTreeSet<u32> = chosen.iter().copied().collect();
    if let Some(index) = chosen.iter().find(|index| !held.contains(index)) {
        let why = if *index < desk.images.count() {
            "is not held"
        } else {
            "is no picture of the job"
        };
        return Err(Failure::invalid(
            "image_indices",
            format!("image_indices has {index}, which {why}"),
        )
        .with_hint("`imgctl jobs show` lists the pictures that are held"));
    }
    let is_chosen = |index: &u32| chosen.is_empty() || chosen.contains(index);
    let (kept, dropped) = held.into_iter().partition(is_chosen);
    Ok(Paper::Choose { kept, dropped })
}

/// That this cannot be done to a job in such a state.
pub(super) fn not_in_state(state: JobState, what: &str) -> Failure {
    let state = match state {
        JobState::Queued => "waits",
        JobState::Running => "runs",
        JobState::Paused => "is paused",
        JobState::Succeeded => "has succeeded",
        JobState::Failed => "has failed",
        JobState::Cancelled => "was cancelled",
        JobState::Unspecified => "has no state",
    };
    Failure::new(
        Reason::JobState,
        format!("the job {state}, and so it cannot be {what}"),
    )
}

fn gone() -> Failure {
    Failure::new(Reason::JobNotFound, "the job is not there any more")
}
