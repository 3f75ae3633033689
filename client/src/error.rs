//! Why a call failed: one enum, with the hint to show and the exit status to end with.

use std::{io, path::PathBuf};

use imgd_proto::{Failure, PROTOCOL, Reason, errors::DOMAIN, socket::SocketError};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. The text is a sentence for a user; [`Error::hint`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody listens on the socket, and starting the daemon was not asked for.
    #[error("imgd is not running: nobody listens on `{}`", socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// There is no safe place for a socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The socket is there and cannot be connected to.
    #[error("cannot connect to `{}`", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another user listens on the socket; nothing was sent.
    #[error("`{}` belongs to another user (uid {uid}): nothing was sent", socket.display())]
    OtherUser {
        /// The socket.
        socket: PathBuf,
        /// Who listens.
        uid: u32,
    },
    /// A service manager owns the socket and nobody listens, so starting a second daemon would be wrong.
    #[error("imgd is not running, and {manager} is set up to start it")]
    ServiceManager {
        /// `systemd` or `launchd`.
        manager: &'static str,
        /// The command that starts it.
        command: String,
    },
    /// No `imgd` executable was found.
    #[error("imgd is not running, and its program was not found; tried {}", tried.join(", "))]
    ProgramNotFound {
        /// Every place that was looked at.
        tried: Vec<String>,
    },
    /// The `imgd` executable could not be run, or its log or start lock not be opened.
    #[error("cannot start imgd: {what}")]
    Start {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The daemon ended before it answered.
    #[error("imgd could not start ({status}){}", indented(output))]
    Exited {
        /// How it ended.
        status: String,
        /// Its exit status, if it was not ended by a signal.
        code: Option<i32>,
        /// The last lines it wrote.
        output: String,
        /// Where all of it is.
        log: PathBuf,
    },
    /// The daemon runs and does not answer.
    #[error("imgd did not answer within {waited_secs} s")]
    Silent {
        /// How long was waited, in seconds.
        waited_secs: u64,
        /// The log of a daemon that this client started.
        log: Option<PathBuf>,
    },
    /// The daemon speaks another version of the contract.
    #[error("imgd {version} speaks protocol {daemon}, this client speaks {PROTOCOL}")]
    Protocol {
        /// The daemon's version.
        version: String,
        /// The daemon's protocol.
        daemon: u32,
    },
    /// The daemon refused the request or failed at it.
    #[error("{0}")]
    Refused(Box<Failure>),
    /// The connection ended in the middle of a call.
    #[error("the connection to imgd was lost")]
    Lost(#[source] Box<Status>),
    /// The time that the request gave has passed and the daemon has not said so.
    #[error("imgd did not finish within {secs:.1} s")]
    TimedOut {
        /// How long, in seconds.
        secs: f64,
    },
    /// The daemon broke the contract.
    #[error("imgd answered against the contract: {0}")]
    Contract(&'static str),
}

impl Error {
    /// What to do about it, if there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRunning { .. } => Some("it starts with the first `imgctl generate`".into()),
            Self::ServiceManager { command, .. } => Some(format!("start it with `{command}`")),
            Self::ProgramNotFound { .. } => {
                Some("build it with `cargo build --release`, or set IMGD_BIN to its path".into())
            }
            Self::Exited { log, .. } => Some(format!("all it said is in `{}`", log.display())),
            Self::Silent { log: Some(log), .. } => {
                Some(format!("see what it said in `{}`", log.display()))
            }
            Self::Silent { log: None, .. } => {
                Some("if it stays so, end it by its process id (see `ps`) and try again".into())
            }
            Self::Protocol { .. } => {
                Some("end it with `imgctl shutdown`; the next command starts the right one".into())
            }
            Self::Socket(error) => Some(error.hint()),
            Self::Refused(failure) => failure.hint.clone(),
            Self::Lost(_) => Some("the daemon may have been ended; try again".into()),
            _ => None,
        }
    }

    /// Field of the request that is at fault, as the contract names it.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Refused(failure) => failure.field.as_deref(),
            _ => None,
        }
    }

    /// Why, as a reason of the contract: the daemon's own where it gave one.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotRunning { .. }
            | Self::Connect { .. }
            | Self::ServiceManager { .. }
            | Self::ProgramNotFound { .. }
            | Self::Start { .. }
            | Self::Silent { .. }
            | Self::Lost(_) => Reason::DaemonUnavailable,
            Self::Exited { code, .. } => match code {
                Some(78) => Reason::ConfigInvalid,
                _ => Reason::DaemonUnavailable,
            },
            Self::Socket(_) | Self::OtherUser { .. } => Reason::SocketUnsafe,
            Self::Protocol { .. } => Reason::ProtocolMismatch,
            Self::Refused(failure) => failure.reason,
            Self::TimedOut { .. } => Reason::DeadlineExceeded,
            Self::Contract(_) => Reason::Internal,
        }
    }

    /// Exit status of a command that ends with this error, after `sysexits.h`; its reason decides.
    pub fn exit_code(&self) -> u8 {
        self.reason().exit_code()
    }
}

impl From<Status> for Error {
    /// Sorts a status into what the daemon said and what befell the connection.
    fn from(status: Status) -> Self {
        let info = status.get_details_error_info();
        let is_from_daemon = info.is_some_and(|info| info.domain == DOMAIN);
        let is_of_transport = matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
        );
        if is_of_transport && !is_from_daemon {
            return Self::Lost(Box::new(status));
        }
        Self::Refused(Box::new(Failure::from_status(&status)))
    }
}

/// A colon and the lines of `output`, each on its own line and set in; nothing when there are none.
fn indented(output: &str) -> String {
    if output.trim().is_empty() {
        return String::new();
    }
    let lines: Vec<_> = output.lines().map(|line| format!("  {line}")).collect();
    format!(":\n{}", lines.join("\n"))
}
