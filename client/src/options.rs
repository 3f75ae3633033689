//! How to reach the daemon: everything that [`Client::connect`](crate::Client::connect) may be told.

use std::{ffi::OsString, fmt, path::PathBuf, sync::Arc, time::Duration};

/// Is told what happens while connecting.
pub type OnNotice = Arc<dyn Fn(&ConnectNotice) + Send + Sync>;

/// How to reach the daemon, and how to start it when nobody listens.
#[derive(Clone)]
pub struct ConnectOptions {
    /// The socket. Default: `IMGD_SOCKET`, else the user's own place for it.
    pub socket: Option<PathBuf>,
    /// Starts the daemon when nobody listens, and replaces an idle one of another build. Default: true.
    pub autostart: bool,
    /// Refuses a daemon of another protocol. Default: true; only ending such a daemon may go without.
    pub check_protocol: bool,
    /// The `imgd` program. Default: the one beside this program, else the first on the search path.
    pub imgd: Option<PathBuf>,
    /// Folders in the form of `PATH` where `imgd` is looked for. Default: none.
    pub search_path: Option<OsString>,
    /// Further arguments for an `imgd` that is started. Default: none.
    pub imgd_arguments: Vec<OsString>,
    /// File that a started daemon writes its log to. Default: `imgd.log` in the user's state directory.
    pub log_file: Option<PathBuf>,
    /// Name by which the daemon shows this client and shares its time between clients: up to 64 characters of
    /// `[A-Za-z0-9_.-]`. Default: the daemon goes by the process.
    pub client_name: Option<String>,
    /// How long to wait for the daemon's first answer. Default: 30 s.
    pub answer_timeout: Duration,
    /// Is told what happens on the way. Default: nobody is.
    pub on_notice: Option<OnNotice>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            socket: None,
            autostart: true,
            check_protocol: true,
            imgd: None,
            search_path: None,
            imgd_arguments: Vec::new(),
            log_file: None,
            client_name: None,
            answer_timeout: Duration::from_secs(30),
            on_notice: None,
        }
    }
}

impl ConnectOptions {
    /// Tells whoever listens.
    pub(crate) fn notify(&self, notice: &ConnectNotice) {
        if let Some(on_notice) = &self.on_notice {
            on_notice(notice);
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("socket", &self.socket)
            .field("autostart", &self.autostart)
            .field("imgd", &self.imgd)
            .finish_non_exhaustive()
    }
}

/// What happened while connecting, as a sentence for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectNotice {
    /// Nobody listens: the daemon is being started.
    Starting,
    /// An idle daemon of another build is being replaced.
    Replacing,
    /// The daemon is of another build and stays, because it is at work or was not started by a client.
    OtherBuild {
        /// Why it was not replaced, and what to do.
        advice: &'static str,
    },
}

impl fmt::Display for ConnectNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting imgd"),
            Self::Replacing => f.write_str("replacing imgd by the build that is here now"),
            Self::OtherBuild { advice } => {
                write!(
                    f,
                    "the running imgd is of another build than the program here; {advice}"
                )
            }
        }
    }
}
