//! The socket: one daemon for each, private from the first moment, in the place of a stale one.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::{
        fs::{OpenOptionsExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use imgd_proto::socket::{Location, SocketError, prepare_directory};
use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
    process::getuid,
};

/// Why there is no socket to serve.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another daemon serves it. Exit status 75.
    #[error("another imgd{} serves {} already", process(*pid), path.display())]
    Busy {
        /// The socket.
        path: PathBuf,
        /// The other daemon, if it said so.
        pid: Option<u32>,
    },
    /// Its directory is not safe. Exit status 78.
    #[error(transparent)]
    Unsafe(#[from] SocketError),
    /// The system refused.
    #[error("could not make the socket {}", path.display())]
    Io {
        /// The socket, or its lock.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// A socket that accepts, and the lock that keeps other daemons away from it.
#[derive(Debug)]
pub struct Listening {
    /// Does not block.
    pub listener: UnixListener,
    /// Where it is.
    pub path: PathBuf,
    /// Whether a service manager made it.
    pub is_activated: bool,
    _lock: Option<File>,
}

/// Takes the socket from the service manager, else makes it at `location`.
pub fn listen(location: &Location) -> Result<Listening, ListenError> {
    if let Some(listener) = crate::activation::socket() {
        let address = listener.local_addr().ok();
        let path = address.and_then(|address| address.as_pathname().map(Path::to_owned));
        let path = path.unwrap_or_else(|| location.path.clone());
        let failed = |source| ListenError::Io {
            path: path.clone(),
            source,
        };
        listener.set_nonblocking(true).map_err(failed)?;
        return Ok(Listening {
            listener,
            path,
            is_activated: true,
            _lock: None,
        });
    }
    prepare_directory(location.directory(), getuid().as_raw())?;
    let lock = lock(&location.path)?;
    let listener = bind(&location.path).map_err(|source| ListenError::Io {
        path: location.path.clone(),
        source,
    })?;
    Ok(Listening {
        listener,
        path: location.path.clone(),
        is_activated: false,
        _lock: Some(lock),
    })
}

impl Listening {
    /// Takes the socket's name away, so that clients see at once that nobody serves it.
    pub fn remove_name(&self) {
        if !self.is_activated
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!("the socket's name could not be removed: {error}");
        }
    }
}

/// Makes the socket under another name, so that its own name never leads to one that is open to others or dead.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let temporary = with_suffix(path, "~");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&temporary)?;
    fs::set_permissions(&temporary, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    fs::rename(&temporary, path)?;
    Ok(listener)
}

/// Takes the lock beside the socket. It holds as long as the file is open, so a daemon that was killed leaves none.
fn lock(socket: &Path) -> Result<File, ListenError> {
    let path = with_suffix(socket, ".lock");
    let failed = |source: io::Error| ListenError::Io {
        path: path.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(&path)
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let pid = file
                .read_to_string(&mut text)
                .ok()
                .and_then(|_| text.trim().parse().ok());
            return Err(ListenError::Busy {
                path: socket.to_owned(),
                pid,
            });
        }
        Err(error) => return Err(failed(error.into())),
    }
    let written = file.set_len(0).and_then(|()| file.rewind());
    written
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(file)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::{fs::PermissionsExt as _, net::UnixStream},
        path::Path,
    };

    use imgd_proto::socket::{Location, Origin};

    use super::{ListenError, listen};

    fn at(directory: &Path) -> Location {
        Location {
            path: directory.join("imgd/imgd.sock"),
            origin: Origin::Explicit,
        }
    }

    #[test]
    fn the_socket_is_private_and_replaces_a_stale_one() {
        let directory = tempfile::tempdir().unwrap();
        let location = at(directory.path());
        let first = listen(&location).unwrap();
        drop(first);
        assert!(UnixStream::connect(&location.path).is_err());
        let _second = listen(&location).unwrap();
        UnixStream::connect(&location.path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&location.path), 0o600);
        assert_eq!(mode(location.directory()), 0o700);
    }

    #[test]
    fn a_second_daemon_is_told_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let location = at(directory.path());
        let _first = listen(&location).unwrap();
        let error = listen(&location).unwrap_err();
        let own = std::process::id();
        assert!(
            matches!(error, ListenError::Busy { pid: Some(pid), .. } if pid == own),
            "{error}"
        );
        UnixStream::connect(&location.path).unwrap();
    }
}
