//! `imgctl service`: imgd as a service of the user's systemd or launchd, and batches that they start.

mod at;
mod install;
mod invocation;
mod launchd;
mod logs;
mod manager;
mod marked;
mod named;
mod setup;
mod status;
mod systemd;
mod uninstall;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{Context, failure::Failure};

/// Where a user's own things are, as the environment says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// `HOME`.
    pub(crate) home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, where it is an absolute path.
    pub(crate) config_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub(crate) runtime_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  imgctl service install
  imgctl service status
  imgctl service install --batch wallpapers --at 03:00
  imgctl service logs -f

Without it imgctl starts the daemon by itself, which is as good for most uses.")]
pub(crate) struct Service {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Have systemd or launchd start the daemon, or a batch at a time of the day
    Install(install::Install),
    /// Take away what `install` wrote
    Uninstall(uninstall::Uninstall),
    /// Say what is installed and how it is
    Status(status::Status),
    /// Show what the daemon or a batch logged
    Logs(logs::Logs),
}

impl Service {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self.action {
            Action::Install(verb) => verb.run(context).await,
            Action::Uninstall(verb) => verb.run(context),
            Action::Status(verb) => verb.run(context),
            Action::Logs(verb) => verb.run(context),
        }
    }
}
