//! A daemon of a test's own.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{Home, processes, program, run::Run};

/// `imgd`, started by hand in a private [`Home`], accepting connections. Dropping it ends it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    home: Home,
}

impl Daemon {
    /// Starts a daemon with the default configuration.
    ///
    /// # Panics
    /// When it does not accept connections within ten seconds; the message has its log.
    pub fn start() -> Self {
        Self::start_in(Home::new(), |_| {})
    }

    /// Starts a daemon in this home, after `adapt` has seen the command.
    ///
    /// # Panics
    /// When it does not accept connections within ten seconds; the message has its log.
    pub fn start_in(home: Home, adapt: impl FnOnce(&mut Command)) -> Self {
        let log = File::create(home.path().join("imgd.log")).expect("the home is ours");
        let mut command = home.command(program("imgd"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        adapt(&mut command);
        let child = command.spawn().expect("the program was just built");
        let daemon = Self { child, home };
        let listens = || daemon.home.daemon_pid().is_some();
        assert!(
            processes::within(Duration::from_secs(10), listens),
            "imgd does not accept connections; its log:\n{}",
            daemon.log()
        );
        daemon
    }

    /// Process id of the supervisor.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.home.socket()
    }

    /// The home it lives in.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Folder the pictures of [`Daemon::run`] go to.
    pub fn work(&self) -> PathBuf {
        self.home.work()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The file its log goes to.
    pub fn log_path(&self) -> PathBuf {
        self.home.path().join("imgd.log")
    }

    /// `imgctl`, talking to this daemon and never starting another.
    pub fn imgctl(&self) -> Command {
        self.home.imgctl()
    }

    /// Runs `imgctl` to its end.
    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Run {
        Run::of(self.imgctl().args(arguments))
    }

    /// Runs `imgctl` in another folder.
    pub fn run_in<'a>(&self, folder: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Run {
        Run::of(self.imgctl().current_dir(folder).args(arguments))
    }

    /// How the daemon ended, if it has within `limit`.
    ///
    /// # Panics
    /// When the system does not know the child.
    pub fn exit_code_within(&mut self, limit: Duration) -> Option<i32> {
        let mut code = None;
        processes::within(limit, || {
            code = self
                .child
                .try_wait()
                .expect("the child is ours")
                .map(|status| {
                    use std::os::unix::process::ExitStatusExt as _;
                    status
                        .code()
                        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
                });
            code.is_some()
        });
        code
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        processes::signal(self.pid(), rustix::process::Signal::TERM);
        if self.exit_code_within(Duration::from_secs(10)).is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
