//! The command line as a whole: verbs, what they share, and how a mistake in it is reported.

use std::{error::Error as _, path::PathBuf, process::ExitCode};

use clap::{
    ColorChoice, CommandFactory as _, FromArgMatches as _, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    failure::{Failure, exit},
    json,
    terminal::Terminal,
    verbs::Verb,
};

const HINT: &str = "see `imgctl --help`, or `--help` after the verb";

/// Draw pictures with image models that stay in memory.
#[derive(Debug, Parser)]
#[command(
    name = "imgctl",
    version,
    max_term_width = 100,
    after_help = "Exit status: 0 done, 1 failed, 2 wrong usage or request, 69 no daemon, 73 cannot write the \
picture, 75 busy or out of time (try again), 78 wrong configuration, 130 interrupted.",
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// Unix socket of the daemon [default: $IMGD_SOCKET, else your runtime directory]
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        help_heading = "Global options"
    )]
    pub(crate) socket: Option<PathBuf>,
    /// Print results as JSON, one object a line
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Print results and errors only: no progress, no notes
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Reads the command line; help, version and mistakes are printed here and give the exit status.
pub(crate) fn parse(terminal: &Terminal) -> Result<Cli, ExitCode> {
    let color = match (terminal.stdout_color(), terminal.stderr_color()) {
        (true, true) => ColorChoice::Always,
        (false, false) => ColorChoice::Never,
        _ => ColorChoice::Auto,
    };
    Cli::command()
        .color(color)
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| report(&error, terminal))
}

fn report(error: &clap::Error, terminal: &Terminal) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // A reader that has gone wants no more help.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    let json = std::env::args_os().any(|argument| argument == "--json");
    if let Some(failure) = wrong_value(error) {
        return terminal.report(Err(failure), json);
    }
    if json {
        // what clap prints goes to standard error, for people
        drop(terminal.line(&json::failure(&mistake(error)).to_string()));
    }
    drop(error.print());
    ExitCode::from(exit::USAGE)
}

/// The failure to report, to programs, for what clap itself refuses: the first paragraph of what it would print.
fn mistake(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let first: Vec<_> = text
        .strip_prefix("error: ")
        .unwrap_or(&text)
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    Failure::usage(first.join(" ")).hint(HINT)
}

/// The failure to report for a value that a flag does not take.
fn wrong_value(error: &clap::Error) -> Option<Failure> {
    if error.kind() != ErrorKind::ValueValidation {
        return None;
    }
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    // `--width <PX>` to `--width`.
    let flag = text(ContextKind::InvalidArg)?;
    let flag = flag.split_whitespace().next()?.to_owned();
    let value = text(ContextKind::InvalidValue)?;
    let reason = error.source()?;
    Some(
        Failure::usage(format!("`{flag}` cannot be `{value}`: {reason}"))
            .field(flag.trim_start_matches('-').replace('-', "_"))
            .hint(HINT),
    )
}
