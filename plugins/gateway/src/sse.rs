//! Server-sent events: texts that a caller reads one after another while the answer goes on.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

/// Events that may wait for a slow reader; who sends waits then.
const WAITING: usize = 16;
/// After this long without an event a comment is sent, so that nobody on the way takes the line for dead.
pub(crate) const QUIET: Duration = Duration::from_secs(15);

/// The sender's end.
#[derive(Debug, Clone)]
pub(crate) struct Sender(mpsc::Sender<Bytes>);

/// The reader has gone.
#[derive(Debug)]
pub(crate) struct Gone;

impl Sender {
    /// Sends an event. `data` is one line.
    pub(crate) async fn event(&self, name: &str, data: &Value) -> Result<(), Gone> {
        self.send(format!("event: {name}\ndata: {data}\n\n")).await
    }

    /// Sends what readers skip.
    pub(crate) async fn comment(&self) -> Result<(), Gone> {
        self.send(": still here\n\n".into()).await
    }

    /// Returns when the reader has gone.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }

    async fn send(&self, text: String) -> Result<(), Gone> {
        self.0.send(text.into()).await.map_err(|_error| Gone)
    }
}

/// An answer and the sender of its events. It ends when the senders are dropped.
pub(crate) fn channel() -> (Sender, Response) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let stream = ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>);
    let mut response = Response::new(Body::from_stream(stream));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    (Sender(sender), response)
}
