//! Starting the daemon: one starter wins, the others wait for its daemon.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use directories::ProjectDirs;
use imgd_proto::{
    STARTED_BY_CLIENT_ARGUMENT,
    socket::{self, prepare_directory},
    v1::GetStatusResponse,
};
use rustix::fs::{FlockOperation, flock};
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use crate::{ConnectOptions, Error, Result, link};

/// How often a daemon that is starting is looked for.
const POLL: Duration = Duration::from_millis(4);
/// A log beyond this is put aside (as `.old`) at the next start.
const MAX_LOG_BYTES: u64 = 4 << 20;
/// Of a daemon that failed, at most this much and so many lines are shown.
const SHOWN_BYTES: u64 = 4096;
const SHOWN_LINES: usize = 12;
/// A daemon that finds another one at work ends with this status (`EX_TEMPFAIL`).
const OTHER_DAEMON_RUNS: i32 = 75;

/// Starts `imgd` on `socket`, or waits for the one that another client is starting; returns the first answer.
///
/// Whoever holds the lock beside the socket starts. Fails with [`Error::Exited`] and the daemon's own last words
/// when it ends before it answers.
pub(crate) async fn start(
    options: &ConnectOptions,
    socket: &Path,
    imgd: &Path,
) -> Result<(Channel, GetStatusResponse)> {
    let deadline = Instant::now() + options.answer_timeout;
    let lock = open_lock(socket)?;
    let mut daemon: Option<Daemon> = None;
    let mut is_starter = false;
    loop {
        if let Some(answer) = answer(socket, deadline).await? {
            if let Some(daemon) = daemon {
                daemon.reap_later();
            }
            return Ok(answer);
        }
        if !is_starter {
            is_starter = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
            if is_starter {
                // Another starter may have finished between the look above and the lock.
                continue;
            }
        } else if let Some(running) = &mut daemon {
            running.check()?;
        } else {
            daemon = Some(Daemon::spawn(options, socket, imgd)?);
        }
        if Instant::now() >= deadline {
            return Err(Error::Silent {
                waited_secs: options.answer_timeout.as_secs(),
                log: daemon.map(|daemon| daemon.log),
            });
        }
        sleep(POLL).await;
    }
}

/// The daemon's channel and status; `None` while nobody answers.
async fn answer(socket: &Path, deadline: Instant) -> Result<Option<(Channel, GetStatusResponse)>> {
    let channel = match link::connect(socket).await {
        Ok(Some(channel)) => channel,
        Ok(None) => return Ok(None),
        Err(error @ Error::OtherUser { .. }) => return Err(error),
        // A daemon that ended just now; the next look says more.
        Err(_) => return Ok(None),
    };
    let left = deadline.saturating_duration_since(Instant::now());
    Ok(link::status(&channel, left)
        .await
        .ok()
        .map(|status| (channel, status)))
}

/// Opens the lock that starters compete for, in the socket's own private folder.
fn open_lock(socket: &Path) -> Result<File> {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    prepare_directory(folder, rustix::process::getuid().as_raw())?;
    let path = folder.join("start.lock");
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(|source| start_error(format!("open `{}`", path.display()), source))
}

/// A daemon that was started and has not answered.
struct Daemon {
    child: Child,
    log: PathBuf,
    /// Where its own words begin in the log.
    log_start: u64,
}

impl Daemon {
    fn spawn(options: &ConnectOptions, socket: &Path, imgd: &Path) -> Result<Self> {
        let log = log_path(options, socket);
        let (file, log_start) = open_log(&log)
            .map_err(|source| start_error(format!("open the log `{}`", log.display()), source))?;
        // The argument makes it leader of a session of its own: a terminal's hang-up and Ctrl-C pass it by.
        let child = Command::new(imgd)
            .arg(STARTED_BY_CLIENT_ARGUMENT)
            .arg("--socket")
            .arg(socket)
            .args(&options.imgd_arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|source| start_error(format!("run `{}`", imgd.display()), source))?;
        Ok(Self {
            child,
            log,
            log_start,
        })
    }

    /// Fails when the daemon has ended, unless it made room for another one.
    fn check(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(Some(status)) if status.code() == Some(OTHER_DAEMON_RUNS) => Ok(()),
            Ok(Some(status)) => Err(Error::Exited {
                status: describe(status),
                code: status.code(),
                output: last_words(&self.log, self.log_start),
                log: self.log.clone(),
            }),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Waits for its end on a thread, so that a long-lived client keeps no zombie.
    fn reap_later(mut self) {
        std::thread::spawn(move || self.child.wait());
    }
}

/// The file that a daemon which [`Client::connect`](crate::Client::connect) starts writes its log to.
///
/// Fails where there is no safe place for a socket, beside which it may be.
pub fn log_file(options: &ConnectOptions) -> Result<PathBuf> {
    let environment = socket::Environment::current(options.socket.clone());
    let socket = socket::locate(&environment)?.path;
    Ok(log_path(options, &socket))
}

/// The file that a started daemon's messages go to.
pub(crate) fn log_path(options: &ConnectOptions, socket: &Path) -> PathBuf {
    if let Some(path) = &options.log_file {
        return path.clone();
    }
    let project = ProjectDirs::from("", "", "imgd");
    let state = project
        .as_ref()
        .map(|dirs| dirs.state_dir().unwrap_or(dirs.data_local_dir()));
    match state {
        Some(state) => state.join("imgd.log"),
        None => socket.with_file_name("imgd.log"),
    }
}

/// Opens the log for appending and says how long it is already.
fn open_log(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn last_words(log: &Path, start: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(end.saturating_sub(SHOWN_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(SHOWN_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}

fn start_error(what: String, source: io::Error) -> Error {
    Error::Start { what, source }
}
