//! What the services ask of the scheduler, answered at once.

use std::{sync::Arc, time::Instant};

use imgd_proto::v1;
use tracing::debug;

use super::{
    Command, Ending, Order, Receipt, Snapshot, Work,
    actor::Actor,
    desk::{Desk, to_proto},
};
use crate::{
    engine::ModelKey,
    events::Log,
    failure::{Failure, Reason, draining, queue_full},
    queue::{Class, Job, JobId},
};

impl Actor {
    pub(super) fn command(&mut self, command: Command, now: Instant) {
        // A caller who has gone needs no answer.
        match command {
            Command::Submit { order, reply } => drop(reply.send(self.submit(*order, now))),
            Command::Describe { model, reply } => {
                if !self.state.inquiries.contains(&model) {
                    self.state.inquiries.push(model.clone());
                }
                self.inquirers.push((model, reply));
            }
            Command::Unload { model, reply } => {
                let resident = self
                    .state
                    .models
                    .iter_mut()
                    .find(|resident| resident.key == model);
                let was_loaded = resident.is_some();
                if let Some(resident) = resident {
                    resident.is_unwanted = true;
                }
                if reply.send(was_loaded).is_err() {
                    debug!("nobody waits to hear what was unloaded");
                }
            }
            Command::Snapshot { reply } => drop(reply.send(self.snapshot(now))),
            Command::End { ending, reply } => drop(reply.send(self.end(ending, now))),
        }
    }

    fn submit(&mut self, order: Order, now: Instant) -> Result<Receipt, Failure> {
        if self.is_draining {
            return Err(draining());
        }
        if self.state.waiting().count() >= self.options.queue_capacity {
            return Err(queue_full(self.options.queue_capacity));
        }
        let id = JobId(self.new_id());
        let job_id = uuid::Uuid::new_v4().simple().to_string();
        let log = Log::new(Arc::clone(&self.bell), None);
        let events = log.own();
        let desk = Desk::new(order, log, job_id.clone(), now);
        self.state.jobs.push(Job {
            only_loads: matches!(desk.order.work, Work::Load),
            width_px: desk.size_px().0,
            height_px: desk.size_px().1,
            class: match desk.order.priority {
                v1::Priority::Batch => Class::Batch,
                v1::Priority::Background => Class::Background,
                v1::Priority::Interactive | v1::Priority::Unspecified => Class::Interactive,
            },
            images_left: desk.image_count(),
            keep_alive: desk.order.keep_alive.unwrap_or(self.options.keep_alive),
            ..Job::new(id, desk.order.model.clone(), now)
        });
        self.desks.insert(id, desk);
        self.tell_positions();
        debug!(job = %job_id, "queued");
        Ok(Receipt { job_id, events })
    }

    fn end(&mut self, ending: Ending, now: Instant) -> Result<(), Failure> {
        if ending == Ending::IfIdle && !self.desks.is_empty() {
            return Err(Failure::new(Reason::NotIdle, "the daemon has work")
                .with_hint("wait for it, or leave `if_idle` out"));
        }
        if ending == Ending::Now {
            self.has_ended = true;
        }
        if !self.is_draining {
            self.is_draining = true;
            let waiting: Vec<_> = self.state.waiting().map(|job| job.id).collect();
            for id in waiting {
                self.fail(id, draining(), now);
            }
        }
        Ok(())
    }

    fn snapshot(&self, now: Instant) -> Snapshot {
        let count = |jobs: usize| u32::try_from(jobs).unwrap_or(u32::MAX);
        Snapshot {
            models: self
                .state
                .models
                .iter()
                .filter_map(|model| self.loaded_model(&model.key, now))
                .collect(),
            waiting: count(self.state.waiting().count()),
            running: count(self.state.jobs.iter().filter(|job| job.is_running).count()),
            is_draining: self.is_draining,
            worker_pid: self.engine.as_ref().map(|engine| engine.pid()),
            worker_hardening: self.loaded.values().map(|loaded| loaded.hardening).next(),
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
            precision: v1::Precision::F32.into(),
        })
    }
}
