//! `imgctl service status`: what is installed, how it is, and what to do.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use serde_json::{Value, json};

use super::{
    Places, launchd,
    manager::{Manager, WITHOUT, uid},
    systemd,
};
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
            Manager::Systemd => of_systemd(&context.places)?,
            Manager::Launchd => of_launchd(&context.places),
        };
        if context.json {
            let object = report.object(manager);
            return context.terminal.line(&object.to_string());
        }
        context.terminal.line(&report.lines(manager).join("\n"))
    }
}

fn of_systemd(places: &Places) -> Result<Report, Failure> {
    if let Some(missing) = Manager::Systemd.missing(places) {
        return Ok(Report {
            missing: Some(missing),
            ..Report::default()
        });
    }
    let show = |unit: &str| -> Result<BTreeMap<String, String>, Failure> {
        Ok(properties(&systemd::systemctl(["show", unit]).run()?))
    };
    let now = Duration::try_from(rustix::time::clock_gettime(
        rustix::time::ClockId::Monotonic,
    ))
    .unwrap_or_default();
    let mut report = Report::default();
    for name in [systemd::SOCKET, systemd::SERVICE] {
        let unit = systemd_unit(name, &show(name)?, now);
        report.units.extend(unit);
    }
    for name in systemd::batches(&systemd::folder(places)?) {
        let timer = show(&format!("imgd-batch@{name}.timer"))?;
        let service = show(&format!("imgd-batch@{name}.service"))?;
        report.batches.push(systemd_batch(&name, &timer, &service));
    }
    Ok(report)
}

/// `Key=value` lines.
fn properties(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// A unit as `systemctl show` has it; `now` is the monotonic clock. None for one that is not there.
fn systemd_unit(name: &str, properties: &BTreeMap<String, String>, now: Duration) -> Option<Unit> {
    let get = |key: &str| properties.get(key).cloned().unwrap_or_default();
    if get("LoadState") == "not-found" {
        return None;
    }
    let state = get("ActiveState");
    let since = match state.as_str() {
        "active" => get("ActiveEnterTimestampMonotonic"),
        _ => get("InactiveEnterTimestampMonotonic"),
    };
    let since = since.parse().ok().filter(|micros| *micros > 0);
    let result = get("Result");
    let problem = match (get("LoadState").as_str(), result.as_str()) {
        ("loaded", "success" | "") => String::new(),
        ("loaded", _) => result,
        (load_state, _) => load_state.to_owned(),
    };
    Some(Unit {
        name: name.to_owned(),
        state,
        detail: get("SubState"),
        is_enabled: get("UnitFileState") == "enabled",
        since: since.and_then(|micros| now.checked_sub(Duration::from_micros(micros))),
        pid: get("MainPID").parse().ok().filter(|pid| *pid > 0),
        text: get("StatusText"),
        problem,
        path: get("FragmentPath"),
    })
}

fn systemd_batch(
    name: &str,
    timer: &BTreeMap<String, String>,
    service: &BTreeMap<String, String>,
) -> Batch {
    let get = |of: &BTreeMap<String, String>, key: &str| of.get(key).cloned().unwrap_or_default();
    let began = get(service, "ExecMainStartTimestamp");
    let result = match (get(service, "ActiveState").as_str(), began.is_empty()) {
        ("activating", _) => "running".to_owned(),
        (_, true) => String::new(),
        (_, false) => get(service, "Result"),
    };
    Batch {
        name: name.to_owned(),
        is_enabled: get(timer, "ActiveState") == "active",
        next: get(timer, "NextElapseUSecRealtime"),
        last: began,
        result,
    }
}

fn of_launchd(places: &Places) -> Report {
    let mut report = Report::default();
    let Some(home) = &places.home else {
        return report;
    };
    let labels = launchd::batches(home);
    let file = |label: &str| launchd::file(home, label);
    if file(launchd::LABEL).exists() {
        let printed = launchd::print(uid(), launchd::LABEL)
            .run()
            .unwrap_or_default();
        let path = file(launchd::LABEL).display().to_string();
        report
            .units
            .push(launchd_unit(launchd::LABEL, &printed, path));
    }
    for name in labels {
        let label = launchd::batch_label(&name);
        let printed = launchd::print(uid(), &label).run().unwrap_or_default();
        let unit = launchd_unit(&label, &printed, String::new());
        report.batches.push(Batch {
            name,
            is_enabled: unit.is_enabled,
            result: unit.problem,
            ..Batch::default()
        });
    }
    report
}

/// An agent as `launchctl print` has it, which promises no form: lines that are not there say nothing. An empty text is
/// of one that is not loaded.
fn launchd_unit(label: &str, printed: &str, path: String) -> Unit {
    let value = |key: &str| {
        let lines = printed.lines().map(str::trim);
        let mut values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        values.next().unwrap_or_default().to_owned()
    };
    let is_loaded = !printed.trim().is_empty();
    let exit = value("last exit code");
    Unit {
        name: label.to_owned(),
        state: if is_loaded { "active" } else { "not loaded" }.to_owned(),
        detail: value("state"),
        is_enabled: is_loaded,
        pid: value("pid").parse().ok(),
        problem: match exit.as_str() {
            "" | "0" | "(never exited)" => String::new(),
            code => format!("exit status {code}"),
        },
        path,
        ..Unit::default()
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

    const SOCKET: &str = "Id=imgd.socket\nLoadState=loaded\nActiveState=active\nSubState=listening\nUnitFileState=enabled\n\
                          ActiveEnterTimestampMonotonic=3000000\nInactiveEnterTimestampMonotonic=0\nResult=success\n\
                          FragmentPath=/h/.config/systemd/user/imgd.socket\nA=b=c\n";

    fn unit(text: &str) -> Option<Unit> {
        systemd_unit("imgd.socket", &properties(text), Duration::from_secs(123))
    }

    #[test]
    fn a_units_state_is_said_in_few_words() {
        assert_eq!(properties(SOCKET)["A"], "b=c");
        let listening = unit(SOCKET).unwrap();
        assert_eq!(
            listening.words(),
            "active (listening) for 2 minutes, enabled"
        );
        let failed = SOCKET
            .replace("=active", "=failed")
            .replace("success", "watchdog");
        let failed = unit(&failed.replace("listening", "failed")).unwrap();
        assert_eq!(failed.words(), "failed (failed), enabled; watchdog");
        assert_eq!(unit("LoadState=not-found\n"), None);
        let masked = unit("LoadState=masked\nActiveState=inactive\nSubState=dead\n").unwrap();
        assert_eq!(masked.words(), "inactive (dead); masked");
    }

    #[test]
    fn what_to_do_is_said_where_something_is_to_be_done() {
        let report = |units: Vec<Unit>, missing: Option<&str>| Report {
            units,
            missing: missing.map(str::to_owned),
            ..Report::default()
        };
        let socket = || unit(SOCKET).unwrap();
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

    #[test]
    fn a_batch_says_when_it_comes_and_how_it_went() {
        let timer =
            properties("ActiveState=active\nNextElapseUSecRealtime=Sat 2026-11-28 03:00:00 UTC\n");
        let service = properties(
            "ActiveState=inactive\nResult=success\nExecMainStartTimestamp=Fri 2026-11-27 03:00:00 UTC\n",
        );
        let batch = systemd_batch("night", &timer, &service);
        assert_eq!(
            batch.words(),
            "next Sat 2026-11-28 03:00:00 UTC; last Fri 2026-11-27 03:00:00 UTC: success"
        );
        let fresh = systemd_batch(
            "night",
            &timer,
            &properties("ActiveState=inactive\nResult=success\n"),
        );
        assert_eq!(fresh.words(), "next Sat 2026-11-28 03:00:00 UTC");
    }

    #[test]
    fn an_agent_is_read_from_what_launchctl_prints() {
        let printed = "gui/501/dev.imgd.imgd = {\n\tactive count = 1\n\tstate = running\n\tpid = 4711\n\tlast exit code = 0\n}\n";
        let agent = launchd_unit("dev.imgd.imgd", printed, "/x".to_owned());
        assert_eq!(agent.words(), "active (running), process 4711, enabled");
        let absent = launchd_unit("dev.imgd.imgd", "", "/x".to_owned());
        assert_eq!(absent.words(), "not loaded");
    }
}
