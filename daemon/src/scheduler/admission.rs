//! Whether a job may go on, once it is known what its model is: its work and its memory.

use imgd_proto::{limits::check_budget, v1};

use super::{Work, actor::Actor, desk::Desk};
use crate::{
    failure::{
        Failure, client_queue_full, does_not_fit, draining, picture_does_not_fit, queue_full,
    },
    queue::{Job, JobId},
};

/// Bytes of prompts and settings that may wait at once: a thousand requests of the largest size are a gigabyte.
const MAX_WAITING_BYTES: usize = 256 << 20;

impl Actor {
    /// Why no job of this client may come now, if so. Those that are paused count: they take room as those that wait.
    pub(super) fn refusal(&self, client: &str) -> Option<Failure> {
        if self.is_draining {
            return Some(draining());
        }
        let waits = |desk: &&Desk| desk.record.state != v1::JobState::Running;
        let arriving = self.arriving.values().map(|arriving| &arriving.desk);
        let waiting = || self.desks.values().filter(waits).chain(arriving.clone());
        let (mut count, mut own, mut bytes) = (0, 0, 0);
        for desk in waiting() {
            count += 1;
            own += usize::from(desk.order.client == client);
            bytes += desk.asked_bytes;
        }
        if count >= self.options.queue_capacity || bytes >= MAX_WAITING_BYTES {
            return Some(queue_full(count));
        }
        let most = self.options.capacity_per_client;
        (own >= most).then(|| client_queue_full(client, most))
    }

    /// Memory that new models and pictures may take, in bytes.
    pub(super) fn available_bytes(&self) -> u64 {
        // Only what is about to be loaded or begun asks for it, and reading it costs system calls.
        let is_at_work = |job: &Job| !job.images.is_empty() && !job.is_cancelled;
        if self.state.jobs.is_empty() || self.state.jobs.iter().any(is_at_work) {
            return self.state.available_bytes;
        }
        let available = (self.options.available_bytes)();
        let taken: u64 = self
            .state
            .models
            .iter()
            .map(|model| model.memory_bytes)
            .sum();
        self.options
            .max_memory_bytes
            .map_or(available, |most| available.min(most.saturating_sub(taken)))
    }

    /// Whether a job asks for more work than a request may, the model's defaults filled in.
    pub(super) fn over_budget(&self, id: JobId) -> Option<Failure> {
        let Work::Draw(submission) = &self.desks.get(&id)?.order.work else {
            return None;
        };
        let common = submission.generate();
        let model = self.descriptions.get(&self.state.job(id)?.model)?;
        let defaults = model.defaults.as_ref()?;
        let checked = check_budget(
            common.width_px.unwrap_or(defaults.width_px),
            common.height_px.unwrap_or(defaults.height_px),
            common
                .num_inference_steps
                .unwrap_or(defaults.num_inference_steps),
            submission.image_count(),
        );
        checked.err().map(Failure::from)
    }

    /// Why a job that needs `need_bytes` is refused: its model is too large, or its picture besides the model.
    pub(super) fn too_large(&self, id: JobId, need_bytes: u64, have_bytes: u64) -> Failure {
        let Some(job) = self.state.job(id) else {
            return does_not_fit("", need_bytes, have_bytes);
        };
        let model = &job.model.name;
        match self.state.known.get(&job.model) {
            Some(known)
                if self.state.resident(&job.model).is_some()
                    || (known.weights_bytes <= have_bytes
                        && known.working_bytes(job) > known.own_working_bytes()) =>
            {
                let (width_px, height_px) = (
                    job.width_px.unwrap_or(known.width_px),
                    job.height_px.unwrap_or(known.height_px),
                );
                picture_does_not_fit(model, (width_px, height_px), need_bytes, have_bytes)
            }
            _ => does_not_fit(model, need_bytes, have_bytes),
        }
    }
}
