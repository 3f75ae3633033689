//! The accept loop: who may connect, how many, and how it ends.

use std::{
    collections::BTreeMap,
    io,
    os::unix::net::UnixListener as StdListener,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout_at},
};
use tonic::service::Routes;
use tracing::{debug, warn};

use super::{connection, greeting::greet, idle::Idle};
use crate::services::Peer;

/// Connections that have not spoken yet have places of their own: they cannot keep those out that speak.
const GREETING_PLACES: usize = 16;

/// How long the loop rests when no descriptor is left.
const REST: Duration = Duration::from_millis(100);

/// What a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once, at least 16.
    pub max_connections: usize,
    /// Time until a connection must have begun to speak.
    pub first_byte_timeout: Duration,
}

/// Connections that have not spoken yet, oldest first.
#[derive(Debug, Clone, Default)]
struct Lobby(Arc<Mutex<BTreeMap<u64, AbortHandle>>>);

impl Lobby {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a place; the oldest gives way.
    fn make_place(&self) {
        let mut waiting = self.lock();
        while waiting.len() >= GREETING_PLACES {
            if let Some((_, oldest)) = waiting.pop_first() {
                oldest.abort();
            }
        }
    }

    /// Leaves the lobby; false for one that had to give way.
    fn leave(&self, ticket: u64) -> bool {
        self.lock().remove(&ticket).is_some()
    }
}

/// Accepts until `closing` turns true or nobody needs the daemon; then lets calls in flight finish for `grace`, and ends
/// the rest.
pub async fn serve(
    listener: StdListener,
    routes: Routes,
    limits: Limits,
    mut idle: Idle,
    mut closing: watch::Receiver<bool>,
    grace: watch::Receiver<Duration>,
) -> io::Result<()> {
    let listener = UnixListener::from_std(listener)?;
    let own_uid = rustix::process::getuid().as_raw();
    let places = Arc::new(Semaphore::new(
        limits
            .max_connections
            .saturating_sub(GREETING_PLACES)
            .max(1),
    ));
    let lobby = Lobby::default();
    let mut connections = JoinSet::new();
    let mut ticket = 0;
    let mut is_resting = false;
    loop {
        let is_alone = connections.is_empty();
        let accepted = tokio::select! {
            biased;
            () = connection::closed(&mut closing) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
            () = idle.is_due(is_alone) => {
                if idle.ends().await {
                    break;
                }
                continue;
            }
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                if !is_resting {
                    warn!("connections cannot be accepted for now: {error}");
                }
                is_resting = true;
                sleep(REST).await;
                continue;
            }
        };
        is_resting = false;
        if !is_own(&stream, own_uid) {
            continue;
        }
        lobby.make_place();
        ticket += 1;
        // The task looks for its ticket only once it is polled, after the ticket is in the lobby.
        let mut waiting = lobby.lock();
        let handle = connections.spawn(attend(
            stream,
            ticket,
            lobby.clone(),
            Arc::clone(&places),
            routes.clone(),
            limits.first_byte_timeout,
            closing.clone(),
        ));
        waiting.insert(ticket, handle);
    }
    drop(listener);
    for (_, waiting) in std::mem::take(&mut *lobby.lock()) {
        waiting.abort();
    }
    let end = Instant::now() + *grace.borrow();
    while let Ok(Some(_)) = timeout_at(end, connections.join_next()).await {}
    connections.shutdown().await;
    Ok(())
}

async fn attend(
    stream: UnixStream,
    ticket: u64,
    lobby: Lobby,
    places: Arc<Semaphore>,
    routes: Routes,
    first_byte_timeout: Duration,
    closing: watch::Receiver<bool>,
) {
    let peer = Peer {
        pid: stream.peer_cred().ok().and_then(|peer| peer.pid()),
    };
    let greeted = greet(stream, first_byte_timeout).await;
    if !lobby.leave(ticket) {
        return;
    }
    let stream = match greeted {
        Ok(stream) => stream,
        Err(error) => return debug!("connection closed before it spoke: {error}"),
    };
    let Ok(_place) = places.try_acquire() else {
        return warn!("connection closed: there are as many as may be");
    };
    connection::serve(stream, peer, routes, closing).await;
}

/// Permissions of the socket keep others away; should someone loosen them, this does.
fn is_own(stream: &UnixStream, own_uid: u32) -> bool {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == own_uid => true,
        Ok(peer) => {
            warn!(uid = peer.uid(), "connection of another user refused");
            false
        }
        Err(error) => {
            debug!("connection of an unknown user refused: {error}");
            false
        }
    }
}
