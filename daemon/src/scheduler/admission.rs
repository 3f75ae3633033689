//! Whether a job may go on, once it is known what its model is: its work and its memory.

use imgd_proto::{limits::check_work, v1};

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

    /// Memory that models which are not resident may take together with all pictures, in bytes.
    ///
    /// Read while no picture is in flight: what pictures take then is in nobody's hands, and what resident models take is
    /// no longer in what the system has to give. As long as pictures are in flight the last reading stands, less what was
    /// loaded and plus what was unloaded since; the queue counts what pictures take by estimate, `n` of them in one
    /// evaluation as `n` times one. Memory that other programs take meanwhile is noticed when none is in flight, at the
    /// latest when the kernel ends the worker, whose pictures go on from their last saved states.
    pub(super) fn available_bytes(&self) -> u64 {
        let is_at_work = |job: &Job| !job.images.is_empty() && !job.is_cancelled;
        if self.state.jobs.is_empty() || self.state.jobs.iter().any(is_at_work) {
            return self.state.available_bytes;
        }
        let models = self.state.models.iter();
        budget(
            (self.options.available_bytes)(),
            self.options.max_memory_bytes,
            models.map(|model| model.memory_bytes).sum(),
        )
    }

    /// Whether a job asks for more work than a request may, the model's defaults filled in.
    pub(super) fn over_budget(&self, id: JobId) -> Option<Failure> {
        let Work::Draw(submission) = &self.desks.get(&id)?.order.work else {
            return None;
        };
        let common = submission.generate();
        let model = self.descriptions.get(&self.state.job(id)?.model)?;
        let defaults = model.defaults.as_ref()?;
        let checked = check_work(
            common,
            (
                defaults.width_px,
                defaults.height_px,
                defaults.num_inference_steps,
            ),
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
                picture_does_not_fit(model, known.size_px(job), need_bytes, have_bytes)
            }
            _ => does_not_fit(model, need_bytes, have_bytes),
        }
    }
}

/// What is left of what the system has to give and of what all models and pictures together may take, with resident
/// models of `models_bytes`, which the system has given already.
fn budget(system_bytes: u64, most_bytes: Option<u64>, models_bytes: u64) -> u64 {
    let allowed = most_bytes.map_or(u64::MAX, |most| most.saturating_sub(models_bytes));
    system_bytes.min(allowed)
}

#[cfg(test)]
mod tests {
    use super::budget;

    #[test]
    fn resident_models_count_against_the_limit_and_not_twice_against_the_system() {
        for (system, most, models, expected) in [
            (1000, None, 0, 1000),
            (400, None, 600, 400),
            (400, Some(700), 600, 100),
            (50, Some(700), 600, 50),
            (400, Some(500), 600, 0),
        ] {
            assert_eq!(budget(system, most, models), expected);
        }
    }
}
