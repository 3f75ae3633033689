//! A running request: its events, with pictures put together from their chunks.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use imgd_proto::v1::{self, generate_response};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_stream::Stream;
use tonic::Streaming;

use crate::{Error, Event, Result, picture::Partial};

/// The daemon keeps the request's timeout itself; the client gives it this much longer to say so.
const TIMEOUT_GRACE: Duration = Duration::from_secs(1);

/// A running request. Dropping it cancels the request within one network evaluation.
///
/// Gives events by [`Generation::next`], or as a [`Stream`] of `Result<Event>`. It ends after
/// [`Event::Finished`], or after the first error.
#[derive(Debug)]
pub struct Generation {
    stream: Streaming<v1::GenerateResponse>,
    job_id: String,
    sequence: u64,
    partial: Option<Partial>,
    is_over: bool,
    deadline: Option<Deadline>,
}

#[derive(Debug)]
struct Deadline {
    timeout: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Generation {
    pub(crate) fn new(
        stream: Streaming<v1::GenerateResponse>,
        began: Instant,
        timeout: Option<Duration>,
    ) -> Self {
        let deadline = timeout.and_then(|timeout| {
            let end = began.checked_add(timeout)?.checked_add(TIMEOUT_GRACE)?;
            Some(Deadline {
                timeout,
                sleep: Box::pin(sleep_until(end)),
            })
        });
        Self {
            stream,
            job_id: String::new(),
            sequence: 0,
            partial: None,
            is_over: false,
            deadline,
        }
    }

    /// The next event; `None` when the request is over.
    pub async fn next(&mut self) -> Option<Result<Event>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The job's id; empty before the first event.
    pub fn job_id(&self) -> &str {
        &self.job_id
    }

    /// The number of the last event, counted from 0. A picture comes in several chunks, each an event.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    fn accept(&mut self, response: v1::GenerateResponse) -> Result<Option<Event>> {
        use generate_response::Event as Wire;
        self.job_id = response.job_id;
        self.sequence = response.sequence;
        Ok(Some(match response.event {
            Some(Wire::Queued(queued)) => Event::Queued {
                position: queued.position,
                priority: queued.priority(),
                request_id: queued.request_id,
            },
            Some(Wire::Loading(loading)) => Event::Loading {
                model: loading.model,
                fraction: loading.fraction,
            },
            Some(Wire::Started(started)) => Event::Started(started.into()),
            Some(Wire::Step(step)) => Event::Step(step.into()),
            Some(Wire::Image(chunk)) => {
                let file = Partial::accept(&mut self.partial, chunk)?;
                return file
                    .map(|file| file.try_into().map(Event::Image))
                    .transpose();
            }
            Some(Wire::Finished(finished)) => {
                self.is_over = true;
                Event::Finished(finished.into())
            }
            Some(Wire::Notice(notice)) => Event::Notice {
                reason: notice.reason,
                message: notice.message,
                field: notice.field,
            },
            // An event of a later daemon.
            None => return Ok(None),
        }))
    }
}

impl Stream for Generation {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.is_over {
            if let Some(deadline) = &mut self.deadline
                && deadline.sleep.as_mut().poll(context).is_ready()
            {
                let secs = deadline.timeout.as_secs_f64();
                self.is_over = true;
                return Poll::Ready(Some(Err(Error::TimedOut { secs })));
            }
            let event = match ready!(Pin::new(&mut self.stream).poll_next(context)) {
                Some(Ok(response)) => self.accept(response),
                Some(Err(status)) => Err(status.into()),
                None => Err(Error::Contract(
                    "the events ended before the work was finished",
                )),
            };
            match event {
                Ok(None) => {}
                Ok(Some(event)) => return Poll::Ready(Some(Ok(event))),
                Err(error) => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}
