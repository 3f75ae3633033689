//! What the scheduler remembers of a job besides its place in the queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use imgd_proto::v1;
use tonic::codegen::Bytes;

use super::{
    Order, Work,
    hooks::{Kept, Next, Which},
};
use crate::{
    engine::{Begun, GenerationId, Stepped},
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
    images: BTreeMap<GenerationId, ImageInFlight>,
    /// Pictures that were begun before and wait again.
    returned: BTreeSet<u32>,
    /// The last saved states of pictures that are not done.
    kept: BTreeMap<u32, Bytes>,
    /// The first picture that was never begun.
    next_index: u32,
    images_done: u32,
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
    evaluation_count: u32,
    /// Evaluations that it had done when it was begun or restored.
    evaluations_before: u32,
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
            images: BTreeMap::new(),
            returned: BTreeSet::new(),
            kept: BTreeMap::new(),
            next_index: 0,
            images_done: 0,
        }
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
    pub(super) fn next_image(&mut self) -> Option<Next> {
        let index = self.returned.first().copied().unwrap_or(self.next_index);
        let Work::Draw(submission) = &self.order.work else {
            return None;
        };
        if index >= submission.image_count() {
            return None;
        }
        let picture = submission.picture(index);
        if !self.returned.remove(&index) {
            self.next_index += 1;
        }
        Some(Next {
            index,
            picture,
            saved: self.kept.get(&index).cloned(),
        })
    }

    /// A picture was begun.
    pub(super) fn begun(&mut self, which: Which, begun: Begun, now: Instant) {
        self.times.starting += begun.took;
        self.images.insert(
            which.generation,
            ImageInFlight {
                evaluation_count: begun.evaluation_count,
                evaluations_before: begun.evaluations_done,
                stepping_since: now,
            },
        );
        if which.index == 0 {
            for notice in begun.notices {
                self.log.push(Event::Notice(notice));
            }
        }
        self.log.push(Event::Started(Box::new(v1::Started {
            image_index: which.index,
            image_count: self.image_count(),
            settings: Some(begun.settings),
            evaluation_count: begun.evaluation_count,
            evaluations_done: begun.evaluations_done,
        })));
    }

    /// An evaluation was made. `finish_estimate` is what decoding is likely to take.
    pub(super) fn stepped(
        &mut self,
        which: Which,
        step: &Stepped,
        preview: Option<v1::Preview>,
        finish_estimate: Duration,
        now: Instant,
    ) {
        self.times.stepping += step.took;
        let Some(image) = self.images.get(&which.generation) else {
            return;
        };
        let left = image.evaluation_count.saturating_sub(step.evaluations_done);
        let made = step
            .evaluations_done
            .saturating_sub(image.evaluations_before);
        let each = (now - image.stepping_since) / made.max(1);
        self.log.push(Event::Step(v1::Step {
            image_index: which.index,
            index: step.evaluations_done,
            count: image.evaluation_count,
            inference_step: step.inference_step,
            sigma: step.sigma,
            eta: to_proto(each.saturating_mul(left) + finish_estimate),
            preview,
        }));
    }

    /// A picture's state was saved.
    pub(super) fn keep(&mut self, index: u32, kept: Kept) {
        self.kept.insert(index, kept.bytes);
    }

    /// A picture's saved state is of no use. Returns whether there was one.
    pub(super) fn lose(&mut self, index: u32) -> bool {
        self.kept.remove(&index).is_some()
    }

    /// A picture waits again.
    pub(super) fn returned(&mut self, which: Which) {
        self.images.remove(&which.generation);
        self.returned.insert(which.index);
    }

    /// A picture is in flight no more.
    pub(super) fn ended(&mut self, which: Which) {
        self.images.remove(&which.generation);
    }

    /// A picture is finished.
    pub(super) fn finished(&mut self, which: Which, picture: crate::engine::Picture) {
        self.times.finishing += picture.took;
        self.images.remove(&which.generation);
        self.kept.remove(&which.index);
        self.images_done += 1;
        self.log.push(Event::Picture {
            index: which.index,
            picture: Box::new(picture),
        });
    }

    /// The worker died while it was at a picture.
    pub(super) fn worker_died(&self, which: Which, how: &str) {
        self.log.push(Event::Notice(v1::Notice {
            reason: "worker_died".to_owned(),
            message: format!(
                "the worker {how}; image {} goes on from its last saved step",
                which.index
            ),
            ..v1::Notice::default()
        }));
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
