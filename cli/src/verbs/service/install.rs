//! `imgctl service install`: writes units or agents and puts them in force.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::Path, time::Duration};

use clap::Args;
use imgd_client::{Client, ConnectOptions, Error, program, v1::StartedBy};
use serde_json::json;

use super::{
    at::At,
    invocation::Invocation,
    manager::Manager,
    marked::{self, Found, Marked, Outcome},
    named::{Batch, Name},
    setup::{Plan, Setup, lasting},
};
use crate::{
    Context,
    failure::{Failure, exit},
    json,
};

/// How long service managers give a service to start.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Debug, Args)]
pub(super) struct Install {
    /// Also draw the prompts in imgd/batch/NAME.txt (.csv, .jsonl) of your configuration, at a time of the day
    #[arg(long, value_name = "NAME", value_parser = Name::parse)]
    batch: Option<Name>,
    /// When the batch begins: 03:00, or on some days: 'sat,sun 14:30'
    #[arg(long, value_name = "TIME", requires = "batch", default_value = "03:00")]
    at: At,
    /// Put files that you changed aside as NAME.old, instead of leaving all as it is
    #[arg(long)]
    force: bool,
    /// Show what would be written and run, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Install {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let manager = Manager::here();
        let setup = self.setup(context)?;
        let plan = manager.install(&setup)?;
        if self.dry_run {
            return show(context, &plan);
        }
        manager.reach(&context.places)?;
        check_socket(context, manager)?;
        let changed = plan
            .files()
            .filter_map(|file| of_a_person(file).transpose());
        let changed = changed.collect::<Result<Vec<_>, _>>()?;
        if !changed.is_empty() && !self.force {
            return Err(refusal(&changed));
        }
        let is_in_force = plan.parts.first().is_some_and(|part| part.check.succeeds());
        if !is_in_force {
            refuse_a_daemon_of_a_person(context).await?;
        }
        for folder in &plan.folders {
            make(folder)?;
        }
        let mut has_changed = Vec::new();
        for part in &plan.parts {
            let mut changed = false;
            for file in &part.files {
                changed |= write(context, file)? == Outcome::Written;
            }
            has_changed.push(changed);
        }
        if let Some(reload) = &plan.reload {
            run(context, reload)?;
        }
        for (index, part) in plan.parts.iter().enumerate() {
            let mut is_in_force = part.check.succeeds();
            if is_in_force && has_changed[index] {
                run(context, &part.stop)?;
                is_in_force = false;
            }
            if index == 0 && !is_in_force {
                make_room(context).await?;
            }
            if !is_in_force || part.may_repeat {
                run(context, &part.start)?;
            }
        }
        conclude(context, manager, &setup).await
    }

    fn setup(&self, context: &Context) -> Result<Setup, Failure> {
        let search_path = context.connect.search_path.as_deref();
        let own = std::env::current_exe().map_err(|error| {
            Failure::new(exit::FAILED, format!("cannot find imgctl itself: {error}"))
        })?;
        let batch = match &self.batch {
            Some(name) => Some(Batch::find(name, self.at.clone(), &context.places)?),
            None => None,
        };
        Ok(Setup {
            places: context.places.clone(),
            imgd: lasting(&program(&context.connect)?, search_path),
            imgctl: lasting(&own, search_path),
            batch,
        })
    }
}

/// The path of a file that is a person's.
fn of_a_person(file: &Marked) -> Result<Option<&Path>, Failure> {
    let found = file.found();
    let found = found.map_err(|error| marked::failure(&file.path, &error))?;
    Ok((found == Found::Theirs).then_some(&file.path))
}

fn refusal(changed: &[&Path]) -> Failure {
    let paths: Vec<_> = changed
        .iter()
        .map(|path| format!("`{}`", path.display()))
        .collect();
    let was = if paths.len() == 1 { "was" } else { "were" };
    Failure::cannot_create(format!(
        "{} {was} written or changed by you; nothing was changed",
        paths.join(", ")
    ))
    .hint("`--force` puts them aside as NAME.old. Settings of your own last in a drop-in: `systemctl --user edit imgd`")
}

/// The service manager's socket has one place; a client that looks elsewhere would not find it.
fn check_socket(context: &Context, manager: Manager) -> Result<(), Failure> {
    let own = imgd_proto::socket::Environment::current(context.connect.socket.clone());
    let own = imgd_proto::socket::locate(&own).map_err(Error::from)?.path;
    match manager.socket(&context.places) {
        Some(theirs) if theirs != own => Err(Failure::usage(format!(
            "{} listens on `{}`, and imgctl is told to use `{}`",
            manager.name(),
            theirs.display(),
            own.display()
        ))
        .hint("leave out --socket and IMGD_SOCKET")),
        _ => Ok(()),
    }
}

/// A daemon that a person started stays until that person ends it.
async fn refuse_a_daemon_of_a_person(context: &Context) -> Result<(), Failure> {
    let Some(client) = running(context).await? else {
        return Ok(());
    };
    let status = client.status().await?;
    if status.started_by() != StartedBy::Hand {
        return Ok(());
    }
    Err(Failure::new(
        exit::FAILED,
        format!(
            "imgd runs already, started by hand (process {})",
            status.pid
        ),
    )
    .hint("end it with `imgctl shutdown`, then try again"))
}

/// Ends a daemon that imgctl started by itself: running pictures are finished, and jobs go on in the next.
async fn make_room(context: &Context) -> Result<(), Failure> {
    let Some(client) = running(context).await? else {
        return Ok(());
    };
    if client.status().await?.started_by() == StartedBy::Client {
        client.shutdown(false).await?;
        say(
            context,
            "ended",
            "the daemon that imgctl had started",
            json!({ "kind": "daemon" }),
        )?;
    }
    Ok(())
}

/// The daemon that runs, if one does, whatever its protocol.
async fn running(context: &Context) -> Result<Option<Client>, Failure> {
    let options = ConnectOptions {
        check_protocol: false,
        ..context.connect_running()
    };
    match Client::connect(options).await {
        Ok(client) => Ok(Some(client)),
        Err(Error::NotRunning { .. } | Error::Lost(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn make(folder: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.map_err(|error| {
        Failure::cannot_create(format!("cannot make `{}`: {error}", folder.display()))
    })
}

fn write(context: &Context, file: &Marked) -> Result<Outcome, Failure> {
    let outcome = file.write();
    let outcome = outcome.map_err(|error| marked::failure(&file.path, &error))?;
    say_file(context, &file.path, outcome)?;
    Ok(outcome)
}

/// Tells what became of a file.
pub(super) fn say_file(context: &Context, path: &Path, outcome: Outcome) -> Result<(), Failure> {
    let path = path.display().to_string();
    let outcome_word = match outcome {
        Outcome::Written => "written",
        other => other.word(),
    };
    let fields = json!({ "kind": "file", "path": path, "outcome": outcome_word });
    say(context, outcome.word(), &path, fields)
}

/// Runs a program and tells that.
pub(super) fn run(context: &Context, invocation: &Invocation) -> Result<(), Failure> {
    invocation.run()?;
    let fields = json!({ "kind": "command", "arguments": invocation.words() });
    say(context, "ran", &invocation.to_string(), fields)
}

fn say(
    context: &Context,
    word: &str,
    what: &str,
    fields: serde_json::Value,
) -> Result<(), Failure> {
    if context.json {
        let object = json::object("service_step", fields);
        return context.terminal.line(&object.to_string());
    }
    if context.quiet {
        return Ok(());
    }
    context.terminal.line(&format!("{word:<9}  {what}"))
}

/// Shows what would be done.
fn show(context: &Context, plan: &Plan) -> Result<(), Failure> {
    for file in plan.files() {
        let path = file.path.display().to_string();
        let text = file.whole();
        if context.json {
            let fields =
                json!({ "kind": "file", "path": path, "outcome": "planned", "text": text });
            let object = json::object("service_step", fields);
            context.terminal.line(&object.to_string())?;
            continue;
        }
        context.terminal.line(&format!("would write {path}:"))?;
        let indented: Vec<_> = text.lines().map(|line| format!("    {line}")).collect();
        context.terminal.line(&indented.join("\n"))?;
    }
    let starts = plan.parts.iter().map(|part| &part.start);
    for invocation in plan.reload.iter().chain(starts) {
        if context.json {
            let fields =
                json!({ "kind": "command", "outcome": "planned", "arguments": invocation.words() });
            let object = json::object("service_step", fields);
            context.terminal.line(&object.to_string())?;
        } else {
            context.terminal.line(&format!("would run {invocation}"))?;
        }
    }
    Ok(())
}

/// Asks the daemon for its status over the new socket, which starts it: what does not work is said now.
async fn conclude(context: &Context, manager: Manager, setup: &Setup) -> Result<(), Failure> {
    let options = ConnectOptions {
        answer_timeout: PATIENCE,
        ..context.connect_running()
    };
    let client = Client::connect(options).await.map_err(|error| {
        let name = manager.name();
        Failure::from(error).hint(format!(
            "{name} listens and cannot start imgd: `imgctl service status` and `imgctl service logs` say more"
        ))
    })?;
    let status = client.status().await?;
    if context.json {
        let fields = json!({
            "kind": "daemon",
            "outcome": "started",
            "pid": status.pid,
            "version": status.version,
            "socket": client.socket().display().to_string(),
        });
        let object = json::object("service_step", fields);
        return context.terminal.line(&object.to_string());
    }
    if status.started_by() != StartedBy::ServiceManager {
        let name = manager.name();
        context.terminal.warn(&format!(
            "imgd (process {}) was not started by {name}: end it with `imgctl shutdown`",
            status.pid
        ));
    }
    if context.quiet {
        return Ok(());
    }
    let name = manager.name();
    let socket = client.socket().display();
    context.terminal.line(&format!(
        "{name} listens on {socket} now and starts imgd {} when it is needed",
        status.version
    ))?;
    if let Some(batch) = &setup.batch {
        context.terminal.line(&format!(
            "{} is drawn {} into {}",
            batch.prompts.display(),
            batch.at,
            batch.pictures.display()
        ))?;
    }
    Ok(())
}
