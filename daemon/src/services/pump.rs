//! From a job's events to a stream on the wire: numbers them, cuts pictures into chunks, watches the clock.

use std::time::Duration;

use imgd_proto::{limits::IMAGE_CHUNK_BYTES, v1};
use tokio::{sync::mpsc, time::Instant};
use tonic::{Status, codegen::Bytes};

use super::deadline;
use crate::{
    engine::Picture,
    events::{Event, Events},
    failure::Failure,
};

/// Messages that wait for the connection; each is at most a chunk.
const MAX_PENDING: usize = 4;

/// A client that takes nothing for this long is given up.
const MAX_STALL: Duration = Duration::from_secs(60);

/// The stream of a call.
pub type Stream<T> = tokio_stream::wrappers::ReceiverStream<Result<T, Status>>;

/// Makes a stream of a job that draws. The job ends when the stream is dropped, or at `deadline`.
pub fn drawing(
    job_id: String,
    events: Events,
    deadline: Option<Instant>,
) -> Stream<v1::GenerateResponse> {
    let (sender, receiver) = mpsc::channel(MAX_PENDING);
    tokio::spawn(async move {
        let mut line = Line {
            sender,
            job_id,
            sequence: 0,
        };
        run(&mut line, events, deadline).await;
    });
    Stream::new(receiver)
}

/// Makes a stream of a job that loads.
pub fn loading(events: Events, deadline: Option<Instant>) -> Stream<v1::LoadModelResponse> {
    let (sender, receiver) = mpsc::channel(MAX_PENDING);
    tokio::spawn(async move { run(&mut LoadLine { sender }, events, deadline).await });
    Stream::new(receiver)
}

/// How events become messages of one kind of call.
trait Wire {
    /// Sends an event.
    async fn send(&mut self, event: Event) -> Result<(), Closed>;
    /// Sends the failure that ends the stream.
    async fn fail(&mut self, failure: &Failure);
    /// Ends when the client has gone.
    async fn closed(&self);
}

/// The client has gone, or takes nothing.
#[derive(Debug)]
pub(super) struct Closed;

async fn run(wire: &mut impl Wire, mut events: Events, deadline: Option<Instant>) {
    let time_is_over = async {
        match deadline {
            Some(moment) => tokio::time::sleep_until(moment).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(time_is_over);
    loop {
        let event = tokio::select! {
            biased;
            () = wire.closed() => return,
            event = events.next() => event,
            () = &mut time_is_over => Some(Event::Failed(deadline::exceeded())),
        };
        let Some(event) = event else { return };
        if let Event::Failed(failure) = event {
            // The job ends before its client hears of it.
            drop(events);
            return wire.fail(&failure).await;
        }
        let is_last = event.is_last();
        let sent = tokio::select! {
            sent = wire.send(event) => sent.is_ok(),
            () = &mut time_is_over => {
                drop(events);
                return wire.fail(&deadline::exceeded()).await;
            }
        };
        if !sent || is_last {
            return;
        }
    }
}

pub(super) async fn deliver<T>(
    sender: &mpsc::Sender<Result<T, Status>>,
    message: T,
) -> Result<(), Closed> {
    match tokio::time::timeout(MAX_STALL, sender.send(Ok(message))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Closed),
        Err(_) => {
            tracing::info!(
                "a client took nothing for {} s and was given up",
                MAX_STALL.as_secs()
            );
            Err(Closed)
        }
    }
}

/// Tells why the stream ends; a client that takes nothing is not waited for long.
pub(super) async fn end<T>(sender: &mpsc::Sender<Result<T, Status>>, failure: &Failure) {
    let told = sender
        .send_timeout(Err(failure.to_status()), Duration::from_secs(5))
        .await;
    if told.is_err() {
        tracing::debug!("a client was not there to hear: {failure}");
    }
}

struct Line {
    sender: mpsc::Sender<Result<v1::GenerateResponse, Status>>,
    job_id: String,
    sequence: u64,
}

impl Line {
    async fn put(&mut self, event: v1::generate_response::Event) -> Result<(), Closed> {
        let message = v1::GenerateResponse {
            job_id: self.job_id.clone(),
            sequence: self.sequence,
            event: Some(event),
        };
        self.sequence += 1;
        deliver(&self.sender, message).await
    }

    async fn picture(&mut self, image_index: u32, picture: Picture) -> Result<(), Closed> {
        for chunk in chunks(image_index, picture.bytes, picture.metadata) {
            self.put(v1::generate_response::Event::Image(chunk)).await?;
        }
        Ok(())
    }
}

/// A file in parts, at least one; the first says what it is.
pub(super) fn chunks(
    image_index: u32,
    bytes: Bytes,
    metadata: v1::ImageMetadata,
) -> impl Iterator<Item = v1::ImageChunk> {
    let total = bytes.len();
    let mut metadata = Some(metadata);
    (0..total.max(1))
        .step_by(IMAGE_CHUNK_BYTES)
        .map(move |offset| {
            let end = total.min(offset + IMAGE_CHUNK_BYTES);
            v1::ImageChunk {
                image_index,
                data: bytes.slice(offset..end),
                offset: offset as u64,
                total_bytes: total as u64,
                last: end == total,
                metadata: metadata.take(),
            }
        })
}

impl Wire for Line {
    async fn send(&mut self, event: Event) -> Result<(), Closed> {
        use v1::generate_response::Event as Wired;
        let wired = match event {
            Event::Queued(queued) => Wired::Queued(queued),
            Event::Loading(loading) => Wired::Loading(loading),
            Event::Started(started) => Wired::Started(*started),
            Event::Step(step) => Wired::Step(step),
            Event::Notice(notice) => Wired::Notice(notice),
            Event::Finished(finished) => Wired::Finished(finished),
            Event::Picture { index, picture } => return self.picture(index, *picture).await,
            // Of jobs that only load, and of watchers.
            Event::Loaded(_) | Event::Failed(_) | Event::Changed(_) | Event::Image(_) => {
                return Ok(());
            }
        };
        self.put(wired).await
    }

    async fn fail(&mut self, failure: &Failure) {
        end(&self.sender, failure).await;
    }

    async fn closed(&self) {
        self.sender.closed().await;
    }
}

struct LoadLine {
    sender: mpsc::Sender<Result<v1::LoadModelResponse, Status>>,
}

impl Wire for LoadLine {
    async fn send(&mut self, event: Event) -> Result<(), Closed> {
        use v1::load_model_response::Event as Wired;
        let wired = match event {
            Event::Loading(loading) => Wired::Loading(loading),
            Event::Loaded(loaded) => Wired::Loaded(loaded),
            _ => return Ok(()),
        };
        deliver(&self.sender, v1::LoadModelResponse { event: Some(wired) }).await
    }

    async fn fail(&mut self, failure: &Failure) {
        end(&self.sender, failure).await;
    }

    async fn closed(&self) {
        self.sender.closed().await;
    }
}
