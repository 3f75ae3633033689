//! Where the log goes and how it looks: the journal under systemd, else plain lines on standard error.

use std::io::{self, IsTerminal as _};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    Layer as _,
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use crate::config::Environment;

/// Begins to log at `level` what the daemon says, and warnings of the libraries below it.
pub fn start(level: Level, environment: &Environment) {
    let filter = Targets::new()
        .with_target("imgd", level)
        .with_default(level.min(Level::WARN));
    let lines = || {
        let use_colors = io::stderr().is_terminal() && !environment.no_color();
        tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(use_colors)
            .event_format(Plain)
    };
    let registry = tracing_subscriber::registry();
    // A second start, in tests of one process, keeps the first.
    let started = match journal(environment) {
        Some(journal) => registry.with(journal.with_filter(filter)).try_init(),
        None => registry.with(lines().with_filter(filter)).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!("logging goes on as before: {error}");
    }
}

/// The journal, when standard error is connected to it.
#[cfg(target_os = "linux")]
fn journal(environment: &Environment) -> Option<tracing_journald::Layer> {
    let stream = environment.journal_stream()?;
    let stderr = rustix::fs::fstat(io::stderr()).ok()?;
    if (stderr.st_dev, stderr.st_ino) != stream {
        return None;
    }
    tracing_journald::layer().ok()
}

#[cfg(not(target_os = "linux"))]
fn journal(_: &Environment) -> Option<tracing_subscriber::layer::Identity> {
    None
}

/// `imgd: loaded model=starter took_ms=210`, with the level where it is a warning or an error, or below info.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let (word, color) = match *event.metadata().level() {
            Level::ERROR => ("error: ", "\u{1b}[31m"),
            Level::WARN => ("warning: ", "\u{1b}[33m"),
            Level::INFO => ("", ""),
            Level::DEBUG => ("debug: ", "\u{1b}[2m"),
            Level::TRACE => ("trace: ", "\u{1b}[2m"),
        };
        if writer.has_ansi_escapes() && !color.is_empty() {
            write!(writer, "imgd: {color}{word}\u{1b}[0m")?;
        } else {
            write!(writer, "imgd: {word}")?;
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
