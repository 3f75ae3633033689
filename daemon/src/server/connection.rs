//! One connection: HTTP/2 with the daemon's services on it.

use std::time::Duration;

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::sync::watch;
use tonic::service::Routes;

use super::{greeting::Greeted, peer::WithPeer, status_details::StatusDetails};
use crate::services::Peer;

/// Calls at once on one connection.
const MAX_STREAMS: u32 = 64;

/// Bytes of a call's headers.
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// A client that does not answer a ping is gone.
const PING_EVERY: Duration = Duration::from_secs(10);

/// How long an answer to a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until the client leaves, or until `closing` turns true and the calls in flight are through.
pub(super) async fn serve(
    stream: Greeted,
    peer: Peer,
    routes: Routes,
    mut closing: watch::Receiver<bool>,
) {
    let mut builder = Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES);
    let service = TowerToHyperService::new(WithPeer::new(StatusDetails::new(routes), peer));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closed(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("connection ended: {error}");
    }
}

/// Waits until the daemon closes its connections.
pub(super) async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error means that whoever could say so is gone, and so is the daemon.
    drop(closing.wait_for(|closing| *closing).await);
}
