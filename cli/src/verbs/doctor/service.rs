//! Who starts the daemon: a service manager, or the first command that needs it.

use std::path::Path;

use imgd_client::survey::{self, ServiceManager};

use super::{finding::Finding, socket::Socket};

/// What was found.
pub(super) struct Service {
    pub(super) findings: Vec<Finding>,
    /// A service manager listens, and the first connection that speaks starts the daemon.
    pub(super) waits: bool,
}

pub(super) fn look(socket: &Socket, imgd: Option<&Path>) -> Service {
    match survey::service_manager() {
        None => Service {
            findings: vec![Finding::ok(
                "started by",
                "the first command that needs it; no service manager is set up to",
            )],
            waits: false,
        },
        Some(manager) => Service {
            waits: socket.path.is_some()
                && manager.is_listening == Some(true)
                && manager.is_running == Some(false),
            findings: managed(&manager, imgd),
        },
    }
}

fn managed(manager: &ServiceManager, imgd: Option<&Path>) -> Vec<Finding> {
    let name = manager.name;
    let is_systemd = name == "systemd";
    let unit = Finding::ok("started by", format!("{name}: {}", manager.unit.display()));
    let state = match (manager.is_enabled, manager.is_listening, manager.is_running) {
        (_, Some(true), Some(true)) => Finding::ok("unit", "it runs"),
        (_, Some(true), _) => Finding::ok("unit", "it listens; the first connection starts the daemon"),
        (true, Some(false), _) => Finding::problem("unit", "enabled, and it does not listen")
            .advice("`systemctl --user start imgd.socket`; why it stopped: `journalctl --user -u imgd.socket -u imgd`"),
        (true, None, _) if is_systemd => Finding::note(
            "unit",
            "enabled, and no systemd of this user runs here: commands start the daemon",
        ),
        (true, None, _) => Finding::ok("unit", "installed; whether it is loaded says `launchctl list`"),
        (false, _, _) => Finding::note("unit", "installed and not enabled: commands start the daemon")
            .advice("`systemctl --user enable --now imgd.socket` has systemd start it"),
    };
    let mut findings = vec![unit, state];
    if let Some(program) = &manager.program {
        let same = imgd.is_some_and(|imgd| is_same_file(imgd, program));
        findings.push(if !program.is_file() {
            Finding::problem("its program", format!("{} is not there", program.display()))
                .advice("install imgd there, or say where it is with `systemctl --user edit imgd`")
        } else if same || imgd.is_none() {
            Finding::ok("its program", program.display().to_string())
        } else {
            let found = format!("{}: another file than the imgd above", program.display());
            Finding::note("its program", found).advice(
                "after an update, both should be of one build; IMGD_BIN names the one for commands",
            )
        });
    }
    findings
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Mark, *};

    fn marks(change: impl FnOnce(&mut ServiceManager)) -> Vec<Mark> {
        let mut manager = ServiceManager {
            name: "systemd",
            unit: "/u/imgd.service".into(),
            is_enabled: true,
            is_listening: Some(true),
            is_running: Some(false),
            program: Some("/bin/sh".into()),
        };
        change(&mut manager);
        let findings = managed(&manager, Some(Path::new("/bin/sh")));
        findings.iter().map(|finding| finding.mark).collect()
    }

    #[test]
    fn a_unit_that_cannot_start_the_daemon_is_a_problem() {
        assert_eq!(marks(|_| {}), [Mark::Ok, Mark::Ok, Mark::Ok]);
        let stopped = marks(|manager| manager.is_listening = Some(false));
        assert_eq!(stopped[1], Mark::Problem);
        let gone = marks(|manager| manager.program = Some("/nonexistent/imgd".into()));
        assert_eq!(gone[2], Mark::Problem);
        let other = marks(|manager| manager.program = Some("/bin/ls".into()));
        assert_eq!(other[2], Mark::Note);
        let disabled = marks(|manager| (manager.is_enabled, manager.is_listening) = (false, None));
        assert_eq!(disabled[1], Mark::Note);
    }
}
