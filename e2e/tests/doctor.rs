//! `imgctl doctor` on a machine that is well, and on machines that are not.

use std::{
    fs::{self, Permissions},
    io::Read as _,
    os::unix::{
        fs::{PermissionsExt as _, chown, symlink},
        net::UnixListener,
    },
    thread,
    time::{Duration, Instant},
};

use imgd_e2e::{Daemon, Home, processes, repository, run::Run};
use rustix::process::Signal;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(15);

/// The findings of a run, each with `group`, `name`, `mark`, `found` and `advice`.
struct Sheet {
    run: Run,
    findings: Vec<Value>,
}

impl Sheet {
    fn of(home: &Home, more: &[&str]) -> Self {
        let arguments = ["doctor", "--json"].into_iter().chain(more.iter().copied());
        let run = home.run(arguments);
        let lines = run.json();
        let findings = lines.into_iter().filter(|line| line["event"] == "finding");
        Self {
            findings: findings.collect(),
            run,
        }
    }

    /// The only finding of this name in the group.
    fn one(&self, group: &str, name: &str) -> &Value {
        let found: Vec<_> = self
            .findings
            .iter()
            .filter(|finding| finding["group"] == group && finding["name"] == name)
            .collect();
        assert_eq!(found.len(), 1, "{group}, {name}: {}", self.run.stdout);
        found[0]
    }

    fn problems(&self) -> Vec<String> {
        let problems = self
            .findings
            .iter()
            .filter(|finding| finding["mark"] == "problem");
        problems
            .map(|finding| {
                format!(
                    "{}: {}: {}",
                    finding["group"], finding["name"], finding["found"]
                )
            })
            .collect()
    }

    /// The finding is a problem that says this and what to do, and the exit status tells.
    fn has_problem(&self, group: &str, name: &str, says: &str) {
        let finding = self.one(group, name);
        let found = finding["found"].as_str().expect("a text");
        assert_eq!(finding["mark"], "problem", "{finding}");
        assert!(found.contains(says), "{says} in {found}");
        assert!(finding["advice"].is_string(), "{finding}");
        assert_eq!(self.run.code, 1, "{}", self.run.stdout);
    }
}

#[test]
fn nothing_is_wrong_with_a_daemon_that_draws() {
    let daemon = Daemon::start();
    let sheet = Sheet::of(daemon.home(), &["--draw"]);
    assert_eq!(sheet.problems(), [""; 0], "{}", sheet.run.stdout);
    assert_eq!(sheet.run.code, 0, "{}", sheet.run.stderr);
    let answer = sheet.one("daemon", "answer")["found"].as_str().unwrap();
    assert!(
        answer.contains(&format!("process {}", daemon.pid())),
        "{answer}"
    );
    assert_eq!(sheet.one("daemon", "build")["mark"], "ok");
    assert_eq!(sheet.one("sandbox", "private socket")["mark"], "ok");
    let drawn = sheet.one("picture", "drawn")["found"].as_str().unwrap();
    assert!(
        drawn.contains("starter") && drawn.contains("128x128"),
        "{drawn}"
    );
    // nothing of it is kept
    assert_eq!(daemon.run(["history", "--json"]).ok().stdout, "");
    // and for people
    let run = daemon.run(["doctor"]).ok();
    for words in ["Programs\n", "Sandbox\n", "  ok      imgd", " 0 problems, "] {
        assert!(run.stdout.contains(words), "{words} in {}", run.stdout);
    }
    assert!(!run.stdout.contains('\x1b'), "{}", run.stdout);
    let colours = Run::of(daemon.imgctl().env("CLICOLOR_FORCE", "1").arg("doctor"));
    assert!(
        colours.stdout.contains("\x1b[1mPrograms\x1b[0m"),
        "{}",
        colours.stdout
    );
}

#[test]
fn without_a_daemon_it_starts_none_unless_asked() {
    let home = Home::new();
    let sheet = Sheet::of(&home, &[]);
    assert_eq!(sheet.problems(), [""; 0], "{}", sheet.run.stdout);
    assert_eq!((sheet.run.code, home.daemon_pid()), (0, None));
    let answer = sheet.one("daemon", "answer");
    assert_eq!(answer["mark"], "note");
    assert!(
        answer["advice"]
            .as_str()
            .unwrap()
            .contains("imgctl doctor --start")
    );

    let sheet = Sheet::of(&home, &["--start"]);
    assert_eq!(sheet.run.code, 0, "{}", sheet.run.stdout);
    assert!(home.daemon_pid().is_some());
    assert_eq!(sheet.one("models", "default")["mark"], "ok");
}

#[test]
fn loosened_permissions_are_found() {
    let daemon = Daemon::start();
    // it listens before it has its folders, and answers when it has them
    daemon.run(["status"]).ok();
    let loosen = |path: &std::path::Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let folder = daemon.socket().parent().unwrap().to_owned();
    loosen(&folder, 0o755);
    loosen(&daemon.home().data(), 0o750);
    let sheet = Sheet::of(daemon.home(), &[]);
    sheet.has_problem("socket", "its folder", "0755");
    sheet.has_problem("folders", "data", "0750");
    // the daemon sees it as well
    sheet.has_problem("sandbox", "private socket", "0755");
    loosen(&folder, 0o700);
    loosen(&daemon.home().data(), 0o700);
    assert_eq!(Sheet::of(daemon.home(), &[]).problems(), [""; 0]);
}

#[test]
fn the_socket_of_a_killed_daemon_is_told_and_replaced() {
    let mut daemon = Daemon::start();
    daemon.kill();
    let sheet = Sheet::of(daemon.home(), &[]);
    assert_eq!(sheet.run.code, 0, "{}", sheet.run.stdout);
    let socket = sheet.one("socket", "socket");
    assert_eq!(socket["mark"], "note");
    assert!(socket["found"].as_str().unwrap().contains("nobody listens"));
    let again = Sheet::of(daemon.home(), &["--start"]);
    assert_eq!(
        again.one("daemon", "answer")["mark"],
        "ok",
        "{}",
        again.run.stdout
    );
}

#[test]
fn a_daemon_that_hangs_is_told_in_time() {
    let daemon = Daemon::start();
    processes::signal(daemon.pid(), Signal::STOP);
    let sheet = Sheet::of(daemon.home(), &[]);
    processes::signal(daemon.pid(), Signal::CONT);
    sheet.has_problem("daemon", "answer", "does not answer");
    let advice = sheet.one("daemon", "answer")["advice"].as_str().unwrap();
    assert!(
        advice.contains(&format!("kill {}", daemon.pid())),
        "{advice}"
    );
}

#[test]
fn something_else_behind_the_socket_is_told_in_time() {
    let home = Home::new();
    // not in the daemon's place: whoever listens there is ended with the home
    let folder = home.path().join("run/other");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    let socket = folder.join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, Permissions::from_mode(0o600)).unwrap();
    // it takes what comes and never says a word
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                std::io::copy(&mut stream.unwrap().take(1 << 20), &mut std::io::sink())
            });
        }
    });
    let began = Instant::now();
    let sheet = Sheet::of(&home, &["--socket", socket.to_str().unwrap()]);
    sheet.has_problem("daemon", "answer", "does not answer");
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn the_socket_of_somebody_else_is_not_talked_to() {
    let daemon = Daemon::start();
    if chown(daemon.socket(), Some(65534), None).is_err() {
        println!("skipped: only the superuser gives files away");
        return;
    }
    let sheet = Sheet::of(daemon.home(), &[]);
    sheet.has_problem("socket", "socket", "belongs to user 65534");
    sheet.has_problem("daemon", "answer", "not asked");
    // so that the daemon knows its own again
    chown(
        daemon.socket(),
        Some(rustix::process::getuid().as_raw()),
        None,
    )
    .unwrap();
}

#[test]
fn a_broken_configuration_is_found_without_a_start() {
    let home = Home::with_config("keep_alive = \"soon\"\n");
    let sheet = Sheet::of(&home, &[]);
    sheet.has_problem("configuration", "settings", "keep_alive");
    assert_eq!(home.daemon_pid(), None);
    let started = Sheet::of(&home, &["--start"]);
    started.has_problem("daemon", "answer", "keep_alive");
    assert_eq!(home.daemon_pid(), None);
}

#[test]
fn a_broken_model_is_found() {
    let home = Home::new();
    let broken = home.path().join("broken");
    copy(&repository().join("models/starter"), &broken);
    fs::write(broken.join("unet/config.json"), "{").unwrap();
    let config = format!(
        "[models]\nbroken = {:?}\nwhole = {:?}\n",
        broken,
        repository().join("models/starter")
    );
    let folder = home.path().join("home/.config/imgd");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.toml"), config).unwrap();
    let daemon = Daemon::start_in(home, |_| {});
    let sheet = Sheet::of(daemon.home(), &[]);
    sheet.has_problem("models", "broken", "unet/config.json");
    assert_eq!(sheet.problems().len(), 1, "{:?}", sheet.problems());
    let all = sheet.one("models", "in all")["found"].as_str().unwrap();
    assert!(all.starts_with("3 models, 2 in order"), "{all}");
}

#[test]
fn programs_that_are_not_there_or_not_imgd_are_told() {
    let home = Home::new();
    let look = |imgd: &str| {
        let mut command = home.imgctl();
        command.env("IMGD_BIN", imgd).args(["doctor"]);
        Run::of(&mut command)
    };
    let missing = look("/nonexistent/imgd");
    assert_eq!(missing.code, 1, "{}", missing.stdout);
    assert!(
        missing.stdout.contains("/nonexistent/imgd"),
        "{}",
        missing.stdout
    );
    let wrong = look("/bin/false");
    assert_eq!(wrong.code, 1, "{}", wrong.stdout);
    assert!(
        wrong.stdout.contains("/bin/false does not say its version"),
        "{}",
        wrong.stdout
    );
}

#[test]
fn another_daemon_and_an_enabled_unit_are_told() {
    let daemon = Daemon::start();
    let home = Home::new();
    let units = home.path().join("home/.config/systemd/user");
    fs::create_dir_all(units.join("sockets.target.wants")).unwrap();
    for unit in ["imgd.service", "imgd.socket"] {
        fs::copy(repository().join("systemd").join(unit), units.join(unit)).unwrap();
    }
    symlink(
        "../imgd.socket",
        units.join("sockets.target.wants/imgd.socket"),
    )
    .unwrap();
    let sheet = Sheet::of(&home, &[]);
    assert_eq!(
        sheet.one("start", "unit")["mark"],
        "note",
        "{}",
        sheet.run.stdout
    );
    // the unit starts a program that is not installed in this home
    sheet.has_problem("start", "its program", ".local/bin/imgd");
    let others = sheet
        .findings
        .iter()
        .filter(|finding| finding["group"] == "leftovers");
    let told = others
        .filter_map(|finding| finding["found"].as_str())
        .any(|found| found.contains(&format!("process {} ", daemon.pid())));
    assert!(told, "{}", sheet.run.stdout);
    assert!(processes::within(SOON, || daemon
        .home()
        .daemon_pid()
        .is_some()));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file");
        }
    }
}
