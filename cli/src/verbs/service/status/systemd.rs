//! How systemd has the units, from `systemctl show`.

use std::{collections::BTreeMap, time::Duration};

use super::{
    super::{
        Places,
        manager::Manager,
        systemd::{SERVICE, SOCKET, batches, folder, systemctl},
    },
    Batch, Report, Unit,
};
use crate::failure::Failure;

/// What is installed, and how it is.
pub(super) fn report(places: &Places) -> Result<Report, Failure> {
    if let Some(missing) = Manager::Systemd.missing(places) {
        return Ok(Report {
            missing: Some(missing),
            ..Report::default()
        });
    }
    let show = |unit: &str| -> Result<BTreeMap<String, String>, Failure> {
        Ok(properties(&systemctl(["show", unit]).run()?))
    };
    let now = Duration::try_from(rustix::time::clock_gettime(
        rustix::time::ClockId::Monotonic,
    ))
    .unwrap_or_default();
    let mut report = Report::default();
    for name in [SOCKET, SERVICE] {
        report.units.extend(unit(name, &show(name)?, now));
    }
    for name in batches(&folder(places)?) {
        let timer = show(&format!("imgd-batch@{name}.timer"))?;
        let service = show(&format!("imgd-batch@{name}.service"))?;
        report.batches.push(batch(&name, &timer, &service));
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
fn unit(name: &str, properties: &BTreeMap<String, String>, now: Duration) -> Option<Unit> {
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

fn batch(
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

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENS: &str = "Id=imgd.socket\nLoadState=loaded\nActiveState=active\nSubState=listening\nUnitFileState=enabled\n\
                          ActiveEnterTimestampMonotonic=3000000\nInactiveEnterTimestampMonotonic=0\nResult=success\n\
                          FragmentPath=/h/.config/systemd/user/imgd.socket\nA=b=c\n";

    fn unit(text: &str) -> Option<Unit> {
        super::unit("imgd.socket", &properties(text), Duration::from_secs(123))
    }

    #[test]
    fn a_units_state_is_said_in_few_words() {
        assert_eq!(properties(LISTENS)["A"], "b=c");
        let listening = unit(LISTENS).unwrap();
        assert_eq!(
            listening.words(),
            "active (listening) for 2 minutes, enabled"
        );
        let failed = LISTENS
            .replace("=active", "=failed")
            .replace("success", "watchdog");
        let failed = unit(&failed.replace("listening", "failed")).unwrap();
        assert_eq!(failed.words(), "failed (failed), enabled; watchdog");
        assert_eq!(unit("LoadState=not-found\n"), None);
        let masked = unit("LoadState=masked\nActiveState=inactive\nSubState=dead\n").unwrap();
        assert_eq!(masked.words(), "inactive (dead); masked");
    }

    #[test]
    fn a_batch_says_when_it_comes_and_how_it_went() {
        let timer =
            properties("ActiveState=active\nNextElapseUSecRealtime=Sat 2026-11-28 03:00:00 UTC\n");
        let service = properties(
            "ActiveState=inactive\nResult=success\nExecMainStartTimestamp=Fri 2026-11-27 03:00:00 UTC\n",
        );
        let after = batch("night", &timer, &service);
        assert_eq!(
            after.words(),
            "next Sat 2026-11-28 03:00:00 UTC; last Fri 2026-11-27 03:00:00 UTC: success"
        );
        let fresh = batch(
            "night",
            &timer,
            &properties("ActiveState=inactive\nResult=success\n"),
        );
        assert_eq!(fresh.words(), "next Sat 2026-11-28 03:00:00 UTC");
    }
}
