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

use crate::{Error, Event, Image, Result};

/// Larger pictures break the contract: 4,096 x 4,096 pixels of three bytes, and room for the file around them.
const MAX_IMAGE_BYTES: u64 = 64 << 20;
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
    partial: Option<PartialImage>,
    is_over: bool,
    deadline: Option<Deadline>,
}

#[derive(Debug)]
struct Deadline {
    timeout: Duration,
    sleep: Pin<Box<Sleep>>,
}

#[derive(Debug)]
struct PartialImage {
    index: u32,
    total_bytes: u64,
    bytes: Vec<u8>,
    metadata: v1::ImageMetadata,
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
                return Ok(self.accept_chunk(&chunk)?.map(Event::Image));
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

    /// Takes a part of a picture; returns the picture with its last part.
    fn accept_chunk(&mut self, chunk: &v1::ImageChunk) -> Result<Option<Image>> {
        let mut partial = match self.partial.take() {
            Some(partial) => partial,
            None => PartialImage::begin(chunk)?,
        };
        let expected = (
            partial.index,
            partial.bytes.len() as u64,
            partial.total_bytes,
        );
        if (chunk.image_index, chunk.offset, chunk.total_bytes) != expected {
            return Err(Error::Contract("parts of a picture came out of order"));
        }
        partial.bytes.extend_from_slice(&chunk.data);
        let length = partial.bytes.len() as u64;
        if length > partial.total_bytes || chunk.last != (length == partial.total_bytes) {
            return Err(Error::Contract("a picture has another size than was said"));
        }
        if !chunk.last {
            self.partial = Some(partial);
            return Ok(None);
        }
        Ok(Some(Image {
            index: partial.index,
            bytes: partial.bytes,
            format: partial.metadata.format(),
            settings: partial.metadata.settings.unwrap_or_default(),
            model_hash: partial.metadata.model_hash,
            sha256: partial.metadata.sha256,
            parameters: partial.metadata.parameters,
        }))
    }
}

impl PartialImage {
    fn begin(chunk: &v1::ImageChunk) -> Result<Self> {
        if chunk.total_bytes > MAX_IMAGE_BYTES {
            return Err(Error::Contract("a picture is too large"));
        }
        let metadata = chunk.metadata.clone();
        Ok(Self {
            index: chunk.image_index,
            total_bytes: chunk.total_bytes,
            bytes: Vec::with_capacity(usize::try_from(chunk.total_bytes).unwrap_or(0)),
            metadata: metadata.ok_or(Error::Contract("a picture came without its settings"))?,
        })
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
