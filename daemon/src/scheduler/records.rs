//! Jobs as the journal writes them down, to and from what the contract and the scheduler call them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use imgd_proto::{limits, v1};
use prost::bytes::Bytes;

use super::{Lifetime, Order, Work, desk::to_proto};
use crate::{
    failure::{Failure, Reason},
    journal::Record,
    keep_alive::KeepAlive,
    submission::Submission,
};

/// A new job's record.
pub(super) fn new(order: &Order, job_id: String) -> Record {
    let (submission, image_count) = match &order.work {
        Work::Draw(submission) => (submission.shared(), submission.image_count()),
        Work::Load => (Arc::default(), 0),
    };
    let is_attached = order.lifetime == Lifetime::Attached;
    Record {
        id: job_id,
        submit_key: Some(order.request_id.clone()).filter(|key| !is_attached && !key.is_empty()),
        model_key: order.model.clone(),
        submission,
        attached: is_attached,
        client: order.client.clone(),
        priority: order.priority,
        state: v1::JobState::Queued,
        pause_reason: v1::PauseReason::Unspecified,
        is_released: false,
        problem: None,
        image_count,
        images_done: 0,
        images_failed: 0,
        images_held: 0,
        images_dropped: 0,
        submitted: SystemTime::now(),
        started: None,
        finished: None,
        timings: v1::Finished::default(),
        worker_deaths: 0,
        cursor: 0,
    }
}

/// The order that a record was made of, to go on with it.
pub(super) fn order(record: &Record) -> Order {
    let submission = Submission::from(Arc::clone(&record.submission));
    let common = submission.generate();
    // It was checked when it came.
    let keep_alive = common
        .keep_alive
        .as_ref()
        .and_then(|wanted| limits::keep_alive(wanted).ok());
    Order {
        model: record.model_key.clone(),
        keep_alive: keep_alive.map(KeepAlive::from),
        priority: record.priority,
        request_id: common.request_id.clone(),
        work: Work::Draw(submission),
        lifetime: if record.attached {
            Lifetime::Attached
        } else {
            Lifetime::Detached
        },
        is_private: false,
        client: record.client.clone(),
    }
}

/// The job as the contract tells it, without what was asked for and what is in flight.
pub(super) fn outline(record: &Record) -> v1::Job {
    let pause_reason = match record.state {
        v1::JobState::Paused => record.pause_reason,
        _ => v1::PauseReason::Unspecified,
    };
    v1::Job {
        id: record.id.clone(),
        state: record.state.into(),
        pause_reason: pause_reason.into(),
        problem: record.problem.clone(),
        image_count: record.image_count,
        images_done: record.images_done,
        images_failed: record.images_failed,
        images_held: record.images_held,
        images_dropped: record.images_dropped,
        attached: record.attached,
        client: record.client.clone(),
        submitted: Some(record.submitted.into()),
        started: record.started.map(Into::into),
        finished: record.finished.map(Into::into),
        timings: Some(record.timings),
        worker_deaths: record.worker_deaths,
        cursor: record.cursor,
        hold_after_steps: record.submission.hold_after_steps,
        ..v1::Job::default()
    }
}

/// The job with what was asked for.
pub(super) fn whole(record: &Record) -> v1::Job {
    asked(outline(record), &record.submission)
}

/// Adds what was asked for.
pub(super) fn asked(job: v1::Job, submission: &v1::SubmitJobRequest) -> v1::Job {
    v1::Job {
        request: submission.generate.as_ref().map(without_pictures),
        images: submission.images.clone(),
        ..job
    }
}

/// A request as it is shown: pictures that came with it are large, and who gave them has them.
fn without_pictures(request: &v1::GenerateRequest) -> v1::GenerateRequest {
    let input = request.input.as_ref().map(|input| v1::ImageInput {
        init_image: Bytes::new(),
        mask: Bytes::new(),
        ..input.clone()
    });
    let controls = request.controls.iter().map(|control| v1::Control {
        control_image: Bytes::new(),
        ..control.clone()
    });
    let ref_images = request
        .ref_images
        .iter()
        .map(|_| v1::ReferenceImage::default());
    // Cloning shares the pictures' bytes.
    v1::GenerateRequest {
        input,
        controls: controls.collect(),
        ref_images: ref_images.collect(),
        ..request.clone()
    }
}

/// Why a job or a picture failed, as the contract keeps it.
pub(super) fn problem(failure: &Failure) -> v1::Problem {
    v1::Problem {
        reason: failure.reason.as_str().to_owned(),
        message: failure.message.clone(),
        field: failure.field.clone().unwrap_or_default(),
        hint: failure.hint.clone().unwrap_or_default(),
    }
}

/// The failure that was kept so.
pub(super) fn failure(problem: &v1::Problem) -> Failure {
    let filled = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Failure {
        field: filled(&problem.field),
        hint: filled(&problem.hint),
        ..Failure::new(
            Reason::parse(&problem.reason).unwrap_or(Reason::Internal),
            problem.message.clone(),
        )
    }
}

/// Where a job's time went.
#[derive(Debug, Default)]
pub(super) struct Times {
    pub(super) queued: Option<Duration>,
    pub(super) loading: Duration,
    pub(super) starting: Duration,
    pub(super) stepping: Duration,
    pub(super) finishing: Duration,
}

impl Times {
    /// As they were when they were written down.
    pub(super) fn of(timings: &v1::Finished) -> Self {
        let time = |time: &Option<prost_types::Duration>| {
            time.and_then(|time| Duration::try_from(time).ok())
                .unwrap_or_default()
        };
        Self {
            queued: timings.queued.map(|queued| time(&Some(queued))),
            loading: time(&timings.loading),
            starting: time(&timings.starting),
            stepping: time(&timings.stepping),
            finishing: time(&timings.finishing),
        }
    }

    /// For the contract.
    pub(super) fn to_proto(&self, image_count: u32) -> v1::Finished {
        v1::Finished {
            queued: to_proto(self.queued.unwrap_or_default()),
            loading: to_proto(self.loading),
            starting: to_proto(self.starting),
            stepping: to_proto(self.stepping),
            finishing: to_proto(self.finishing),
            image_count,
        }
    }
}
