//! One connection to the daemon's socket.
//!
//! It never connects a second time: a daemon that took the first one's place was not checked.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use imgd_proto::{
    CLIENT_NAME_METADATA, Failure,
    v1::{GetStatusRequest, GetStatusResponse, daemon_service_client::DaemonServiceClient},
};
use tokio::{net::UnixStream, time::timeout};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint, Uri},
};

use crate::{Error, Result};

/// A checked connection whose calls say which client makes them.
pub(crate) type Link = InterceptedService<Channel, ClientName>;

/// The client's name as it travels with every call.
#[derive(Debug, Clone)]
pub(crate) struct ClientName(Option<MetadataValue<Ascii>>);

impl ClientName {
    /// Fails when the name is not 1 to 64 characters of `[A-Za-z0-9_.-]`.
    pub(crate) fn new(name: Option<&str>) -> Result<Self> {
        let Some(name) = name else {
            return Ok(Self(None));
        };
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let value = ((1..=64).contains(&name.len()) && name.bytes().all(is_allowed))
            .then(|| name.parse().ok())
            .flatten();
        match value {
            Some(value) => Ok(Self(Some(value))),
            None => Err(Error::Refused(Box::new(Failure::invalid(
                "client_name",
                format!("client_name {name:?} is no name of a client: up to 64 of [A-Za-z0-9_.-]"),
            )))),
        }
    }
}

impl Interceptor for ClientName {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(name) = &self.0 {
            request
                .metadata_mut()
                .insert(CLIENT_NAME_METADATA, name.clone());
        }
        Ok(request)
    }
}

/// Connects; `None` when nobody listens.
///
/// Fails when the socket may not be used, or when another user listens.
pub(crate) async fn connect(socket: &Path) -> Result<Option<Channel>> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(source) => return Err(connect_error(socket, source)),
    };
    let peer = stream
        .peer_cred()
        .map_err(|source| connect_error(socket, source))?;
    if peer.uid() != rustix::process::getuid().as_raw() {
        return Err(Error::OtherUser {
            socket: socket.to_owned(),
            uid: peer.uid(),
        });
    }
    let once = Arc::new(Mutex::new(Some(stream)));
    let connector = tower::service_fn(move |_: Uri| {
        let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            stream
                .map(TokioIo::new)
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the daemon has gone"))
        }
    });
    // The address is not looked at; HTTP/2 wants one.
    let channel = Endpoint::from_static("http://imgd.invalid")
        .connect_with_connector(connector)
        .await;
    match channel {
        Ok(channel) => Ok(Some(channel)),
        // It closed the connection at once: it is on its way out, or full.
        Err(error) => Err(connect_error(socket, io::Error::other(error))),
    }
}

/// Asks the daemon how it is; fails with [`Error::Silent`] after `wait`.
pub(crate) async fn status(channel: &Channel, wait: Duration) -> Result<GetStatusResponse> {
    let mut daemon = DaemonServiceClient::new(channel.clone());
    match timeout(wait, daemon.get_status(GetStatusRequest {})).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_elapsed) => Err(Error::Silent {
            waited_secs: wait.as_secs(),
            log: None,
        }),
    }
}

fn connect_error(socket: &Path, source: io::Error) -> Error {
    Error::Connect {
        socket: socket.to_owned(),
        source,
    }
}
