//! `imgctl`, the command line of imgd.
//!
//! This file reads the environment, picks the verb and turns its outcome into an exit status. Each verb is a file
//! in `verbs/`; what they share is beside it.

mod args;
mod borders;
mod control_arg;
mod durations;
mod failure;
mod hub;
mod jobs;
mod json;
mod live;
mod numbers;
mod output;
mod picture_args;
mod picture_file;
mod progress;
mod prompt;
mod show;
mod table;
mod terminal;
mod verbs;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, sync::Arc};

use imgd_client::ConnectOptions;

use crate::{
    args::Cli,
    failure::{Failure, exit},
    terminal::Terminal,
    verbs::{HubSettings, Places},
};

/// What a verb needs to know besides its own arguments.
#[derive(Debug)]
struct Context {
    terminal: Terminal,
    connect: ConnectOptions,
    /// Where models are fetched from and to.
    hub: HubSettings,
    /// Where a service manager's files are.
    places: Places,
    /// Results as JSON lines.
    json: bool,
    /// No progress, no notes.
    quiet: bool,
    /// The key that callers of `imgctl gateway` have to send.
    api_key: Option<String>,
}

fn main() -> ExitCode {
    let environment = Environment::read();
    let terminal = Terminal::new(&environment);
    let cli = match args::parse(&terminal) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let json = cli.json;
    let context = Context::new(&cli, terminal, environment);
    let outcome = run(cli, &context);
    context.terminal.report(outcome, json)
}

impl Context {
    fn new(cli: &Cli, terminal: Terminal, environment: Environment) -> Self {
        let quiet = cli.quiet;
        let on_notice = Arc::new(move |notice: &imgd_client::ConnectNotice| {
            use imgd_client::ConnectNotice as Notice;
            match notice {
                Notice::OtherBuild { .. } => terminal.warn(&notice.to_string()),
                _ if quiet => {}
                _ => terminal.note(&notice.to_string()),
            }
        });
        Self {
            terminal,
            json: cli.json,
            quiet,
            hub: environment.hub,
            places: environment.places,
            api_key: environment.api_key,
            connect: ConnectOptions {
                socket: cli.socket.clone(),
                imgd: environment.imgd,
                search_path: environment.search_path,
                imgd_arguments: environment.imgd_arguments,
                on_notice: Some(on_notice),
                ..ConnectOptions::default()
            },
        }
    }

    /// Options for a verb that only asks a daemon that runs already.
    fn connect_running(&self) -> ConnectOptions {
        ConnectOptions {
            autostart: false,
            ..self.connect.clone()
        }
    }
}

/// Runs the verb until it ends or Ctrl-C is pressed. Dropping a request cancels it in the daemon; a job goes on.
fn run(cli: Cli, context: &Context) -> Result<(), Failure> {
    let mut verb = cli.verb;
    // Before Ctrl-C means anything but the end: this may wait for a person or a pipe.
    verb.prepare()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(exit::FAILED, format!("cannot start: {error}")))?;
    let interrupted = verb.interrupted();
    let sees_to_it = verb.sees_to_interrupts();
    let outcome = runtime.block_on(async {
        tokio::select! {
            biased;
            outcome = verb.run(context) => outcome,
            _ = tokio::signal::ctrl_c(), if !sees_to_it => Err(interrupted),
        }
    });
    runtime.shutdown_background();
    outcome
}

/// What imgctl takes from the environment. `IMGD_SOCKET` is read with the socket's other places, in imgd-proto.
struct Environment {
    /// `IMGD_BIN`: the daemon's program.
    imgd: Option<PathBuf>,
    /// `PATH`.
    search_path: Option<OsString>,
    /// A relative `IMGD_CONFIG` as an argument: a started daemon works in another folder.
    imgd_arguments: Vec<OsString>,
    /// `NO_COLOR` is set and not empty.
    no_color: bool,
    /// `CLICOLOR_FORCE` is set and not `0`.
    force_color: bool,
    /// `TERM` is `dumb`.
    is_dumb: bool,
    /// What huggingface_hub reads too: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`.
    hub: HubSettings,
    /// `HOME`, `XDG_CONFIG_HOME`, `XDG_RUNTIME_DIR`.
    places: Places,
    /// `IMGCTL_API_KEY`: the key of `imgctl gateway`.
    api_key: Option<String>,
}

impl Environment {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the place where imgctl reads the environment"
    )]
    fn read() -> Self {
        let get = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name| get(name)?.into_string().ok();
        let home = get("HOME").map(PathBuf::from);
        let place = |name: &str| get(name).map(PathBuf::from);
        let hub = HubSettings {
            access: hub::Access {
                endpoint: text("HF_ENDPOINT"),
                token: text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")),
                token_file: place("HF_TOKEN_PATH")
                    .or_else(|| Some(imgd_models::hub_home(place, home.as_deref())?.join("token"))),
                is_offline: text("HF_HUB_OFFLINE").is_some_and(|value| {
                    ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str())
                }),
            },
            cache: imgd_models::cache_dir(place, home.as_deref()),
        };
        let absolute = |name: &str| place(name).filter(|path| path.is_absolute());
        let places = Places {
            home: absolute("HOME"),
            config_home: absolute("XDG_CONFIG_HOME"),
            runtime_dir: absolute("XDG_RUNTIME_DIR"),
        };
        let config = get("IMGD_CONFIG").map(PathBuf::from);
        let relative_config = config.filter(|path| path.is_relative());
        let config = relative_config.and_then(|path| std::path::absolute(path).ok());
        Self {
            imgd: get("IMGD_BIN").map(Into::into),
            search_path: get("PATH"),
            imgd_arguments: config
                .map(|path| vec!["--config".into(), path.into_os_string()])
                .unwrap_or_default(),
            no_color: get("NO_COLOR").is_some(),
            force_color: get("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            is_dumb: get("TERM").is_some_and(|value| value == "dumb"),
            hub,
            places,
            api_key: text("IMGCTL_API_KEY"),
        }
    }
}
