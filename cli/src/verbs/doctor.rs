//! `imgctl doctor`: what is there, what is odd, and what to do about it.
//!
//! It changes nothing and starts nothing, unless it is asked to. Each room of `doctor/` looks at one thing and gives
//! findings; none waits longer than its own bound, so that a daemon that hangs is told and not waited for.

mod configuration;
mod daemon;
mod finding;
mod folders;
mod leftovers;
mod machine;
mod models;
mod picture;
mod program;
mod sandbox;
mod service;
mod show;
mod socket;

use std::sync::Arc;

use clap::Args;
use imgd_client::{ConnectNotice, ConnectOptions};

use self::{finding::Finding, show::Sheet};
use crate::{Context, failure::Failure};

#[derive(Debug, Args)]
#[command(
    after_help = "Looks at programs, configuration, socket, folders, service manager, daemon, sandbox, machine and models. \
Nothing is started or changed unless you ask for it. Exit status 0 where nothing is a problem, else 1.

Examples:
  imgctl doctor
  imgctl doctor --draw
  imgctl doctor --json | jq -r 'select(.mark == \"problem\") | [.name, .found, .advice] | @tsv'"
)]
pub(crate) struct Doctor {
    /// Start the daemon where none runs, as any other command would
    #[arg(long)]
    start: bool,
    /// Draw a tiny picture with the default model, which proves that all of it works; starts the daemon too
    #[arg(long)]
    draw: bool,
}

impl Doctor {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let mut sheet = Sheet::new(context);
        let program = program::look(context).await;
        sheet.group("programs", &program.findings)?;
        let configuration = match &program.imgd {
            Some(imgd) => configuration::look(imgd, context).await,
            None => configuration::Configuration::default(),
        };
        sheet.group("configuration", &configuration.findings)?;
        let socket = socket::look(context).await;
        let service = service::look(&socket, program.imgd.as_deref());
        sheet.group("socket", &socket.findings)?;
        sheet.group("start", &service.findings)?;
        sheet.group("folders", &folders::look(&configuration, &socket, context))?;

        let may_start = self.start || self.draw;
        let daemon = daemon::look(
            &socket,
            &service,
            may_start,
            program.imgd.as_deref(),
            context,
        )
        .await;
        sheet.group("daemon", &daemon.findings)?;
        let status = daemon.status.as_ref();
        sheet.group("sandbox", &status.map(sandbox::look).unwrap_or_default())?;
        sheet.group("machine", &machine::look(status, &configuration, context))?;
        match &daemon.client {
            Some(client) => {
                sheet.group("models", &models::look(client).await)?;
                if self.draw {
                    sheet.group("picture", &[picture::draw(client, context).await])?;
                }
            }
            None => sheet.group("models", &[unseen()])?,
        }
        let listener = status.map(|status| status.pid).or(socket.listener_pid());
        sheet.group("leftovers", &leftovers::look(listener, context))?;
        sheet.end()
    }
}

/// What is said of what only a daemon knows.
fn unseen() -> Finding {
    Finding::note("models", "not looked at: no daemon answers")
        .advice("`imgctl doctor --start` starts one and looks, `--draw` draws with it")
}

/// How the daemon is reached: whatever protocol it speaks, and within a bound.
fn reach(starts: bool, context: &Context) -> ConnectOptions {
    let quiet: Arc<dyn Fn(&ConnectNotice) + Send + Sync> = Arc::new(|_| {});
    ConnectOptions {
        autostart: starts,
        check_protocol: false,
        answer_timeout: if starts {
            daemon::START
        } else {
            daemon::ANSWER
        },
        // What connecting says in passing is among the findings.
        on_notice: Some(quiet),
        ..context.connect.clone()
    }
}
