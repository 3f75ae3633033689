//! What the services ask of the scheduler. What the disk must know first is answered once it does, all else at once.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use imgd_proto::v1;
use tokio::sync::oneshot;
use tracing::debug;

use super::{
    Command, Ending, Order, Receipt, Snapshot, Verb, Work,
    actor::Actor,
    desk::{Desk, to_proto},
    jobs::is_waiting,
    papers::Reply,
    records,
    writing::Report,
};
use crate::{
    engine::ModelKey,
    events::{Events, Log},
    failure::{Failure, Reason, draining},
    journal::Inserted,
    queue::JobId,
};

/// A job that the journal does not have yet, or not as it is to be.
pub(super) struct Arriving {
    pub(super) desk: Desk,
    pub(super) waiting: Waiting,
}

/// Who waits for it.
pub(super) enum Waiting {
    Submit(Option<Events>, oneshot::Sender<Result<Receipt, Failure>>),
    Retry(Reply),
}

impl Actor {
    pub(super) fn command(&mut self, command: Command, now: Instant) {
        // A caller who has gone needs no answer.
        match command {
            Command::Submit { order, reply } => self.submit(*order, reply, now),
            Command::Do { job, verb, reply } => match self.names.get(&job) {
                Some(id) => self.act(*id, verb, reply, now),
                None => drop(reply),
            },
            Command::Retry { record, reply } => self.retry_job(*record, reply, now),
            Command::Tell { jobs, reply } => drop(reply.send(self.tell_each(&jobs))),
            Command::Watch { job, cursor, reply } => {
                let id = self.names.get(&job).copied();
                let watcher = id.and_then(|id| Some((id, self.desk(id)?.log.watch(cursor))));
                if let Some((id, _)) = &watcher {
                    self.followed.insert(*id);
                }
                drop(reply.send(watcher.map(|(_, watcher)| watcher)));
            }
            Command::Plan { order, reply } => self.plan(order, reply),
            Command::Describe { model, reply } => {
                if !self.state.inquiries.contains(&model) {
                    self.state.inquiries.push(model.clone());
                }
                self.inquirers.push((model, reply));
            }
            Command::Unload { model, reply } => {
                let mut was_loaded = false;
                for resident in &mut self.state.models {
                    if resident.key.is_of(&model) {
                        resident.is_unwanted = true;
                        was_loaded = true;
                    }
                }
                if reply.send(was_loaded).is_err() {
                    debug!("nobody waits to hear what was unloaded");
                }
            }
            Command::Snapshot { reply } => drop(reply.send(self.snapshot(now))),
            Command::End { ending, reply } => drop(reply.send(self.end(ending, now))),
            Command::EndIfUnused { least, reply } => {
                // Nobody may be left to hear it.
                reply.send(self.end_if_unused(least, now)).ok();
            }
        }
    }

    fn act(&mut self, id: JobId, verb: Verb, reply: Reply, now: Instant) {
        if self.is_draining && !matches!(verb, Verb::Cancel | Verb::Delete { .. }) {
            drop(reply.send(Err(draining())));
            return;
        }
        match verb {
            Verb::Cancel => self.cancel_job(id, reply, now),
            Verb::Pause => self.pause_job(id, reply, now),
            Verb::Resume(chosen) => self.resume_job(id, &chosen, reply, now),
            Verb::Delete { is_forced } => self.delete_job(id, is_forced, reply, now),
            Verb::Await => self.await_end(id, reply),
        }
    }

    fn submit(
        &mut self,
        order: Order,
        reply: oneshot::Sender<Result<Receipt, Failure>>,
        now: Instant,
    ) {
        if let Some(refusal) = self.refusal(&order.client) {
            drop(reply.send(Err(refusal)));
            return;
        }
        let id = JobId(self.new_id());
        let record = records::new(&order, uuid::Uuid::new_v4().simple().to_string());
        let is_watchable = !order.is_private && matches!(order.work, Work::Draw(_));
        let cursor = is_watchable.then(|| self.first_cursor(&record));
        let desk = Desk::new(order, Log::new(Arc::clone(&self.bell), cursor), record, now);
        let events = desk.is_attached().then(|| desk.log.own());
        let is_journaled = desk.is_journaled();
        let answer = is_journaled.then(|| self.journal.insert(desk.record.clone()));
        let waiting = Waiting::Submit(events, reply);
        self.arriving.insert(id, Arriving { desk, waiting });
        match answer {
            Some(answer) => {
                self.reports
                    .spawn(async move { Report::Inserted(id, answer.await) });
            }
            None => self.inserted(id, Ok(Inserted::New), now),
        }
    }

    /// A new job is on disk, or is not to be.
    pub(super) fn inserted(&mut self, id: JobId, result: Result<Inserted, Failure>, now: Instant) {
        let Some(Arriving { desk, waiting }) = self.arriving.remove(&id) else {
            return;
        };
        let Waiting::Submit(events, reply) = waiting else {
            return;
        };
        let receipt = match result {
            Ok(Inserted::New) => {
                let job_id = desk.record.id.clone();
                debug!(job = %job_id, "queued");
                let is_journaled = desk.is_journaled();
                self.admit(id, desk, now);
                let job = if is_journaled { self.tell(id) } else { None };
                Ok(Receipt {
                    job_id,
                    events,
                    job,
                    existed: false,
                })
            }
            Ok(Inserted::Existed(record)) => Ok(Receipt {
                job_id: record.id.clone(),
                events: None,
                job: Some(
                    self.names
                        .get(&record.id)
                        .and_then(|id| self.tell(*id))
                        .unwrap_or_else(|| records::whole(&record)),
                ),
                existed: true,
            }),
            Err(failure) => Err(failure),
        };
        drop(reply.send(receipt));
    }

    /// How jobs are; `None` for one that is over. Places in the queue are counted once for many.
    fn tell_each(&self, jobs: &[String]) -> Vec<Option<v1::Job>> {
        if let [job] = jobs {
            return vec![self.names.get(job).and_then(|id| self.tell(*id))];
        }
        let places: BTreeMap<_, _> = self.positions().map(|(place, id)| (id, place)).collect();
        let tell = |job: &String| {
            let id = self.names.get(job)?;
            Some(self.desk(*id)?.whole(places.get(id).copied().unwrap_or(0)))
        };
        jobs.iter().map(tell).collect()
    }

    /// How a job is that is not over.
    pub(super) fn tell(&self, id: JobId) -> Option<v1::Job> {
        Some(self.desk(id)?.whole(self.position(id)))
    }

    fn end(&mut self, ending: Ending, now: Instant) -> Result<(), Failure> {
        let is_busy = self
            .desks
            .values()
            .any(|desk| desk.record.state != v1::JobState::Paused)
            || !self.arriving.is_empty();
        if ending == Ending::IfIdle && is_busy {
            return Err(Failure::new(Reason::NotIdle, "the daemon has work")
                .with_hint("wait for it, or leave `if_idle` out"));
        }
        if ending == Ending::Now {
            self.has_ended = true;
        }
        if !self.is_draining {
            self.is_draining = true;
            self.send_home(now);
        }
        Ok(())
    }

    /// The daemon ends: jobs that belong to nobody are left where the journal has them, to go on next time; of the
    /// others, those that wait are refused, and those at work are finished.
    fn send_home(&mut self, now: Instant) {
        let waiting: Vec<_> = self
            .state
            .jobs
            .iter()
            .filter(|job| !job.is_running && !job.is_cancelled)
            .map(|job| job.id)
            .collect();
        for id in waiting {
            if self.desks.get(&id).is_some_and(Desk::is_attached) {
                self.fail(id, draining(), now);
            }
        }
        for job in &mut self.state.jobs {
            if self
                .desks
                .get(&job.id)
                .is_some_and(|desk| !desk.is_attached())
            {
                job.is_paused = true;
            }
        }
    }

    /// Whether nothing is left to do for a daemon that takes no more work: only jobs that go on next time are there,
    /// and what can be written of them is.
    pub(super) fn is_through(&self) -> bool {
        let is_written = |desk: &Desk| desk.papers.is_empty() || desk.papers.is_stuck();
        self.operation.is_none()
            && self.arriving.is_empty()
            && self.closing.values().all(is_written)
            && self
                .desks
                .values()
                .all(|desk| !desk.is_attached() && is_written(desk))
            && self.state.jobs.iter().all(|job| job.images.is_empty())
    }

    fn snapshot(&self, now: Instant) -> Snapshot {
        let count = |jobs: usize| u32::try_from(jobs).unwrap_or(u32::MAX);
        let jobs = || self.state.jobs.iter().filter(|job| !job.is_cancelled);
        Snapshot {
            models: self
                .state
                .models
                .iter()
                .filter_map(|model| self.loaded_model(&model.key, now))
                .collect(),
            waiting: count(jobs().filter(|job| is_waiting(job)).count()),
            running: count(jobs().filter(|job| job.is_running).count()),
            paused: count(
                jobs()
                    .filter(|job| job.is_paused && !job.is_running)
                    .count(),
            ),
            background_blocked: self.background_blocked().unwrap_or_default().to_owned(),
            is_draining: self.is_draining,
            worker_pid: self.engine.as_ref().map(|engine| engine.pid()),
            worker_hardening: self
                .loaded
                .values()
                .map(|loaded| loaded.hardening.clone())
                .next(),
            worker_threads: self.loaded.values().map(|loaded| loaded.threads).next(),
        }
    }

    pub(super) fn loaded_model(&self, key: &ModelKey, now: Instant) -> Option<v1::LoadedModel> {
        let resident = self.state.resident(key)?;
        let used = if self.state.is_needed(key) {
            now
        } else {
            resident.used
        };
        let end = resident.keep_alive.end(used);
        Some(v1::LoadedModel {
            name: key.name.clone(),
            model_hash: self
                .loaded
                .get(key)
                .map(|loaded| loaded.model_hash.clone())
                .unwrap_or_default(),
            memory_bytes: resident.memory_bytes,
            device: "cpu".to_owned(),
            expires_in: end.and_then(|end| to_proto(end.saturating_duration_since(now))),
            precision: key.precision.into(),
        })
    }
}
