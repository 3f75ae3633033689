//! What the scheduler remembers of a job besides its place in the queue.

use std::time::{Duration, Instant};

use imgd_proto::v1;

use super::{Order, Work};
use crate::{
    engine::{Begun, PictureRequest, Stepped},
    events::{Event, Log},
};

/// One job's papers.
pub(super) struct Desk {
    pub(super) order: Order,
    pub(super) log: Log,
    pub(super) job_id: String,
    submitted: Instant,
    position: Option<u32>,
    times: Times,
    image: Option<ImageInFlight>,
    images_done: u32,
    /// Whether a worker was gone when a picture was to begin.
    lost_a_worker: bool,
}

/// Where a job's time went.
#[derive(Debug, Default)]
struct Times {
    queued: Option<Duration>,
    loading: Duration,
    starting: Duration,
    stepping: Duration,
    finishing: Duration,
}

struct ImageInFlight {
    index: u32,
    evaluation_count: u32,
    evaluations_done: u32,
    stepping_since: Instant,
}

impl Desk {
    pub(super) fn new(order: Order, log: Log, job_id: String, now: Instant) -> Self {
        Self {
            order,
            log,
            job_id,
            submitted: now,
            position: None,
            times: Times::default(),
            image: None,
            images_done: 0,
            lost_a_worker: false,
        }
    }

    /// Whether a job whose worker is gone may begin with another one. True once.
    pub(super) fn may_begin_with_another_worker(&mut self) -> bool {
        !std::mem::replace(&mut self.lost_a_worker, true)
    }

    /// Pictures the job makes.
    pub(super) fn image_count(&self) -> u32 {
        match &self.order.work {
            Work::Load => 0,
            Work::Draw(submission) => submission.image_count(),
        }
    }

    /// Width and height of its pictures, where the request says them.
    pub(super) fn size_px(&self) -> (Option<u32>, Option<u32>) {
        match &self.order.work {
            Work::Load => (None, None),
            Work::Draw(submission) => {
                let common = submission.generate();
                (common.width_px, common.height_px)
            }
        }
    }

    /// Tells the reader its position, if it is another than before.
    pub(super) fn tell_position(&mut self, position: u32) {
        if self.position != Some(position) {
            self.position = Some(position);
            self.log.push(Event::Queued(v1::Queued {
                position,
                request_id: self.order.request_id.clone(),
                priority: self.order.priority.into(),
            }));
        }
    }

    /// Its turn has come.
    pub(super) fn turn_came(&mut self, now: Instant) {
        self.times.queued.get_or_insert(now - self.submitted);
    }

    /// Its model was loaded, or it waited for another job's load.
    pub(super) fn loading_took(&mut self, time: Duration) {
        self.times.loading += time;
    }

    /// The next picture's request, with its own seed.
    pub(super) fn next_picture(&self) -> Option<PictureRequest> {
        match &self.order.work {
            Work::Load => None,
            Work::Draw(submission) => Some(submission.picture(self.images_done)),
        }
    }

    /// A picture was begun.
    pub(super) fn begun(&mut self, begun: Begun, now: Instant) {
        self.times.starting += begun.took;
        self.image = Some(ImageInFlight {
            index: self.images_done,
            evaluation_count: begun.evaluation_count,
            evaluations_done: 0,
            stepping_since: now,
        });
        if self.images_done == 0 {
            for notice in begun.notices {
                self.log.push(Event::Notice(notice));
            }
        }
        self.log.push(Event::Started(Box::new(v1::Started {
            image_index: self.images_done,
            image_count: self.image_count(),
            settings: Some(begun.settings),
            evaluation_count: begun.evaluation_count,
            evaluations_done: 0,
        })));
    }

    /// Whether the evaluation that comes next is to be followed by a preview.
    pub(super) fn wants_preview(&self) -> bool {
        let (Work::Draw(submission), Some(image)) = (&self.order.work, &self.image) else {
            return false;
        };
        let every = submission.generate().preview_every_n_steps;
        every > 0 && (image.evaluations_done + 1).is_multiple_of(every)
    }

    /// An evaluation was made. `finish_estimate` is what decoding is likely to take.
    pub(super) fn stepped(
        &mut self,
        step: &Stepped,
        preview: Option<v1::Preview>,
        finish_estimate: Duration,
        now: Instant,
    ) {
        self.times.stepping += step.took;
        let Some(image) = &mut self.image else { return };
        image.evaluations_done = step.evaluations_done;
        let left = image.evaluation_count.saturating_sub(step.evaluations_done);
        let each = (now - image.stepping_since) / step.evaluations_done.max(1);
        self.log.push(Event::Step(v1::Step {
            image_index: image.index,
            index: step.evaluations_done,
            count: image.evaluation_count,
            inference_step: step.inference_step,
            sigma: step.sigma,
            eta: to_proto(each.saturating_mul(left) + finish_estimate),
            preview,
        }));
    }

    /// A picture is finished.
    pub(super) fn finished(&mut self, picture: crate::engine::Picture) {
        self.times.finishing += picture.took;
        self.image = None;
        let index = self.images_done;
        self.images_done += 1;
        self.log.push(Event::Picture {
            index,
            picture: Box::new(picture),
        });
    }

    /// Where the time went, for the last event.
    pub(super) fn timings(&self) -> v1::Finished {
        v1::Finished {
            queued: to_proto(self.times.queued.unwrap_or_default()),
            loading: to_proto(self.times.loading),
            starting: to_proto(self.times.starting),
            stepping: to_proto(self.times.stepping),
            finishing: to_proto(self.times.finishing),
            image_count: self.images_done,
        }
    }

    /// Time since it was submitted.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now - self.submitted
    }
}

/// A duration as the wire has it; those that do not fit (292 billion years) are left out.
pub(super) fn to_proto(time: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(time).ok()
}
