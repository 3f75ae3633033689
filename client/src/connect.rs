//! Connecting: find who listens, start the daemon when nobody does, check whom we talk to.

use std::path::{Path, PathBuf};

use imgd_proto::{PROTOCOL, build_id, socket, v1::GetStatusResponse};
use tonic::transport::Channel;

use crate::{
    ConnectNotice, ConnectOptions, Error, Result,
    build::{self, Fate},
    link::{self, ClientName, Link},
    locate, service_manager, start,
};

/// Daemons that come and go under our hands are followed this many times.
const MAX_ROUNDS: usize = 4;

/// A connection to the daemon. Cheap to clone; clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) link: Link,
    pub(crate) socket: PathBuf,
}

impl Client {
    /// Connects to the daemon and checks it; starts it when nobody listens and [`ConnectOptions::autostart`] is set.
    ///
    /// An idle daemon that a client of another build had started is replaced; one at work is kept, with a
    /// [`ConnectNotice::OtherBuild`]. Costs one `GetStatus` call (about 0.1 ms) on a running daemon.
    pub async fn connect(options: ConnectOptions) -> Result<Self> {
        let name = ClientName::new(options.client_name.as_deref())?;
        let socket = socket::locate(&socket::Environment::current(options.socket.clone()))?.path;
        // Looked up late when it is only needed to start.
        let imgd = options.autostart.then(|| locate::locate(&options));
        let build_here = match &imgd {
            Some(Ok(path)) => build_id(path).ok(),
            _ => None,
        };
        let mut replaces = true;
        for _ in 0..MAX_ROUNDS {
            let (channel, status) = match answer(&options, &socket).await? {
                Some(answer) => answer,
                None => start_daemon(&options, &socket, imgd.as_ref()).await?,
            };
            if options.check_protocol && status.protocol != PROTOCOL {
                return Err(Error::Protocol {
                    version: status.version,
                    daemon: status.protocol,
                });
            }
            match build::fate(&status, build_here.as_deref()) {
                Fate::Wait if options.autostart => {
                    build::wait_until_gone(&socket, status.pid).await?;
                    continue;
                }
                Fate::Replace if replaces => {
                    if build::end_if_idle(&channel, &options).await? {
                        replaces = build::wait_until_gone(&socket, status.pid).await?;
                        continue;
                    }
                    options.notify(&ConnectNotice::OtherBuild {
                        advice: "it is at work and will be replaced when it is idle",
                    });
                }
                Fate::Warn(advice) => options.notify(&ConnectNotice::OtherBuild { advice }),
                Fate::Keep | Fate::Wait | Fate::Replace => {}
            }
            return Ok(Self {
                link: Link::new(channel, name),
                socket,
            });
        }
        Err(Error::Silent {
            waited_secs: options.answer_timeout.as_secs(),
            log: None,
        })
    }

    /// The socket this client is connected to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// The running daemon's channel and status; `None` when nobody listens.
async fn answer(
    options: &ConnectOptions,
    socket: &Path,
) -> Result<Option<(Channel, GetStatusResponse)>> {
    let Some(channel) = link::connect(socket).await? else {
        return Ok(None);
    };
    match link::status(&channel, options.answer_timeout).await {
        Ok(status) => Ok(Some((channel, status))),
        // It ended between the two calls: nobody listens any more.
        Err(Error::Lost(_)) if options.autostart => Ok(None),
        Err(error) => Err(error),
    }
}

async fn start_daemon(
    options: &ConnectOptions,
    socket: &Path,
    imgd: Option<&Result<PathBuf>>,
) -> Result<(Channel, GetStatusResponse)> {
    let Some(imgd) = imgd else {
        return Err(Error::NotRunning {
            socket: socket.to_owned(),
        });
    };
    if let Some(error) = service_manager::owner(socket) {
        return Err(error);
    }
    let imgd = match imgd {
        Ok(imgd) => imgd,
        Err(Error::ProgramNotFound { tried }) => {
            return Err(Error::ProgramNotFound {
                tried: tried.clone(),
            });
        }
        Err(_) => return Err(Error::ProgramNotFound { tried: Vec::new() }),
    };
    options.notify(&ConnectNotice::Starting);
    start::start(options, socket, imgd).await
}
