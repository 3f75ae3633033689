//! `imgctl service logs`: what the daemon or a batch logged. Prompts are never in it.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::Stdio,
};

use clap::Args;
use imgd_client::log_file;
use serde_json::json;

use super::{Places, invocation::Invocation, launchd, manager::Manager, named, systemd};
use crate::{
    Context,
    failure::{Failure, exit},
    json,
};

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Go on with what is logged from now on, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// How many lines of before
    #[arg(long, short = 'n', value_name = "N", default_value = "100")]
    lines: u32,
    /// Of this batch instead of the daemon
    #[arg(long, value_name = "NAME", value_parser = named::Name::parse)]
    batch: Option<named::Name>,
}

impl Logs {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let invocation = self.invocation(context)?;
        let mut command = invocation.command();
        if !context.json {
            // In this one's place: a pager has the terminal, and Ctrl-C is its own.
            return Err(invocation.missing(&command.exec()));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| invocation.missing(&error))?;
        for line in child
            .stdout
            .take()
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines())
        {
            let line = line.map_err(|error| Failure::new(exit::FAILED, error.to_string()))?;
            let object = json::object("log_line", json!({ "line": line }));
            context.terminal.line(&object.to_string())?;
        }
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Failure::new(exit::FAILED, format!("`{invocation}` failed"))),
        }
    }

    /// The program that shows it.
    fn invocation(&self, context: &Context) -> Result<Invocation, Failure> {
        let places = &context.places;
        match Manager::here() {
            Manager::Systemd if is_in_the_journal(places) => {
                let unit = match &self.batch {
                    Some(batch) => format!("imgd-batch@{}", batch.as_str()),
                    None => systemd::SERVICE.to_owned(),
                };
                let lines = self.lines.to_string();
                let mut arguments = vec!["--user", "--unit", &unit, "--lines", &lines];
                arguments.extend(self.follow.then_some("--follow"));
                arguments.extend(context.json.then_some("--no-pager"));
                Ok(Invocation::new("journalctl", arguments))
            }
            manager => self.of_a_file(manager, context),
        }
    }

    /// A daemon that imgctl started logs to a file, and so do launchd's agents.
    fn of_a_file(&self, manager: Manager, context: &Context) -> Result<Invocation, Failure> {
        let home = context.places.home.as_deref();
        let of_agents = home.filter(|home| {
            manager == Manager::Launchd
                && (self.batch.is_some() || launchd::file(home, launchd::LABEL).exists())
        });
        let path = match (of_agents, &self.batch) {
            (Some(home), Some(_)) => launchd::batch_log(home),
            (Some(home), None) => launchd::log(home),
            (None, Some(batch)) => {
                let message = format!("no batch `{}` is installed", batch.as_str());
                return Err(Failure::usage(message)
                    .field("batch")
                    .hint("`imgctl service install --batch NAME` installs one"));
            }
            (None, None) => log_file(&context.connect)?,
        };
        if !path.exists() {
            let message = format!("nothing was logged yet: there is no `{}`", path.display());
            return Err(Failure::new(exit::FAILED, message));
        }
        let lines = self.lines.to_string();
        let mut arguments = vec!["-n".into(), lines.into()];
        arguments.extend(self.follow.then(|| "-f".into()));
        arguments.push(path.into_os_string());
        Ok(Invocation::new("tail", arguments))
    }
}

/// Whether systemd starts the daemon, so that its log is there.
fn is_in_the_journal(places: &Places) -> bool {
    let load_state = ["show", "--property=LoadState", "--value", systemd::SERVICE];
    Manager::Systemd.missing(places).is_none()
        && systemd::systemctl(load_state)
            .run()
            .is_ok_and(|state| state.trim() == "loaded")
}
