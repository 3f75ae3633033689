//! A daemon of a test's own.

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{Home, processes, program, run::Run};

/// What turns a home into the command that runs `imgd` in it.
type Starter = Box<dyn Fn(&Home) -> Command + Send>;

/// `imgd`, started by hand in a private [`Home`], accepting connections. Dropping it ends it.
pub struct Daemon {
    child: Child,
    home: Home,
    starter: Starter,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Daemon");
        f.field("child", &self.child).field("home", &self.home);
        f.finish_non_exhaustive()
    }
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
    pub fn start_in(home: Home, adapt: impl Fn(&mut Command) + Send + 'static) -> Self {
        Self::start_by(home, move |home| {
            let mut command = home.command(program("imgd"));
            adapt(&mut command);
            command
        })
    }

    /// Starts a daemon by a command that becomes `imgd`.
    ///
    /// # Panics
    /// When it does not accept connections within ten seconds; the message has its log.
    pub fn start_by(home: Home, starter: impl Fn(&Home) -> Command + Send + 'static) -> Self {
        let child = spawn(&home, &starter);
        let daemon = Self {
            child,
            home,
            starter: Box::new(starter),
        };
        daemon.wait_until_it_listens();
        daemon
    }

    /// Starts it again in its home, after it has ended; does not wait until it accepts connections.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start_again(&mut self) {
        // it has ended, or is about to: the parent must ask how
        drop(self.child.wait());
        self.child = spawn(&self.home, &self.starter);
    }

    /// Returns when it accepts connections.
    ///
    /// # Panics
    /// When it does not within ten seconds; the message has its log.
    pub fn wait_until_it_listens(&self) {
        let listens = || self.home.daemon_pid() == Some(self.pid());
        assert!(
            processes::within(Duration::from_secs(10), listens),
            "imgd does not accept connections; its log:\n{}",
            self.log()
        );
    }

    /// Kills the supervisor, and nothing else, with SIGKILL.
    pub fn kill(&mut self) {
        // killed already is what was wanted
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Process id of the worker, if one runs.
    pub fn worker(&self) -> Option<u32> {
        processes::worker(self.pid())
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

fn spawn(home: &Home, starter: &dyn Fn(&Home) -> Command) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(home.path().join("imgd.log"))
        .expect("the home is ours");
    starter(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the program was just built")
}
