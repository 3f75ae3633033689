//! Where the daemon's socket is, and whether its directory is safe.
//!
//! Daemon and clients use the same function, so that they meet. Nothing here opens the socket.

use std::{
    env, fmt, fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use crate::errors::{Failure, Reason};

/// Longest path of a socket in bytes that works on Linux (107) and macOS (103) alike.
pub const MAX_PATH_BYTES: usize = 103;

/// What the place of the socket depends on.
#[derive(Debug, Clone)]
pub struct Environment {
    /// `--socket`.
    pub explicit: Option<PathBuf>,
    /// `$IMGD_SOCKET`.
    pub imgd_socket: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`; ignored unless absolute.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `~/Library/Caches`, on macOS alone.
    pub caches_dir: Option<PathBuf>,
    /// Directory for everyone's temporary files.
    pub temp_dir: PathBuf,
    /// The user.
    pub uid: u32,
}

impl Environment {
    /// The environment of this process; `explicit` is what `--socket` says.
    pub fn current(explicit: Option<PathBuf>) -> Self {
        Self {
            explicit,
            imgd_socket: variable("IMGD_SOCKET"),
            xdg_runtime_dir: variable("XDG_RUNTIME_DIR"),
            caches_dir: cfg!(target_os = "macos")
                .then(env::home_dir)
                .flatten()
                .map(|home| home.join("Library/Caches")),
            temp_dir: PathBuf::from("/tmp"),
            uid: rustix::process::getuid().as_raw(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this file is one of the three that read the environment"
)]
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Who decided where the socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `--socket`.
    Explicit,
    /// `$IMGD_SOCKET`.
    Variable,
    /// `$XDG_RUNTIME_DIR/imgd/imgd.sock`.
    RuntimeDirectory,
    /// `~/Library/Caches/imgd/run/imgd.sock`.
    Caches,
    /// `/tmp/imgd-$UID/imgd.sock`, or a short name there for a place whose path would be too long.
    Temporary,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Explicit => "--socket",
            Self::Variable => "IMGD_SOCKET",
            Self::RuntimeDirectory => "XDG_RUNTIME_DIR",
            Self::Caches => "Library/Caches",
            Self::Temporary => "fallback in /tmp",
        })
    }
}

/// The place of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Absolute path, at most [`MAX_PATH_BYTES`].
    pub path: PathBuf,
    /// Who decided.
    pub origin: Origin,
}

impl Location {
    /// The directory that must be ours alone.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// Why there is no safe place for the socket. Always exit code 78.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The user named a path that no socket can have.
    #[error("socket path `{}` ({origin}) has {} bytes: a socket's path has at most {MAX_PATH_BYTES}", path.display(), path.as_os_str().len())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Who named it.
        origin: Origin,
    },
    /// The user named something that is no path of a file.
    #[error("socket path `{}` ({origin}) names no file", path.display())]
    NoFileName {
        /// The path.
        path: PathBuf,
        /// Who named it.
        origin: Origin,
    },
    /// The directory belongs to someone else.
    #[error("directory `{}` belongs to user {owner}, not to user {uid}", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user.
        uid: u32,
    },
    /// Others may enter the directory.
    #[error("directory `{}` has mode {mode:04o}: others may enter it", path.display())]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something stands where the directory should be; a symbolic link counts as something else.
    #[error("`{}` is not a directory but {kind}", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// The directory can be neither made nor read.
    #[error("directory `{}`: {source}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SocketError {
    /// What the user can do.
    pub fn hint(&self) -> String {
        match self {
            Self::TooLong { .. } | Self::NoFileName { .. } => {
                "name a shorter path with --socket or IMGD_SOCKET, or leave both out".to_owned()
            }
            Self::OpenToOthers { path, .. } => {
                format!(
                    "chmod 700 '{}', or put the socket into a directory of its own",
                    path.display()
                )
            }
            Self::NotOurs { .. } | Self::NotADirectory { .. } | Self::Unusable { .. } => {
                "remove it, or name another place with --socket or IMGD_SOCKET".to_owned()
            }
        }
    }
}

impl From<SocketError> for Failure {
    fn from(error: SocketError) -> Self {
        Self::new(Reason::SocketUnsafe, error.to_string()).with_hint(error.hint())
    }
}

/// Where the socket is: `--socket`, `$IMGD_SOCKET`, `$XDG_RUNTIME_DIR/imgd/imgd.sock`, on macOS
/// `~/Library/Caches/imgd/run/imgd.sock`, else `/tmp/imgd-$UID/imgd.sock`.
///
/// A path the user named is taken or refused. A path that we made and that is too long becomes
/// `/tmp/imgd-$UID/<hash of the path>.sock`, the same for daemon and client.
pub fn locate(environment: &Environment) -> Result<Location, SocketError> {
    let named = [
        (&environment.explicit, Origin::Explicit),
        (&environment.imgd_socket, Origin::Variable),
    ];
    for (path, origin) in named {
        if let Some(path) = path {
            return named_by_the_user(path, origin);
        }
    }
    let absolute = |path: &Option<PathBuf>| path.clone().filter(|path| path.is_absolute());
    let fallback = environment
        .temp_dir
        .join(format!("imgd-{}", environment.uid));
    let (path, origin) = if let Some(runtime) = absolute(&environment.xdg_runtime_dir) {
        (runtime.join("imgd/imgd.sock"), Origin::RuntimeDirectory)
    } else if let Some(caches) = absolute(&environment.caches_dir) {
        (caches.join("imgd/run/imgd.sock"), Origin::Caches)
    } else {
        (fallback.join("imgd.sock"), Origin::Temporary)
    };
    if path.as_os_str().len() <= MAX_PATH_BYTES {
        return Ok(Location { path, origin });
    }
    let name = format!("{:016x}.sock", fnv1a(path.as_os_str().as_bytes()));
    let path = fallback.join(name);
    Ok(Location {
        path,
        origin: Origin::Temporary,
    })
}

fn named_by_the_user(path: &Path, origin: Origin) -> Result<Location, SocketError> {
    let path = std::path::absolute(path).map_err(|source| SocketError::Unusable {
        path: path.to_owned(),
        source,
    })?;
    if path.file_name().is_none() {
        return Err(SocketError::NoFileName { path, origin });
    }
    if path.as_os_str().len() > MAX_PATH_BYTES {
        return Err(SocketError::TooLong { path, origin });
    }
    Ok(Location { path, origin })
}

/// Makes the socket's directory where it is missing (mode 0700, its parents too) and checks it: see [`check_directory`].
pub fn prepare_directory(directory: &Path, uid: u32) -> Result<(), SocketError> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    // Whatever went wrong, the check says it better: a link, a file, another's directory.
    match (made, check_directory(directory, uid)) {
        (_, Ok(true)) => Ok(()),
        (_, Err(error)) => Err(error),
        (made, Ok(false)) => {
            let source = made.err().unwrap_or_else(|| io::ErrorKind::NotFound.into());
            Err(SocketError::Unusable {
                path: directory.to_owned(),
                source,
            })
        }
    }
}

/// Checks that a directory is one, belongs to `uid`, and lets nobody else in. `Ok(false)` when it does not exist.
pub fn check_directory(directory: &Path, uid: u32) -> Result<bool, SocketError> {
    let path = directory.to_owned();
    let metadata = match fs::symlink_metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(SocketError::Unusable { path, source }),
    };
    let mode = metadata.mode() & 0o7777;
    if metadata.is_symlink() {
        Err(SocketError::NotADirectory {
            path,
            kind: "a symbolic link",
        })
    } else if !metadata.is_dir() {
        Err(SocketError::NotADirectory {
            path,
            kind: "a file",
        })
    } else if metadata.uid() != uid {
        Err(SocketError::NotOurs {
            path,
            owner: metadata.uid(),
            uid,
        })
    } else if mode & 0o077 != 0 {
        Err(SocketError::OpenToOthers { path, mode })
    } else {
        Ok(true)
    }
}

/// FNV-1a, 64 bits: a name for a path, the same in every build. Not a secret.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn environment() -> Environment {
        Environment {
            explicit: None,
            imgd_socket: None,
            xdg_runtime_dir: None,
            caches_dir: None,
            temp_dir: PathBuf::from("/tmp"),
            uid: 1000,
        }
    }

    fn found(environment: &Environment) -> (String, Origin) {
        let location = locate(environment).unwrap();
        (location.path.to_str().unwrap().to_owned(), location.origin)
    }

    #[test]
    fn the_first_that_is_set_decides() {
        let mut environment = environment();
        assert_eq!(
            found(&environment),
            ("/tmp/imgd-1000/imgd.sock".into(), Origin::Temporary)
        );
        environment.caches_dir = Some("/Users/a/Library/Caches".into());
        let caches = "/Users/a/Library/Caches/imgd/run/imgd.sock";
        assert_eq!(found(&environment), (caches.into(), Origin::Caches));
        environment.xdg_runtime_dir = Some("/run/user/1000".into());
        let runtime = "/run/user/1000/imgd/imgd.sock";
        assert_eq!(
            found(&environment),
            (runtime.into(), Origin::RuntimeDirectory)
        );
        environment.imgd_socket = Some("/a/b.sock".into());
        assert_eq!(found(&environment), ("/a/b.sock".into(), Origin::Variable));
        environment.explicit = Some("/c/d.sock".into());
        assert_eq!(found(&environment), ("/c/d.sock".into(), Origin::Explicit));
    }

    #[test]
    fn a_relative_runtime_directory_is_ignored() {
        let environment = Environment {
            xdg_runtime_dir: Some("run".into()),
            ..environment()
        };
        assert_eq!(found(&environment).1, Origin::Temporary);
    }

    #[test]
    fn paths_of_103_bytes_are_kept_and_longer_ones_get_a_short_name() {
        let tail = "/imgd/imgd.sock".len();
        let at = |bytes: usize| Environment {
            xdg_runtime_dir: Some(format!("/{}", "r".repeat(bytes - tail - 1)).into()),
            ..environment()
        };
        assert_eq!(found(&at(103)).0.len(), 103);
        let (short, origin) = found(&at(104));
        assert_eq!(origin, Origin::Temporary);
        assert!(
            short.starts_with("/tmp/imgd-1000/") && short.len() <= MAX_PATH_BYTES,
            "{short}"
        );
        assert_eq!(found(&at(104)).0, short);
        assert_ne!(found(&at(105)).0, short);
    }

    #[test]
    fn a_long_path_that_the_user_named_is_refused() {
        let path = PathBuf::from(format!("/{}", "s".repeat(103)));
        let environment = Environment {
            explicit: Some(path),
            ..environment()
        };
        let failure = Failure::from(locate(&environment).unwrap_err());
        assert_eq!(failure.reason.exit_code(), 78);
        assert!(failure.message.contains("104 bytes"), "{}", failure.message);
    }

    #[test]
    fn a_missing_directory_is_made_for_us_alone() {
        let temp = tempfile::tempdir().unwrap();
        let uid = rustix::process::getuid().as_raw();
        let directory = temp.path().join("a/b");
        assert!(!check_directory(&directory, uid).unwrap());
        prepare_directory(&directory, uid).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o7777, 0o700);
        assert!(check_directory(&directory, uid).unwrap());
    }

    #[test]
    fn unsafe_directories_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let uid = rustix::process::getuid().as_raw();
        let open = temp.path().join("open");
        fs::create_dir(&open).unwrap();
        for mode in [0o755, 0o710, 0o701, 0o1777] {
            fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
            let error = prepare_directory(&open, uid).unwrap_err();
            assert!(matches!(error, SocketError::OpenToOthers { .. }), "{error}");
        }
        fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
        let error = prepare_directory(&open, uid + 1).unwrap_err();
        assert!(matches!(error, SocketError::NotOurs { .. }), "{error}");
        let link = temp.path().join("link");
        symlink(&open, &link).unwrap();
        let error = prepare_directory(&link, uid).unwrap_err();
        assert!(
            matches!(error, SocketError::NotADirectory { .. }),
            "{error}"
        );
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        let error = prepare_directory(&file, uid).unwrap_err();
        assert!(
            matches!(error, SocketError::NotADirectory { .. }),
            "{error}"
        );
    }
}
