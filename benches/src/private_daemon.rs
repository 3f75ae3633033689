//! A daemon with folders of its own, so that measuring touches nothing of the user's.

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use imgd_client::{Client, ConnectOptions};
use tempfile::TempDir;

use crate::Failure;

/// A running daemon. Ended when dropped.
pub(crate) struct PrivateDaemon {
    home: TempDir,
    child: Child,
    /// From the start of the program until its socket accepts.
    pub(crate) ready: Duration,
}

impl PrivateDaemon {
    /// Starts the `imgd` beside this program.
    pub(crate) fn start() -> Result<Self, Failure> {
        let home = tempfile::Builder::new().prefix("imgd-bench").tempdir()?;
        let started = Instant::now();
        let child = private(&beside("imgd")?, home.path())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(home.path().join("log"))?)
            .spawn()?;
        let mut daemon = Self {
            home,
            child,
            ready: Duration::ZERO,
        };
        while UnixStream::connect(daemon.socket()).is_err() {
            if let Some(status) = daemon.child.try_wait()? {
                let log = std::fs::read_to_string(daemon.home().join("log"))?;
                return Err(format!("imgd ended instead of coming up ({status}): {log}").into());
            }
            if started.elapsed() > Duration::from_secs(10) {
                return Err("imgd did not come up within 10 s".into());
            }
            thread::sleep(Duration::from_micros(200));
        }
        daemon.ready = started.elapsed();
        Ok(daemon)
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("run/imgd.sock")
    }

    /// Process id of the supervisor.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Folder of its journal and pictures.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join(".local/share/imgd")
    }

    /// A connection of its own to it.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let options = ConnectOptions {
            socket: Some(self.socket()),
            autostart: false,
            ..ConnectOptions::default()
        };
        Ok(Client::connect(options).await?)
    }

    /// Its folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// `imgctl` beside this program, talking to this daemon.
    pub(crate) fn imgctl(&self) -> Result<Command, Failure> {
        Ok(private(&beside("imgctl")?, self.home()))
    }

    /// CPU time of the daemon and all its descendants so far.
    pub(crate) fn cpu_time(&self) -> Result<Duration, Failure> {
        let mut total = Duration::ZERO;
        let mut pids = vec![self.child.id()];
        while let Some(pid) = pids.pop() {
            for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
                let task = task?.path();
                let ran = std::fs::read_to_string(task.join("schedstat"))?;
                let nanoseconds: u64 = ran.split(' ').next().unwrap_or_default().parse()?;
                total += Duration::from_nanos(nanoseconds);
                let children = std::fs::read_to_string(task.join("children"))?;
                pids.extend(
                    children
                        .split_whitespace()
                        .filter_map(|pid| pid.parse::<u32>().ok()),
                );
            }
        }
        Ok(total)
    }
}

impl Drop for PrivateDaemon {
    fn drop(&mut self) {
        // Best effort: the child may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn private(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("HOME", home)
        .env("IMGD_SOCKET", home.join("run/imgd.sock"))
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_STATE_HOME")
        .env_remove("XDG_DATA_HOME")
        .env_remove("XDG_CACHE_HOME")
        .stdin(Stdio::null())
        .current_dir(home);
    command
}

/// The program `name` in the folder of this one.
fn beside(name: &str) -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(format!(
        "{} is not there: run `cargo build --release` first",
        path.display()
    )
    .into())
}
