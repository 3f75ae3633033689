//! What the scheduler remembers of a job besides its place in the queue.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use imgd_proto::v1::{self, ImageState, JobState};
use prost::Message as _;

use super::{
    Lifetime, Order, Work,
    hooks::{Next, Which},
    images::{Images, Place, Saved},
    papers::{Paper, Papers},
    records::{self, Times},
};
use crate::{
    engine::{Begun, Stepped},
    events::{Event, Log},
    failure::Failure,
    journal::Record,
};

/// Finished pictures that may wait for the disk before the job makes no more.
const MAX_UNWRITTEN: usize = 2;

/// One job's papers.
pub(super) struct Desk {
    pub(super) order: Order,
    pub(super) log: Log,
    /// How it is. What is on disk may be older.
    pub(super) record: Record,
    pub(super) images: Images,
    /// What is to be written down; nothing ever for a job that is not.
    pub(super) papers: Papers,
    /// The first thing that went wrong.
    pub(super) failure: Option<Failure>,
    pub(super) times: Times,
    /// Bytes of what was asked for.
    pub(super) asked_bytes: usize,
    in_flight: BTreeMap<u32, InFlight>,
    submitted: Instant,
    position: Option<u32>,
}

struct InFlight {
    evaluation_count: u32,
    evaluations_done: u32,
    evaluations_saved: u32,
    /// Evaluations that it had done when it was begun or restored.
    evaluations_before: u32,
    since: Instant,
    second: Option<SecondPass>,
}

/// What a second pass means for the time that is left.
#[derive(Clone, Copy)]
struct SecondPass {
    /// Evaluations of the first.
    after: u32,
    /// How many evaluations of the first one of it takes as long as, by the pixels.
    each: f64,
}

impl InFlight {
    /// What so many evaluations take, counted in those of the first pass.
    fn work(&self, evaluations: u32) -> f64 {
        let (after, each) = self
            .second
            .map_or((u32::MAX, 1.0), |second| (second.after, second.each));
        f64::from(evaluations.min(after)) + f64::from(evaluations.saturating_sub(after)) * each
    }

    /// The time that the evaluations left are likely to take.
    fn left(&self, now: Instant) -> Duration {
        let done = self.work(self.evaluations_done);
        let made = done - self.work(self.evaluations_before);
        let left = self.work(self.evaluation_count) - done;
        if made <= 0.0 {
            return Duration::ZERO;
        }
        (now - self.since).mul_f64((left / made).max(0.0))
    }
}

fn second_pass(settings: &v1::Settings) -> Option<SecondPass> {
    let hires = settings.hires.as_ref()?;
    let area = |width_px: u32, height_px: u32| f64::from(width_px) * f64::from(height_px);
    let first = area(settings.width_px, settings.height_px).max(1.0);
    Some(SecondPass {
        after: hires.first_pass_evaluations,
        each: area(hires.width_px, hires.height_px) / first,
    })
}

impl Desk {
    pub(super) fn new(order: Order, log: Log, record: Record, now: Instant) -> Self {
        Self {
            images: Images::new(record.image_count),
            failure: record.problem.as_ref().map(records::failure),
            times: Times::of(&record.timings),
            asked_bytes: record.submission.encoded_len(),
            order,
            log,
            record,
            papers: Papers::default(),
            in_flight: BTreeMap::new(),
            submitted: now,
            position: None,
        }
    }

    /// Whether the journal has it.
    pub(super) fn is_journaled(&self) -> bool {
        !self.order.is_private && matches!(self.order.work, Work::Draw(_))
    }

    pub(super) fn is_attached(&self) -> bool {
        self.order.lifetime == Lifetime::Attached
    }

    /// Width and height of its pictures, where the request says them; of one that is enlarged, before that.
    pub(super) fn size_px(&self) -> (Option<u32>, Option<u32>) {
        match &self.order.work {
            Work::Load => (None, None),
            Work::Draw(submission) => {
                let common = submission.generate();
                match submission.enlarged_size_px() {
                    Some((width_px, height_px)) => (Some(width_px), Some(height_px)),
                    None => (common.width_px, common.height_px),
                }
            }
        }
    }

    /// How much longer the sides of its pictures become in a second pass.
    pub(super) fn hires_scale(&self) -> Option<f64> {
        match &self.order.work {
            Work::Load => None,
            Work::Draw(submission) => submission.generate().hires.map(|hires| hires.hires_scale),
        }
    }

    /// Whether nothing more is to be made for it for now: its owner or the disk is too far behind.
    pub(super) fn is_blocked(&self) -> bool {
        self.log.is_full() || self.papers.pictures() >= MAX_UNWRITTEN
    }

    /// Whether it is not complete, whatever the queue thinks: the disk has not all of it, or has what it needs.
    pub(super) fn is_storing(&self) -> bool {
        let is_there = |place| self.images.first(place).is_some();
        !self.papers.is_empty() || is_there(Place::Unread) || is_there(Place::Read)
    }

    /// The step after which pictures are held, as long as they are.
    pub(super) fn hold_after(&self) -> Option<u32> {
        match &self.order.work {
            Work::Draw(submission) if !self.record.is_released => submission.hold_after_steps(),
            _ => None,
        }
    }

    /// Tells who follows its place in the queue, if it is another than before.
    pub(super) fn tell_position(&mut self, position: u32) {
        if self.position == Some(position) {
            return;
        }
        self.position = Some(position);
        self.log.push(Event::Queued(v1::Queued {
            position,
            request_id: self.order.request_id.clone(),
            priority: self.order.priority.into(),
        }));
        if self.record.state == JobState::Queued {
            self.log
                .push(Event::Changed(Box::new(self.outline(position))));
        }
    }

    /// Its turn has come.
    pub(super) fn turn_came(&mut self, now: Instant) {
        self.times.queued.get_or_insert(now - self.submitted);
        self.position = None;
        if self.record.state == JobState::Queued {
            self.enter(JobState::Running, v1::PauseReason::Unspecified);
        }
    }

    /// It is in another state. Tells who follows it, and has it written down.
    pub(super) fn enter(&mut self, state: JobState, reason: v1::PauseReason) {
        self.record.state = state;
        self.record.pause_reason = reason;
        self.position = None;
        self.log.push(Event::Changed(Box::new(self.outline(0))));
        self.papers.push(Paper::State);
    }

    /// It came to its end: nothing more is made for it.
    pub(super) fn end(&mut self, state: JobState, failure: Option<Failure>) {
        self.record.state = state;
        self.record.pause_reason = v1::PauseReason::Unspecified;
        self.record.finished = Some(SystemTime::now());
        self.failure = failure.or(self.failure.take());
        self.record.problem = self.failure.as_ref().map(records::problem);
        self.in_flight.clear();
        self.papers.push(Paper::State);
    }

    /// Its model was loaded, or it waited for another job's load.
    pub(super) fn loading_took(&mut self, time: Duration) {
        self.times.loading += time;
    }

    /// The next picture's request, with its own seed and prompt.
    pub(super) fn next_image(&mut self) -> Option<Next> {
        let Work::Draw(submission) = &self.order.work else {
            return None;
        };
        let (index, saved) = self.images.take_next()?;
        Some(Next {
            index,
            picture: submission.picture(index),
            saved: saved.map(|saved| saved.bytes),
        })
    }

    /// A picture was begun.
    pub(super) fn begun(&mut self, which: Which, begun: Begun, now: Instant) {
        self.turn_came(now);
        self.record.started.get_or_insert_with(SystemTime::now);
        self.times.starting += begun.took;
        let saved = self.images.saved(which.index);
        let in_flight = InFlight {
            evaluation_count: begun.evaluation_count,
            evaluations_done: begun.evaluations_done,
            evaluations_saved: saved.map_or(0, |saved| saved.evaluations_done),
            evaluations_before: begun.evaluations_done,
            since: now,
            second: second_pass(&begun.settings),
        };
        self.in_flight.insert(which.index, in_flight);
        if which.index == 0 {
            for notice in begun.notices {
                self.log.push(Event::Notice(notice));
            }
        }
        if let Some(why) = begun.restarted {
            self.notice(
                "image_restarted",
                format!(
                    "image {} starts again from the beginning: {why}",
                    which.index
                ),
            );
        }
        self.log.push(Event::Started(Box::new(v1::Started {
            image_index: which.index,
            image_count: self.record.image_count,
            settings: Some(begun.settings),
            evaluation_count: begun.evaluation_count,
            evaluations_done: begun.evaluations_done,
        })));
    }

    /// An evaluation was made. `rest` is what decoding is likely to take.
    pub(super) fn stepped(
        &mut self,
        which: Which,
        step: &Stepped,
        preview: Option<v1::Preview>,
        rest: Duration,
        now: Instant,
    ) {
        // A call that pictures share is each one's as a part.
        let sharing = u32::try_from(self.in_flight.len()).unwrap_or(1).max(1);
        self.times.stepping += step.took / sharing;
        let Some(image) = self.in_flight.get_mut(&which.index) else {
            return;
        };
        image.evaluations_done = step.evaluations_done;
        let left = image.left(now);
        self.log.push(Event::Step(v1::Step {
            image_index: which.index,
            index: step.evaluations_done,
            count: image.evaluation_count,
            inference_step: step.inference_step,
            sigma: step.sigma,
            eta: to_proto(left + rest),
            preview,
        }));
    }

    /// A picture's state was saved.
    pub(super) fn keep(&mut self, index: u32, saved: Saved, preview: Option<v1::Preview>) {
        self.images.save(index, saved.clone());
        self.papers.push(Paper::Save {
            index,
            saved,
            preview,
        });
    }

    /// So many evaluations of a picture are on disk.
    pub(super) fn kept(&mut self, index: u32, evaluations_done: u32) {
        if let Some(image) = self.in_flight.get_mut(&index) {
            image.evaluations_saved = evaluations_done;
        }
    }

    /// A picture is in flight no more.
    pub(super) fn left(&mut self, index: u32, place: Place) {
        self.in_flight.remove(&index);
        self.images.put(index, place);
    }

    pub(super) fn notice(&self, reason: &str, message: String) {
        self.log.push(Event::Notice(v1::Notice {
            reason: reason.to_owned(),
            message,
            ..v1::Notice::default()
        }));
    }

    /// The record as it would be once the paper is written: counts are of what the journal knows.
    pub(super) fn record_with(&self, paper: &Paper) -> Record {
        let settled = |state| self.images.settled(state);
        let mut record = self.record.clone();
        record.images_done = settled(ImageState::Done);
        record.images_failed = settled(ImageState::Failed);
        record.images_held = settled(ImageState::Held);
        record.images_dropped = settled(ImageState::Dropped);
        match paper {
            Paper::Finish { .. } => record.images_done += 1,
            Paper::Fail { failure, .. } => {
                record.images_failed += 1;
                record.problem = record.problem.or(Some(records::problem(failure)));
            }
            Paper::Hold { .. } => record.images_held += 1,
            Paper::Choose { kept, dropped } => {
                let count = |list: &[u32]| u32::try_from(list.len()).unwrap_or(u32::MAX);
                record.images_held -= (count(kept) + count(dropped)).min(record.images_held);
                record.images_dropped += count(dropped);
            }
            Paper::State | Paper::Save { .. } | Paper::Delete => {}
        }
        record.timings = self.times.to_proto(record.images_done);
        let over = record.images_done + record.images_failed + record.images_dropped;
        if !record.is_final() && over == record.image_count && record.image_count > 0 {
            record.state = verdict(&record);
            record.pause_reason = v1::PauseReason::Unspecified;
            record.finished = Some(SystemTime::now());
        } else if !record.is_final()
            && record.images_held > 0
            && over + record.images_held == record.image_count
        {
            record.state = JobState::Paused;
            record.pause_reason = v1::PauseReason::Held;
        }
        // The events that tell of it come after.
        record.cursor = self.log.cursor() + 2;
        record
    }

    /// Evaluations made and to be made of its pictures in flight.
    pub(super) fn evaluations(&self) -> (u32, u32) {
        let in_flight = self.in_flight.values();
        in_flight.fold((0, 0), |sum, image| {
            (
                sum.0 + image.evaluations_done,
                sum.1 + image.evaluation_count,
            )
        })
    }

    /// How the job is, for the contract, without what was asked for.
    pub(super) fn outline(&self, position: u32) -> v1::Job {
        let settled = |state| self.images.settled(state);
        let in_flight = self
            .in_flight
            .iter()
            .map(|(index, image)| v1::ImageInFlight {
                image_index: *index,
                evaluations_done: image.evaluations_done,
                evaluation_count: image.evaluation_count,
                evaluations_saved: image.evaluations_saved,
            });
        v1::Job {
            images_done: settled(ImageState::Done),
            images_failed: settled(ImageState::Failed),
            images_held: settled(ImageState::Held),
            images_dropped: settled(ImageState::Dropped),
            in_flight: in_flight.collect(),
            position,
            timings: Some(self.timings()),
            cursor: self.log.cursor(),
            ..records::outline(&self.record)
        }
    }

    /// How the job is, for the contract.
    pub(super) fn whole(&self, position: u32) -> v1::Job {
        records::asked(self.outline(position), &self.record.submission)
    }

    /// Where the time went so far.
    pub(super) fn timings(&self) -> v1::Finished {
        self.times.to_proto(self.images.settled(ImageState::Done))
    }

    /// Time since it was submitted, or taken up again.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now - self.submitted
    }
}

/// How a job ends all of whose pictures came somewhere.
fn verdict(record: &Record) -> JobState {
    if record.images_failed > 0 {
        JobState::Failed
    } else {
        JobState::Succeeded
    }
}

/// A duration as the wire has it; those that do not fit (292 billion years) are left out.
pub(super) fn to_proto(time: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(time).ok()
}
