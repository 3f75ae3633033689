//! Following a job that goes on without us.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use imgd_proto::v1::{self, Job, JobImage, watch_job_response};
use tokio_stream::Stream;
use tonic::Streaming;

use crate::{Error, Result, Started, Step, is_final};

/// One event of a job. Steps may be skipped where a watcher is slow; states and pictures never are.
#[expect(
    clippy::large_enum_variant,
    reason = "few are there at a time, and most belong to an evaluation of seconds"
)]
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum JobEvent {
    /// How the job is now, in place of all events before it. An [`JobEvent::Image`] follows for each picture that
    /// the watcher may not know.
    Snapshot(Box<Job>),
    /// The state or the place in the queue changed. What was asked for (`request`, `images`) is left out; a snapshot and
    /// [`Client::job`](crate::Client::job) have it, and [`update`](crate::update) keeps it.
    Changed(Box<Job>),
    /// The model is being read.
    Loading {
        /// The model's name.
        model: String,
        /// Share that is done, 0 to 1.
        fraction: f64,
    },
    /// An image begins, or goes on from where it was saved.
    Started(Started),
    /// One network evaluation is done.
    Step(Step),
    /// A picture is finished ([`crate::Client::image`] has it), failed, held or dropped.
    Image(Box<JobImage>),
    /// Something the user should know that is no error.
    Notice {
        /// What kind, as in [`crate::Event::Notice`].
        reason: String,
        /// A sentence for the user.
        message: String,
        /// The field it is about; empty for none.
        field: String,
    },
}

/// A job that is followed. Dropping it changes nothing for the job.
///
/// Gives events by [`Watch::next`], or as a [`Stream`] of `Result<JobEvent>`. It ends when the job is at its end, or
/// after the first error. After [`Error::Lost`] connect again and go on with
/// [`Client::watch`](crate::Client::watch) from [`Watch::cursor`]: cursors hold across restarts of the daemon.
#[derive(Debug)]
pub struct Watch {
    stream: Streaming<v1::WatchJobResponse>,
    job_id: String,
    cursor: u64,
    /// The job is said to be at its end; pictures may still be told of.
    has_ended: bool,
    is_over: bool,
}

impl Watch {
    pub(crate) fn new(stream: Streaming<v1::WatchJobResponse>, cursor: u64) -> Self {
        Self {
            stream,
            job_id: String::new(),
            cursor,
            has_ended: false,
            is_over: false,
        }
    }

    /// The next event; `None` when the job is at its end and all is told.
    pub async fn next(&mut self) -> Option<Result<JobEvent>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The cursor of the last event that was given: watching from it goes on behind that event.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The job's whole id; empty before the first event.
    pub fn job_id(&self) -> &str {
        &self.job_id
    }

    fn accept(&mut self, response: v1::WatchJobResponse) -> Option<JobEvent> {
        use watch_job_response::Event as Wire;
        self.job_id = response.job_id;
        self.cursor = response.cursor;
        Some(match response.event {
            Some(Wire::Snapshot(job)) => {
                self.has_ended = is_final(job.state());
                JobEvent::Snapshot(Box::new(job))
            }
            Some(Wire::Changed(job)) => {
                self.has_ended = is_final(job.state());
                self.is_over = self.has_ended;
                JobEvent::Changed(Box::new(job))
            }
            Some(Wire::Loading(loading)) => JobEvent::Loading {
                model: loading.model,
                fraction: loading.fraction,
            },
            Some(Wire::Started(started)) => JobEvent::Started(started.into()),
            Some(Wire::Step(step)) => JobEvent::Step(step.into()),
            Some(Wire::Image(image)) => JobEvent::Image(Box::new(image)),
            Some(Wire::Notice(notice)) => JobEvent::Notice {
                reason: notice.reason,
                message: notice.message,
                field: notice.field,
            },
            // An event of a later daemon.
            None => return None,
        })
    }
}

impl Stream for Watch {
    type Item = Result<JobEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.is_over {
            match ready!(Pin::new(&mut self.stream).poll_next(context)) {
                Some(Ok(response)) => {
                    if let Some(event) = self.accept(response) {
                        return Poll::Ready(Some(Ok(event)));
                    }
                }
                Some(Err(status)) => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(status.into())));
                }
                None => {
                    self.is_over = true;
                    let early = Error::Contract("the events ended before the job did");
                    return Poll::Ready((!self.has_ended).then_some(Err(early)));
                }
            }
        }
        Poll::Ready(None)
    }
}
