//! What the engine room asks and tells about pictures: the hooks by which jobs, readers and the journal follow the work.
//!
//! The engine room (`carry_out`, `outcome`, `saving`, `deaths`) calls these and nothing else of a job's papers. It
//! keeps the queue's state itself: a hook never touches [`crate::queue::State`] for the picture it is told about,
//! except by `fail`.

use std::time::{Duration, Instant};

use imgd_proto::v1;
use tonic::codegen::Bytes;
use tracing::warn;

use super::{
    Work,
    actor::Actor,
    images::{Place, Saved},
    papers::Paper,
};
use crate::{
    engine::{Begun, FileRequest, GenerationId, ModelKey, Picture, PictureRequest, Stepped},
    events::Event,
    failure::{Failure, Reason},
    journal::FinishedImage,
    queue::{Group, JobId},
};

/// A picture that is to be begun, or restored.
pub(super) struct Next {
    /// Which of the job's, from 0.
    pub(super) index: u32,
    /// What to make, with its own seed and prompt.
    pub(super) picture: PictureRequest,
    /// Its state where it was begun before: a bytes value of the engine's `save`.
    pub(super) saved: Option<Bytes>,
}

/// A picture in flight, as hooks hear of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Which {
    pub(super) job: JobId,
    pub(super) generation: GenerationId,
    /// Which of the job's, from 0.
    pub(super) index: u32,
}

/// A picture's state, as it was saved.
pub(super) struct Kept {
    pub(super) bytes: Bytes,
    pub(super) evaluations_done: u32,
    pub(super) evaluation_count: u32,
    /// What it looks like, where one was made.
    pub(super) preview: Option<v1::Preview>,
}

impl Actor {
    /// The picture that the job begins next: not done, not in flight, those that were begun before first.
    ///
    /// Asked once for each begin; a picture that comes back is told by [`Actor::image_returned`].
    pub(super) fn next_image(&mut self, job: JobId) -> Option<Next> {
        self.desks.get_mut(&job)?.next_image()
    }

    /// The file to make of the job's pictures.
    pub(super) fn file_of(&self, job: JobId) -> Option<FileRequest> {
        match &self.desks.get(&job)?.order.work {
            Work::Draw(submission) => Some(submission.file()),
            Work::Load => None,
        }
    }

    /// Whether somebody wants a preview after this evaluation, counted from 1.
    pub(super) fn wants_preview(&self, job: JobId, evaluation: u32) -> bool {
        let Some(Work::Draw(submission)) = self.desks.get(&job).map(|desk| &desk.order.work) else {
            return false;
        };
        let every = submission.generate().preview_every_n_steps;
        every > 0 && evaluation.is_multiple_of(every)
    }

    /// A picture was begun or restored.
    pub(super) fn image_begun(&mut self, which: Which, begun: Begun, now: Instant) {
        if let Some(job) = self.state.job_mut(which.job) {
            job.is_running = true;
        }
        if let Some(desk) = self.desks.get_mut(&which.job) {
            desk.begun(which, begun, now);
            self.write(which.job, now);
            self.read_ahead(which.job);
        }
    }

    /// A picture made an evaluation, in a call that it shared with others. `rest` is what decoding is likely to take.
    pub(super) fn image_stepped(
        &mut self,
        which: Which,
        step: &Stepped,
        preview: Option<v1::Preview>,
        rest: Duration,
        now: Instant,
    ) {
        if let Some(desk) = self.desks.get_mut(&which.job) {
            desk.stepped(which, step, preview, rest, now);
        }
    }

    /// A picture's state was saved; it goes on. The last one is kept in memory too, for the worker's death.
    pub(super) fn image_saved(&mut self, which: Which, kept: Kept) {
        if let Some(desk) = self.desks.get_mut(&which.job) {
            let (saved, preview) = kept.parts();
            desk.keep(which.index, saved, preview);
            self.write(which.job, Instant::now());
        }
    }

    /// A picture is in flight no more and waits again: it was parked, or its worker died. What was kept of it last is
    /// what it goes on from.
    pub(super) fn image_returned(&mut self, which: Which) {
        if let Some(desk) = self.desks.get_mut(&which.job) {
            desk.left(which.index, Place::Waiting);
        }
    }

    /// A picture is as far as its job's `hold_after`, and its state is kept. The job goes on with its others; once none
    /// is left, `complete` is called.
    pub(super) fn image_held(&mut self, which: Which, kept: Kept) {
        if let Some(desk) = self.desks.get_mut(&which.job) {
            let (saved, preview) = kept.parts();
            desk.left(which.index, Place::Stored);
            let index = which.index;
            let paper = Paper::Hold {
                index,
                saved,
                preview,
            };
            self.file(which.job, paper, Instant::now());
        }
    }

    /// A picture is finished: its owner has it before the disk has.
    pub(super) fn image_finished(&mut self, which: Which, picture: Picture) {
        let Some(desk) = self.desks.get_mut(&which.job) else {
            return;
        };
        desk.times.finishing += picture.took;
        desk.left(which.index, Place::Stored);
        let image = FinishedImage {
            bytes: picture.bytes.clone(),
            thumbnail: picture.thumbnail.clone(),
            metadata: picture.metadata.clone(),
        };
        desk.log.push(Event::Picture {
            index: which.index,
            picture: Box::new(picture),
        });
        let index = which.index;
        self.file(
            which.job,
            Paper::Finish {
                index,
                image: Box::new(image),
            },
            Instant::now(),
        );
    }

    /// A picture cannot be made; its generation is about to be forgotten. The job goes on with its others where the
    /// fault is the picture's own.
    pub(super) fn image_failed(&mut self, which: Which, failure: Failure, now: Instant) {
        if failure.reason != Reason::Numerics {
            return self.fail(which.job, failure, now);
        }
        if let Some(desk) = self.desks.get_mut(&which.job) {
            desk.left(which.index, Place::Stored);
            let index = which.index;
            self.file(which.job, Paper::Fail { index, failure }, now);
        }
    }

    /// A worker died while it was at the job.
    pub(super) fn worker_died_at(&mut self, job: JobId) {
        if let Some(desk) = self.desks.get_mut(&job) {
            desk.record.worker_deaths += 1;
        }
    }

    /// A worker died while it was at a picture of the job, and the picture is tried once more from what was kept.
    pub(super) fn worker_died_notice(&mut self, which: Which, how: &str) {
        if let Some(desk) = self.desks.get(&which.job) {
            let index = which.index;
            desk.notice(
                "worker_died",
                format!("the worker {how}; image {index} goes on from its last saved step"),
            );
        }
    }

    /// The saved state that a picture was to go on from is of no use. Returns whether there was one: the picture begins
    /// anew then.
    pub(super) fn kept_is_lost(&mut self, which: Which, failure: &Failure) -> bool {
        let desk = self.desks.get_mut(&which.job);
        let was_kept = desk.is_some_and(|desk| desk.images.lose(which.index));
        if was_kept {
            warn!("a picture's saved state is of no use: {failure}");
        }
        was_kept
    }

    /// A model is in memory, from now on as [`crate::engine::Loaded`] says: stored curves of it are restored.
    pub(super) fn model_is_resident(&mut self, model: &ModelKey) {
        self.restore_curves(model);
    }

    /// More is known of what sharing evaluations costs, and worth storing.
    pub(super) fn curve_changed(&mut self, model: &ModelKey, group: Group) {
        self.store_curve(model, group);
    }

    /// The engine worked so long for background work: its duty cycle may want a pause.
    pub(super) fn background_worked(&mut self, took: Duration) {
        self.rest_of_background(took);
    }
}

impl Kept {
    fn parts(self) -> (Saved, Option<v1::Preview>) {
        let saved = Saved {
            bytes: self.bytes,
            evaluations_done: self.evaluations_done,
            evaluation_count: self.evaluation_count,
        };
        (saved, self.preview)
    }
}
