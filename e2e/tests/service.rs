//! `imgctl service` with a `systemctl` that only notes what it is asked and starts the daemon. A real one: `systemd/test.sh`.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use imgd_e2e::{Home, processes, program, run::Run};

/// Notes its arguments; a unit is active once it was enabled. The socket's daemon is started at once.
const SYSTEMCTL: &str = r#"#!/bin/sh
shift
echo "$*" >> "$HOME/systemctl.log"
case "$1" in
is-active) [ -e "$HOME/active-$3" ] ;;
stop) rm -f "$HOME"/active-* && imgctl shutdown ;;
enable)
	touch "$HOME/active-$3"
	[ "$3" = imgd.socket ] && [ ! -S "$XDG_RUNTIME_DIR/imgd/imgd.sock" ] || exit 0
	NOTIFY_SOCKET="$HOME/none" setsid imgd </dev/null >/dev/null 2>"$HOME/imgd.log" &
	until [ -S "$XDG_RUNTIME_DIR/imgd/imgd.sock" ]; do sleep 0.05; done
	;;
esac
"#;

struct Machine {
    home: Home,
}

impl Machine {
    fn new() -> Self {
        let home = Home::new();
        let bin = home.work().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("systemctl"), SYSTEMCTL).unwrap();
        fs::set_permissions(bin.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["imgd", "imgctl"] {
            std::os::unix::fs::symlink(program(name), bin.join(name)).unwrap();
        }
        let manager = home.path().join("run/systemd");
        fs::create_dir(&manager).unwrap();
        fs::write(manager.join("private"), "").unwrap();
        Self { home }
    }

    fn imgctl(&self, arguments: &[&str]) -> Run {
        let path = format!("{}:/usr/bin:/bin", self.home.work().join("bin").display());
        let mut command: Command = self.home.imgctl();
        Run::of(command.env("PATH", path).args(arguments))
    }

    fn unit(&self, name: &str) -> PathBuf {
        self.home
            .path()
            .join("home/.config/systemd/user")
            .join(name)
    }

    /// What systemctl was asked since the last time, but questions.
    fn asked(&self) -> Vec<String> {
        let log = self.home.path().join("home/systemctl.log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        drop(fs::remove_file(log));
        let is_call = |line: &&str| !line.starts_with("is-active") && !line.starts_with("show");
        text.lines().filter(is_call).map(str::to_owned).collect()
    }
}

fn append(path: &Path, text: &str) {
    let old = fs::read_to_string(path).unwrap();
    fs::write(path, old + text).unwrap();
}

#[test]
fn installing_moves_a_daemon_and_keeps_what_a_person_changed() {
    let machine = Machine::new();
    machine.imgctl(&["load", "starter"]).ok();
    let own = machine.home.daemon_pid().unwrap();

    let planned = machine.imgctl(&["service", "install", "--dry-run"]);
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    assert!(
        planned
            .stdout
            .contains("would run systemctl --user enable --now imgd.socket")
    );
    assert!(!machine.unit("imgd.socket").exists() && machine.asked().is_empty());

    machine.imgctl(&["service", "install"]).ok();
    assert!(processes::gone_within(own, Duration::from_secs(5)));
    assert_eq!(
        machine.asked(),
        ["daemon-reload", "enable --now imgd.socket"]
    );
    let service = fs::read_to_string(machine.unit("imgd.service")).unwrap();
    let imgd = machine.home.work().join("bin/imgd");
    assert!(
        service.contains(&format!("ExecStart={}\n", imgd.display())),
        "{service}"
    );
    let status = machine.imgctl(&["status", "--json"]);
    assert_eq!(status.json()[0]["started_by"], "service_manager");

    let again = machine.imgctl(&["service", "install"]);
    assert_eq!(
        again.stdout.matches("unchanged").count(),
        2,
        "{}",
        again.stdout
    );
    assert_eq!(
        machine.asked(),
        ["daemon-reload", "enable --now imgd.socket"]
    );

    append(&machine.unit("imgd.service"), "# mine\n");
    let refused = machine.imgctl(&["service", "install"]);
    assert_eq!(refused.code, 73, "{}", refused.stdout);
    assert!(refused.stderr.contains("imgd.service") && machine.asked().is_empty());
    machine.imgctl(&["service", "install", "--force"]).ok();
    let old = fs::read_to_string(machine.unit("imgd.service.old")).unwrap();
    assert!(old.ends_with("# mine\n"));
    // new files of what runs: it is stopped, and started with them
    let asked = machine.asked();
    assert_eq!(asked[1], "stop imgd.service imgd.socket", "{asked:?}");

    fs::write(machine.unit("other.service"), "").unwrap();
    append(&machine.unit("imgd.socket"), "# mine\n");
    let removed = machine.imgctl(&["service", "uninstall"]);
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    assert!(
        machine
            .asked()
            .contains(&"disable --now imgd.socket".to_owned())
    );
    for (name, stays) in [
        ("imgd.service", false),
        ("imgd.service.old", true),
        ("imgd.socket", true),
        ("other.service", true),
    ] {
        assert_eq!(machine.unit(name).exists(), stays, "{name}");
    }
    machine.imgctl(&["shutdown"]).ok();
}

#[test]
fn a_batch_has_units_that_systemd_accepts() {
    let machine = Machine::new();
    let without = machine.imgctl(&["service", "install", "--batch", "night"]);
    assert_eq!(without.code, 2);
    let prompts = machine.home.path().join("home/.config/imgd/batch");
    fs::create_dir_all(&prompts).unwrap();
    fs::write(prompts.join("night.jsonl"), "{\"prompt\": \"a castle\"}\n").unwrap();
    let install = [
        "service",
        "install",
        "--batch",
        "night",
        "--at",
        "sat 22:30",
        "--json",
    ];
    let run = machine.imgctl(&install);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        machine
            .asked()
            .contains(&"enable --now imgd-batch@night.timer".to_owned())
    );
    assert!(
        machine
            .home
            .path()
            .join("home/Pictures/imgd/night")
            .is_dir()
    );
    let written: Vec<PathBuf> = run
        .json()
        .iter()
        .filter_map(|object| Some(PathBuf::from(object["path"].as_str()?)))
        .collect();
    assert_eq!(written.len(), 6, "{written:?}");
    let has_analyze = Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_ok();
    if has_analyze {
        let folder = machine.unit("");
        let units = ["imgd.socket", "imgd.service"].map(|name| folder.join(name));
        let instances =
            ["service", "timer"].map(|kind| folder.join(format!("imgd-batch@night.{kind}")));
        for kind in ["service", "timer"] {
            let (template, instance) = (
                format!("imgd-batch@.{kind}"),
                format!("imgd-batch@night.{kind}"),
            );
            std::os::unix::fs::symlink(folder.join(template), folder.join(instance)).unwrap();
        }
        let mut verify = machine.home.command("systemd-analyze");
        let run = Run::of(
            verify
                .args(["verify", "--user"])
                .args(units)
                .args(instances),
        );
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    }
    machine.imgctl(&["shutdown"]).ok();
}

#[test]
fn without_a_user_manager_that_is_said_and_nothing_is_written() {
    let home = Home::new();
    let run = home.run(["service", "install"]);
    assert_eq!(run.code, 69, "{}", run.stdout);
    assert!(run.stderr.contains("by itself"), "{}", run.stderr);
    assert!(!home.path().join("home/.config/systemd").exists());
    let status = home.run(["service", "status", "--json"]);
    assert_eq!(status.json()[0]["is_running"], false, "{}", status.stdout);
}
