//! How the daemon comes and goes, seen by a user.

use std::{
    fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use imgd_e2e::{Daemon, Home, processes, program};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(15);

#[test]
fn shutdown_ends_the_daemon_and_removes_its_socket() {
    let home = Home::new();
    home.run(["load", "starter"]).ok();
    let pid = home.daemon_pid().unwrap();
    let family = processes::family(pid);
    home.run(["shutdown"]).ok();
    for pid in family {
        assert!(processes::gone_within(pid, SOON), "{pid} is still there");
    }
    assert!(!home.socket().exists());
}

#[test]
fn status_and_shutdown_start_no_daemon() {
    let home = Home::new();
    assert_eq!(home.run(["status"]).code, 69);
    home.run(["shutdown"]);
    assert_eq!(home.daemon_pid(), None);
}

#[test]
fn the_socket_of_a_killed_daemon_is_replaced() {
    let home = Home::new();
    home.run(["load", "starter"]).ok();
    let first = home.daemon_pid().unwrap();
    processes::signal(first, Signal::KILL);
    assert!(processes::gone_within(first, SOON));
    assert!(home.socket().exists(), "a killed daemon leaves its socket");
    home.run(["load", "starter"]).ok();
    assert_ne!(home.daemon_pid(), Some(first));
}

#[test]
fn many_first_commands_start_one_daemon() {
    let home = Home::new();
    let children: Vec<_> = (0..12)
        .map(|_| {
            let mut command = home.imgctl();
            command.args(["load", "starter"]).stdin(Stdio::null());
            command
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    // one process serves, and no other daemon of this home is left
    let daemon = home.daemon_pid().unwrap();
    let here = home.path().to_str().unwrap().to_owned();
    let others: Vec<u32> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command);
            command.contains(&here) && command.contains("imgd\0")
        })
        .filter(|pid| !processes::family(daemon).contains(pid))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_worker_that_dies_is_replaced() {
    let daemon = Daemon::start();
    daemon.run(["load", "starter"]).ok();
    let worker = worker(&daemon);
    processes::signal(worker, Signal::KILL);
    // a request that is already on its way to the worker would fail with it
    let noticed = || daemon.run(["ps", "--json"]).stdout.is_empty();
    assert!(processes::within(SOON, noticed));
    daemon
        .run(["generate", "a red apple", "--steps", "1", "-o", "after.png"])
        .ok();
    assert_ne!(self::worker(&daemon), worker);
}

#[test]
fn the_request_of_a_worker_that_is_killed_goes_on_and_gives_the_same_picture() {
    let daemon = Daemon::start();
    let request = ["generate", "a red apple", "--steps", "20", "--seed", "7"];
    daemon
        .run([&request[..], &["-o", "first.png"]].concat())
        .ok();
    let mut command = daemon.imgctl();
    command.args(request).args(["-o", "second.png"]);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(700));
    processes::signal(worker(&daemon), Signal::KILL);
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    let read = |name: &str| fs::read(daemon.work().join(name)).unwrap();
    assert!(read("first.png") == read("second.png"), "{message}");
}

fn worker(daemon: &Daemon) -> u32 {
    daemon.worker().expect("a worker runs")
}

#[test]
fn an_interrupted_client_stops_the_work_and_leaves_no_file() {
    let daemon = Daemon::start();
    daemon.run(["load", "starter"]).ok();
    let mut command = daemon.imgctl();
    command.args([
        "generate",
        "a red apple",
        "--steps",
        "1000",
        "-o",
        "never.png",
    ]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(1500));
    processes::signal(child.id(), Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(daemon.work()).unwrap().count(), 0);
    // a thousand steps would take minutes; the next picture waits for one of them at most
    let start = Instant::now();
    daemon
        .run(["generate", "a red apple", "--steps", "1", "-o", "after.png"])
        .ok();
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn sigterm_lets_the_running_picture_finish() {
    let mut daemon = Daemon::start();
    daemon.run(["load", "starter"]).ok();
    let mut command = daemon.imgctl();
    command.args(["generate", "a red apple", "--steps", "8", "-o", "last.png"]);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(600));
    processes::signal(daemon.pid(), Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(daemon.work().join("last.png").is_file());
    assert_eq!(daemon.exit_code_within(SOON), Some(0), "{}", daemon.log());
}

#[test]
fn an_idle_daemon_of_another_build_is_replaced() {
    let home = Home::new();
    // a copy is another build: its file is younger
    let old = home.path().join("imgd");
    fs::copy(program("imgd"), &old).unwrap();
    let mut command = home.imgctl();
    command.env("IMGD_BIN", &old).args(["load", "starter"]);
    imgd_e2e::run::Run::of(&mut command).ok();
    let first = home.daemon_pid().unwrap();
    home.run(["load", "starter"]).ok();
    let second = home.daemon_pid().unwrap();
    assert_ne!(first, second);
    let program_of = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert_eq!(program_of(second), program("imgd").canonicalize().unwrap());
}

#[test]
fn status_names_the_daemon_and_its_protection() {
    let daemon = Daemon::start();
    let status = daemon.run(["status", "--json"]).ok();
    let status = &status.json()[0];
    assert_eq!(status["pid"], daemon.pid());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        status["protocol"]
            .as_u64()
            .is_some_and(|protocol| protocol >= 1)
    );
    assert!(
        status["sandbox"]
            .as_array()
            .is_some_and(|layers| layers.len() >= 2),
        "{status}"
    );
}
