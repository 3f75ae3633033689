//! The socket: where it is and why there, who may reach it, and whether anybody listens.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use imgd_proto::socket::{self, Environment, Location, MAX_PATH_BYTES, check_directory};
use tokio::{net::UnixStream, time::timeout};

use super::finding::Finding;
use crate::Context;

/// A connection on this machine takes no longer, unless the listener does not take any.
const CONNECT: Duration = Duration::from_secs(3);

/// What was found.
pub(super) struct Socket {
    pub(super) findings: Vec<Finding>,
    /// Where it is; none where there is no safe place.
    pub(super) path: Option<PathBuf>,
    pub(super) state: State,
}

/// Whether anybody is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// There is no socket.
    Absent,
    /// Nobody listens: what a daemon that was killed left.
    Stale,
    /// A process of ours listens.
    Ours {
        /// Its process id, where the system says it.
        pid: Option<u32>,
    },
    /// Something else is there, and no command would talk to it.
    Barred,
}

impl Socket {
    /// The process that listens, if it is ours.
    pub(super) fn listener_pid(&self) -> Option<u32> {
        match self.state {
            State::Ours { pid } => pid,
            State::Absent | State::Stale | State::Barred => None,
        }
    }
}

pub(super) async fn look(context: &Context) -> Socket {
    let environment = Environment::current(context.connect.socket.clone());
    let location = match socket::locate(&environment) {
        Ok(location) => location,
        Err(error) => {
            let finding = Finding::problem("place", error.to_string()).advice(error.hint());
            return Socket {
                findings: vec![finding],
                path: None,
                state: State::Barred,
            };
        }
    };
    let mut findings = vec![place(&location), directory(&location, environment.uid)];
    let (finding, state) = listener(&location.path, environment.uid).await;
    findings.push(finding);
    Socket {
        findings,
        path: Some(location.path),
        state,
    }
}

fn place(location: &Location) -> Finding {
    let length = location.path.as_os_str().len();
    let found = format!(
        "{} ({}; {length} of {MAX_PATH_BYTES} bytes)",
        location.path.display(),
        location.origin
    );
    Finding::ok("place", found)
}

fn directory(location: &Location, uid: u32) -> Finding {
    let path = location.directory();
    match check_directory(path, uid) {
        Ok(true) => Finding::ok("its folder", "yours, and nobody else may enter it (0700)"),
        Ok(false) => Finding::ok("its folder", "not there yet: the daemon makes it"),
        Err(error) => Finding::problem("its folder", format!("{error}; no daemon starts there"))
            .advice(error.hint()),
    }
}

/// Looks at the file, then connects, sends nothing and leaves.
async fn listener(path: &Path, uid: u32) -> (Finding, State) {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return (
                Finding::ok("socket", "not there: no daemon runs"),
                State::Absent,
            );
        }
        Err(error) => {
            let finding = Finding::problem("socket", format!("cannot be looked at: {error}"));
            let advice = "look at the folders above it with `ls -la`";
            return (finding.advice(advice), State::Barred);
        }
    };
    let remove = format!("remove it: rm '{}'", path.display());
    if !metadata.file_type().is_socket() {
        let finding =
            Finding::problem("socket", "something else than a socket stands in its place");
        return (finding.advice(remove), State::Barred);
    }
    let owner = metadata.uid();
    if owner != uid {
        let found =
            format!("it belongs to user {owner}, not to you (user {uid}): nothing is sent there");
        let advice = "ask that user, or name another place with --socket or IMGD_SOCKET";
        return (
            Finding::problem("socket", found).advice(advice),
            State::Barred,
        );
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let found = format!("mode {mode:04o}: others may reach it as far as its folder lets them");
        let advice = format!("chmod 600 '{}'", path.display());
        let state = connect(path, uid).await.1;
        return (Finding::problem("socket", found).advice(advice), state);
    }
    connect(path, uid).await
}

async fn connect(path: &Path, uid: u32) -> (Finding, State) {
    let stream = match timeout(CONNECT, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let found = "nobody listens: what a daemon that was killed has left";
            let finding = Finding::note("socket", found).advice("the next command replaces it");
            return (finding, State::Stale);
        }
        Ok(Err(error)) => {
            let finding = Finding::problem("socket", format!("cannot be connected to: {error}"));
            let advice = "its daemon may have stopped taking connections: see `ps`, and end it by its process id";
            return (finding.advice(advice), State::Ours { pid: None });
        }
        Err(_elapsed) => {
            let found = format!("takes no connection within {} s", CONNECT.as_secs());
            let finding = Finding::problem("socket", found)
                .advice("see `ps`, and end its daemon by its process id");
            return (finding, State::Ours { pid: None });
        }
    };
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == uid => {
            let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok());
            let by = pid.map_or_else(|| "you".to_owned(), |pid| format!("process {pid}"));
            let found = format!("yours alone (0600), and {by} listens");
            (Finding::ok("socket", found), State::Ours { pid })
        }
        Ok(peer) => {
            let found = format!(
                "a process of user {} listens, not of you: nothing is sent there",
                peer.uid()
            );
            let advice = "remove the socket, or name another place with --socket or IMGD_SOCKET";
            (
                Finding::problem("socket", found).advice(advice),
                State::Barred,
            )
        }
        Err(error) => {
            let found = format!("the system does not say who listens: {error}");
            (Finding::problem("socket", found), State::Barred)
        }
    }
}
