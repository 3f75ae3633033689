//! Whether a job may go on, once it is known what its model is: its work and its memory.

use imgd_proto::limits::check_budget;

use super::{Work, actor::Actor};
use crate::{
    failure::{Failure, does_not_fit, picture_does_not_fit},
    queue::{Job, JobId},
};

impl Actor {
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
