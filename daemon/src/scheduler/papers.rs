//! What is to be written down of one job, in order and one after another: what comes later says what came before.
//!
//! A record is made when its turn comes, so it never tells of a picture that could not be kept. What cannot be written
//! stays first and is tried again; saved states, which only save time, are let go.

use std::{collections::VecDeque, time::Instant};

use imgd_proto::v1;
use tokio::sync::oneshot;

use super::images::Saved;
use crate::{failure::Failure, journal::FinishedImage};

/// Who waits to hear that it is written.
pub(super) type Reply = oneshot::Sender<Result<v1::Job, Failure>>;

/// One thing to write.
#[derive(Debug)]
pub(super) enum Paper {
    /// How the job is.
    State,
    /// How far a picture is.
    Save {
        index: u32,
        saved: Saved,
        preview: Option<v1::Preview>,
    },
    /// A picture.
    Finish {
        index: u32,
        image: Box<FinishedImage>,
    },
    /// That a picture cannot be made.
    Fail { index: u32, failure: Failure },
    /// A picture as far as it is to go for now.
    Hold {
        index: u32,
        saved: Saved,
        preview: Option<v1::Preview>,
    },
    /// Which of the held pictures are finished, and which are not.
    Choose { kept: Vec<u32>, dropped: Vec<u32> },
    /// Nothing of the job any more.
    Delete,
}

impl Paper {
    /// The picture it is about.
    fn index(&self) -> Option<u32> {
        match self {
            Self::Save { index, .. }
            | Self::Finish { index, .. }
            | Self::Fail { index, .. }
            | Self::Hold { index, .. } => Some(*index),
            Self::State | Self::Choose { .. } | Self::Delete => None,
        }
    }
}

/// What is to be written of a job.
#[derive(Debug, Default)]
pub(super) struct Papers {
    waiting: VecDeque<Paper>,
    is_at_work: bool,
    retry_at: Option<Instant>,
    replies: Vec<Reply>,
}

impl Papers {
    /// Adds a paper. What it says as well needs no paper of its own any more.
    pub(super) fn push(&mut self, paper: Paper) {
        self.retain_waiting(|older| match (older, &paper) {
            (_, Paper::Delete) => false,
            (Paper::Save { index: older, .. }, newer) => newer.index() != Some(*older),
            (Paper::State, Paper::Save { .. }) => true,
            (Paper::State, _) => false,
            _ => true,
        });
        self.waiting.push_back(paper);
    }

    /// Lets go of records that wait: another says all they would.
    pub(super) fn drop_states(&mut self) {
        self.retain_waiting(|paper| !matches!(paper, Paper::State));
    }

    fn retain_waiting(&mut self, is_needed: impl Fn(&Paper) -> bool) {
        let mut is_at_work = self.is_at_work;
        self.waiting
            .retain(|paper| std::mem::take(&mut is_at_work) || is_needed(paper));
    }

    /// Answers once everything that waits now is written, or cannot be.
    pub(super) fn answer(&mut self, reply: Reply) {
        self.replies.push(reply);
    }

    /// The paper to write now, if it is time; it is at work from here on.
    pub(super) fn begin(&mut self, now: Instant) -> Option<&Paper> {
        if self.is_at_work || self.retry_at.is_some_and(|moment| moment > now) {
            return None;
        }
        self.is_at_work = !self.waiting.is_empty();
        self.waiting.front()
    }

    /// The paper at work is written, or is let go.
    pub(super) fn written(&mut self) -> Option<Paper> {
        self.is_at_work = false;
        self.retry_at = None;
        self.waiting.pop_front()
    }

    /// The paper at work is to be tried again.
    pub(super) fn try_again(&mut self, at: Instant) {
        self.is_at_work = false;
        self.retry_at = Some(at);
    }

    /// The paper that is next, or at work.
    pub(super) fn front(&self) -> Option<&Paper> {
        self.waiting.front()
    }

    /// Tries again at once.
    pub(super) fn hurry(&mut self) {
        self.retry_at = None;
    }

    /// When to try again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether something could not be written.
    pub(super) fn is_stuck(&self) -> bool {
        self.retry_at.is_some()
    }

    /// Whether nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Pictures that wait to be written.
    pub(super) fn pictures(&self) -> usize {
        let pictures = self.waiting.iter();
        pictures
            .filter(|paper| matches!(paper, Paper::Finish { .. }))
            .count()
    }

    /// Those who wait to hear.
    pub(super) fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Paper, Papers, Saved};

    fn save(index: u32, evaluations_done: u32) -> Paper {
        Paper::Save {
            index,
            saved: Saved {
                bytes: tonic::codegen::Bytes::new(),
                evaluations_done,
                evaluation_count: 9,
            },
            preview: None,
        }
    }

    #[test]
    fn only_the_last_save_of_a_picture_waits_and_the_one_at_work_stays() {
        let (mut papers, now) = (Papers::default(), Instant::now());
        papers.push(save(0, 1));
        assert!(papers.begin(now).is_some());
        assert!(papers.begin(now).is_none(), "one at a time");
        for done in 2..100 {
            papers.push(save(0, done));
            papers.push(save(1, done));
        }
        assert_eq!(papers.waiting.len(), 3);
        let mut written = Vec::new();
        while let Some(Paper::Save { index, saved, .. }) = papers.written() {
            written.push((index, saved.evaluations_done));
            papers.begin(now);
        }
        assert_eq!(written, [(0, 1), (0, 99), (1, 99)]);
    }

    #[test]
    fn a_record_goes_with_what_comes_after_it() {
        let mut papers = Papers::default();
        papers.push(Paper::State);
        papers.push(Paper::State);
        papers.push(Paper::Choose {
            kept: vec![1],
            dropped: Vec::new(),
        });
        assert!(matches!(papers.front(), Some(Paper::Choose { .. })));
        papers.push(Paper::State);
        assert_eq!(papers.waiting.len(), 2);
        papers.push(Paper::Delete);
        assert_eq!(papers.waiting.len(), 1);
    }

    #[test]
    fn what_could_not_be_written_stays_first_and_waits() {
        let (mut papers, now) = (Papers::default(), Instant::now());
        papers.push(Paper::State);
        assert!(papers.begin(now).is_some());
        papers.try_again(now + Duration::from_secs(3));
        assert!(papers.is_stuck() && papers.begin(now).is_none());
        assert!(papers.begin(now + Duration::from_secs(3)).is_some());
        assert!(matches!(papers.written(), Some(Paper::State)));
        assert!(papers.is_empty() && !papers.is_stuck());
    }
}
