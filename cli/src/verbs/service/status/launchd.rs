//! How launchd has the agents, from `launchctl print`. Not run on macOS yet.

use super::{
    super::{
        Places,
        launchd::{self, LABEL, batch_label, batches, print},
        manager::uid,
    },
    Batch, Report, Unit,
};

/// What is installed, and how it is.
pub(super) fn report(places: &Places) -> Report {
    let mut report = Report::default();
    let Some(home) = &places.home else {
        return report;
    };
    let labels = batches(home);
    let file = |label: &str| launchd::file(home, label);
    if file(LABEL).exists() {
        let printed = print(uid(), LABEL).run().unwrap_or_default();
        let path = file(LABEL).display().to_string();
        report.units.push(unit(LABEL, &printed, path));
    }
    for name in labels {
        let label = batch_label(&name);
        let printed = print(uid(), &label).run().unwrap_or_default();
        let unit = unit(&label, &printed, String::new());
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
fn unit(label: &str, printed: &str, path: String) -> Unit {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_read_from_what_launchctl_prints() {
        let printed = "gui/501/dev.imgd.imgd = {\n\tactive count = 1\n\tstate = running\n\tpid = 4711\n\tlast exit code = 0\n}\n";
        let agent = unit("dev.imgd.imgd", printed, "/x".to_owned());
        assert_eq!(agent.words(), "active (running), process 4711, enabled");
        let absent = unit("dev.imgd.imgd", "", "/x".to_owned());
        assert_eq!(absent.words(), "not loaded");
    }
}
