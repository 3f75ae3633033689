//! `imgctl service status`: what is installed, how it is, and what to do.

mod launchd;
mod systemd;

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::manager::{Manager, WITHOUT};
use crate::{Context, durations, failure::Failure, json, table};

#[derive(Debug, Args)]
pub(super) struct Status {}

/// What there is to say.
#[derive(Debug, Default)]
struct Report {
    /// Why the service manager cannot be reached.
    missing: Option<String>,
    units: Vec<Unit>,
    batches: Vec<Batch>,
}

/// A unit or an agent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Unit {
    name: String,
    /// In the service manager's words: `active`, `inactive`, `failed`, `not loaded`.
    state: String,
    /// More exactly: `listening`, `running`, `dead`.
    detail: String,
    is_enabled: bool,
    /// Since when it is so.
    since: Option<Duration>,
    pid: Option<u32>,
    /// What the daemon says that it does.
    text: String,
    /// How it last ended, where that was not as it should be.
    problem: String,
    path: String,
}

/// A batch that is started at its time.
#[derive(Debug, Default, PartialEq, Eq)]
struct Batch {
    name: String,
    is_enabled: bool,
    /// When it begins next and began last, in the service manager's words.
    next: String,
    last: String,
    /// How it last ended: `success`, `exit-code`…; what it does while it runs.
    result: String,
}

impl Status {
    #[expect(clippy::unused_self, reason = "as every verb")]
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let manager = Manager::here();
        let report = match manager {
            Manager::Systemd => systemd::report(&context.places)?,
            Manager::Launchd => launchd::report(&context.places),
        };
        if context.json {
            let object = report.object(manager);
            return context.terminal.line(&object.to_string());
        }
        context.terminal.line(&report.lines(manager).join("\n"))
    }
}

impl Report {
    /// What to do, where something is to be done.
    fn advice(&self) -> Option<&'static str> {
        if self.missing.is_some() {
            return Some(WITHOUT);
        }
        let Some(first) = self.units.first() else {
            return Some(
                "not installed: `imgctl service install` does that; without it imgctl starts imgd by itself",
            );
        };
        if self.units.iter().any(|unit| unit.state == "failed") {
            return Some(
                "`imgctl service logs` says why; `imgctl service install` starts it again",
            );
        }
        if first.state != "active" || !first.is_enabled {
            return Some("`imgctl service install` puts it in force");
        }
        None
    }

    fn lines(&self, manager: Manager) -> Vec<String> {
        let mut rows = Vec::new();
        let state = match &self.missing {
            Some(why) => format!("does not run for this user: {why}"),
            None => "runs for this user".to_owned(),
        };
        rows.push(vec![manager.name().to_owned(), state]);
        for unit in &self.units {
            rows.push(vec![unit.name.clone(), unit.words()]);
            if !unit.text.is_empty() && unit.pid.is_some() {
                rows.push(vec![String::new(), unit.text.clone()]);
            }
            if !unit.path.is_empty() {
                rows.push(vec![String::new(), unit.path.clone()]);
            }
        }
        for batch in &self.batches {
            rows.push(vec![format!("batch {}", batch.name), batch.words()]);
        }
        if let Some(advice) = self.advice() {
            rows.push(vec!["hint".to_owned(), advice.to_owned()]);
        }
        table::lines(&rows)
    }

    fn object(&self, manager: Manager) -> Value {
        let units = self.units.iter().map(|unit| {
            json!({
                "name": unit.name,
                "state": unit.state,
                "detail": unit.detail,
                "is_enabled": unit.is_enabled,
                "since_secs": unit.since.map(|since| since.as_secs_f64()),
                "pid": unit.pid,
                "text": unit.text,
                "problem": unit.problem,
                "path": unit.path,
            })
        });
        let batches = self.batches.iter().map(|batch| {
            json!({
                "name": batch.name,
                "is_enabled": batch.is_enabled,
                "next": batch.next,
                "last": batch.last,
                "result": batch.result,
            })
        });
        let fields = json!({
            "manager": manager.name(),
            "is_running": self.missing.is_none(),
            "is_installed": !self.units.is_empty(),
            "units": units.collect::<Vec<_>>(),
            "batches": batches.collect::<Vec<_>>(),
            "hint": self.advice(),
        });
        json::object("service", fields)
    }
}

impl Unit {
    /// `active (listening) for 2 hours, enabled`.
    fn words(&self) -> String {
        let mut words = self.state.clone();
        if !self.detail.is_empty() {
            words = format!("{words} ({})", self.detail);
        }
        if let Some(since) = self.since {
            words = format!("{words} for {}", durations::rough(since));
        }
        if let Some(pid) = self.pid {
            words = format!("{words}, process {pid}");
        }
        if self.is_enabled {
            words.push_str(", enabled");
        }
        if !self.problem.is_empty() {
            words = format!("{words}; {}", self.problem);
        }
        words
    }
}

impl Batch {
    fn words(&self) -> String {
        let mut words = match (self.is_enabled, self.next.is_empty()) {
            (false, _) => "not in force".to_owned(),
            (true, true) => "in force".to_owned(),
            (true, false) => format!("next {}", self.next),
        };
        if !self.last.is_empty() {
            words = format!("{words}; last {}", self.last);
        }
        if !self.result.is_empty() {
            words = format!("{words}: {}", self.result);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_is_said_where_something_is_to_be_done() {
        let report = |units: Vec<Unit>, missing: Option<&str>| Report {
            units,
            missing: missing.map(str::to_owned),
            ..Report::default()
        };
        let socket = || Unit {
            name: "imgd.socket".to_owned(),
            state: "active".to_owned(),
            is_enabled: true,
            ..Unit::default()
        };
        assert_eq!(report(vec![socket()], None).advice(), None);
        let none = report(Vec::new(), Some("x")).lines(Manager::Systemd);
        assert_eq!(none[0], "systemd  does not run for this user: x");
        assert!(none[1].contains("by itself"), "{none:?}");
        let advice = |report: Report| report.advice().unwrap_or_default();
        assert!(advice(report(Vec::new(), None)).starts_with("not installed"));
        let off = Unit {
            is_enabled: false,
            ..socket()
        };
        assert!(advice(report(vec![off], None)).contains("install"));
    }
}
