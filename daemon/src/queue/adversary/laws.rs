//! What may never happen.

use std::time::Instant;

use super::world::World;
use crate::{
    engine::GenerationId,
    queue::{Class, Image, Job, Resident, Stage, WorkerState},
};

/// Memory that a picture of a model takes at its peak, in bytes, for each of its pixels.
pub(super) const WORKING_PER_PIXEL: u64 = 1;

impl World {
    pub(super) fn working_bytes(&self, job: &Job) -> u64 {
        let pixels = u64::from(job.width_px.unwrap_or(8)) * u64::from(job.height_px.unwrap_or(8));
        pixels * WORKING_PER_PIXEL
    }

    pub(super) fn weights_bytes(&self) -> u64 {
        let models = self.state.models.iter();
        models.map(|model| model.memory_bytes).sum()
    }

    /// What pictures that are being decoded hold whatever else is done.
    pub(super) fn decoding_bytes(&self, except: &[GenerationId]) -> u64 {
        let decoding = self.state.in_flight().filter(|(_, image)| {
            matches!(image.stage, Stage::Decoding | Stage::Decoded)
                && !except.contains(&image.generation)
        });
        decoding.map(|(job, _)| self.working_bytes(job)).sum()
    }

    pub(super) fn check_memory(
        &self,
        working: u64,
        at_work: &[GenerationId],
    ) -> Result<(), String> {
        let taken = self.weights_bytes() + self.decoding_bytes(at_work) + working;
        if taken > self.memory && !self.has_shrunk {
            return Err(format!(
                "{taken} bytes are taken of {}: {:?}",
                self.memory, self.last
            ));
        }
        Ok(())
    }

    pub(super) fn may_compute(&self, generation: GenerationId) -> Result<(&Job, &Image), String> {
        let job = self.state.job_of(generation).ok_or("nobody's picture")?;
        let image = job.image(generation).ok_or("nobody's picture")?;
        if job.is_cancelled || image.is_failed {
            return Err("what nobody wants was computed".to_owned());
        }
        if job.is_paused {
            return Err("a paused job was worked for".to_owned());
        }
        if job.class == Class::Background && !self.state.background.is_allowed(self.now) {
            return Err("background work was done when it may not be".to_owned());
        }
        if image.is_hold_due {
            return Err("a picture went on that is to be held".to_owned());
        }
        if self.state.resident(&job.model).is_none() {
            return Err("a picture went on without its model".to_owned());
        }
        Ok((job, image))
    }

    /// Whether anything could be done for the job if it had the machine to itself.
    pub(super) fn is_active(&self, job: &Job) -> bool {
        let may = job.class != Class::Background || self.state.background.is_allowed(self.now);
        // Pictures begun with a model's old files are finished first, even if their reader takes his time: he has a
        // minute before his stream is given up.
        let is_old = |model: &Resident| Some(model.fingerprint) != job.fingerprint;
        let waits_for_old = job.fingerprint.is_some()
            && self.state.resident(&job.model).is_some_and(is_old)
            && self
                .state
                .in_flight()
                .any(|(other, _)| other.model == job.model);
        let begins = !job.is_blocked && !waits_for_old && (job.images_left > 0 || job.only_loads);
        let goes_on = job
            .images
            .iter()
            .any(|image| !(job.is_blocked && image.stage == Stage::Denoised));
        may && !job.is_cancelled && !job.is_paused && (begins || goes_on)
    }

    pub(super) fn wait(&mut self, until: Option<Instant>) -> Result<bool, String> {
        let retry = match self.state.worker {
            WorkerState::Absent { retry_at } => retry_at.filter(|moment| *moment > self.now),
            WorkerState::Present { .. } => None,
        };
        let jobs = self.state.jobs.iter();
        let active: Vec<_> = jobs.filter(|job| self.is_active(job)).collect();
        if let (Some(job), None) = (active.first(), retry) {
            return Err(format!("waits, though something can be done: {job:?}"));
        }
        match until {
            None if retry.is_some() && !active.is_empty() => {
                Err("waits for ever for a worker".to_owned())
            }
            None => Ok(false),
            Some(moment) if moment <= self.now => Err("waits for a moment that is over".to_owned()),
            Some(moment) => {
                self.now = moment;
                Ok(true)
            }
        }
    }
}
