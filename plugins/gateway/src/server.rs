//! The port: connections, how many there may be, and how long they may be silent.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    middleware,
    routing::get,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};
use tower::ServiceExt as _;

use crate::{
    Error, Settings, State,
    daemon::Daemon,
    guard::{self, Arrival},
    health, openai, page,
    problem::Problem,
};

/// Connections at once. Each may have one at the daemon, which has room for more and has other clients.
const MAX_CONNECTIONS: usize = 64;
/// How long the head of a request may take, and how long a connection may be idle.
const MAX_HEAD_TIME: Duration = Duration::from_secs(30);
/// Largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Forms that are in memory at once.
const MAX_UPLOADS: usize = 4;
/// A gateway that has its port.
pub struct Gateway {
    listener: TcpListener,
    state: Arc<State>,
    address: SocketAddr,
}

impl Gateway {
    /// Takes the port; 0 is any that is free. Fails before that where it would be unsafe.
    pub async fn bind(address: SocketAddr, settings: Settings) -> Result<Self, Error> {
        settings.check(address)?;
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let state = State {
            daemon: Daemon::new(settings.connect.clone()),
            settings,
            links: openai::Links::default(),
            uploads: Semaphore::new(MAX_UPLOADS),
            begun: Notify::new(),
        };
        Ok(Self {
            listener,
            state: Arc::new(state),
            address,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects to the daemon, and starts it where nobody listens, so that what is wrong is known before somebody asks.
    pub async fn reach_daemon(&self) -> imgd_client::Result<()> {
        self.state.daemon.shared().await.map(drop)
    }

    /// Serves until it is dropped.
    pub async fn serve(self) -> Infallible {
        let router = router(&self.state);
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // out of files: some will be closed
            let Ok((stream, _)) = self.listener.accept().await else {
                sleep(Duration::from_millis(100)).await;
                continue;
            };
            let router = router.clone();
            match Arc::clone(&connections).try_acquire_owned() {
                Ok(permit) => {
                    tokio::spawn(async move {
                        serve(stream, router).await;
                        drop(permit);
                    });
                }
                Err(_full) => turn_away(stream),
            }
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn router(state: &Arc<State>) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .merge(openai::routes())
        .merge(page::routes())
        .fallback(|| async {
            Problem::not_found("unknown_url", "there is nothing at this address")
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request_error",
                "method_not_allowed",
                "this address takes another method",
            )
        })
        .layer(middleware::from_fn_with_state(
            Arc::clone(state),
            guard::guard,
        ))
        .with_state(Arc::clone(state))
}

async fn serve(stream: TcpStream, router: Router) {
    let Ok(address) = stream.local_addr() else {
        return;
    };
    // events are small and each is waited for
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arrival(address));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(MAX_HEAD_TIME)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // how a caller leaves is the caller's affair
    drop(connection.await);
}

/// Tells one caller too many to come again.
fn turn_away(mut stream: TcpStream) {
    let problem = Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "server_error",
        "too_many_connections",
        format!("{MAX_CONNECTIONS} connections are open, and there are no more"),
    );
    let body = problem.json().to_string();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    tokio::spawn(async move {
        let told = timeout(Duration::from_secs(1), stream.write_all(answer.as_bytes())).await;
        drop(told);
    });
}
