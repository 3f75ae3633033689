//! What the daemon's processes have given up, checked from outside, and that everything works without it.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use imgd_e2e::{
    Daemon, Home,
    line::{self, Line},
    processes, program,
};
use imgd_proto::v1::{GenerateRequest, JobState, SubmitJobRequest};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(60);

/// Draws a small picture into `file`.
fn draw(daemon: &Daemon, file: &str) {
    let small = ["--size", "128x128", "--steps", "2", "--seed", "7"];
    let request = [&["generate", "a red apple", "-o", file][..], &small].concat();
    daemon.run(request).ok();
    assert!(daemon.work().join(file).is_file());
}

/// Whether a layer is in force, and its description, by the daemon's own word.
fn layer(daemon: &Daemon, name: &str) -> (bool, String) {
    let status = daemon.run(["status", "--json"]).ok().json();
    let layers = status[0]["sandbox"].as_array().unwrap().clone();
    let layer = layers.into_iter().find(|layer| layer["name"] == name);
    let layer = layer.unwrap();
    (
        layer["in_force"].as_bool().unwrap(),
        layer["description"].as_str().unwrap().to_owned(),
    )
}

/// Whether this kernel has both layers; says so when it has not.
fn has_layers(daemon: &Daemon) -> bool {
    ["seccomp", "landlock"].into_iter().all(|name| {
        let (in_force, description) = layer(daemon, name);
        if !in_force {
            // one that has them and does not hold them says something else
            assert!(description.contains("kernel"), "{name}: {description}");
            println!("skipped: {description}");
        }
        in_force
    })
}

fn kill_worker(daemon: &Daemon) -> u32 {
    let worker = daemon.worker().expect("a worker runs");
    processes::signal(worker, Signal::KILL);
    // a request that is already on its way to the worker would fail with it
    let noticed = || daemon.run(["ps", "--json"]).stdout.is_empty();
    assert!(processes::within(SOON, noticed));
    worker
}

#[test]
fn all_three_processes_are_filtered_for_good_and_can_gain_no_right() {
    let daemon = Daemon::start();
    draw(&daemon, "a.png");
    if !has_layers(&daemon) {
        return;
    }
    let family = processes::family(daemon.pid());
    assert_eq!(family.len(), 3, "supervisor, spawner, worker: {family:?}");
    for pid in family {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_owned())
        };
        assert_eq!(field("Seccomp:").as_deref(), Some("2"), "{pid}: {status}");
        assert_eq!(
            field("NoNewPrivs:").as_deref(),
            Some("1"),
            "{pid}: {status}"
        );
        for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            assert!(status.contains("Seccomp:\t2"), "{pid}: {status}");
        }
    }
    // and the comparison can fail
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert!(!own.contains("Seccomp:\t2") || !own.contains("NoNewPrivs:\t1"));
}

#[test]
fn a_worker_killed_under_the_full_sandbox_is_replaced_and_draws_again() {
    let daemon = Daemon::start();
    draw(&daemon, "first.png");
    if !has_layers(&daemon) {
        return;
    }
    let killed = kill_worker(&daemon);
    let (in_force, description) = layer(&daemon, "seccomp");
    assert!(
        in_force && description.contains("no worker"),
        "{description}"
    );
    draw(&daemon, "second.png");
    assert_ne!(daemon.worker(), Some(killed));
    let read = |name: &str| fs::read(daemon.work().join(name)).unwrap();
    assert!(read("first.png") == read("second.png"));
    let (in_force, description) = layer(&daemon, "seccomp");
    assert!(
        in_force && !description.contains("no worker"),
        "{description}"
    );
    assert!(layer(&daemon, "landlock").0);
}

#[test]
fn a_worker_starts_after_the_program_was_replaced_on_disk() {
    let home = Home::new();
    let copy = home.path().join("imgd");
    // by a program of its own: a child that another test starts meanwhile would hold the file open for writing
    let mut cp = home.command("cp");
    assert!(
        cp.arg(program("imgd"))
            .arg(&copy)
            .status()
            .unwrap()
            .success()
    );
    let daemon = Daemon::start_by(home, |home| home.command(home.path().join("imgd")));
    draw(&daemon, "first.png");
    // as a package manager does it
    let new = daemon.home().path().join("imgd.new");
    fs::write(&new, "not a program").unwrap();
    fs::rename(&new, &copy).unwrap();
    kill_worker(&daemon);
    draw(&daemon, "second.png");
}

#[test]
fn a_library_that_lies_elsewhere_is_written() {
    let home = Home::new();
    let elsewhere = home.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::create_dir_all(home.data()).unwrap();
    symlink(&elsewhere, home.data().join("library")).unwrap();
    let daemon = Daemon::start_in(home, |_| {});
    draw(&daemon, "a.png");
    let shelves = fs::read_dir(&elsewhere).unwrap().count();
    assert!(shelves > 0, "{}", daemon.log());
}

/// A call as strace writes it, without the process that made it.
#[derive(Debug, PartialEq, Eq)]
enum Socket {
    /// Between programs of this machine.
    Unix,
    /// What the daemon tries to find out whether its sandbox holds: a protocol that nothing speaks, refused.
    Probe,
    /// Anything else.
    Other,
}

/// What a line of strace's says of sockets, if it does.
fn socket(line: &str) -> Option<Socket> {
    let made = ["socket(", "socketpair("];
    let arguments = made.iter().find_map(|call| line.strip_prefix(call));
    if let Some(arguments) = arguments {
        let is_probe = line.contains("0xfd") && line.contains("= -1 EPERM");
        return Some(match arguments.split(',').next() {
            Some("AF_UNIX") => Socket::Unix,
            Some("AF_INET" | "AF_INET6" | "AF_NETLINK") if is_probe => Socket::Probe,
            _ => Socket::Other,
        });
    }
    // one that was made before, or came from elsewhere
    let (_, family) = line.split_once("sa_family=")?;
    Some(if family.starts_with("AF_UNIX") {
        Socket::Unix
    } else {
        Socket::Other
    })
}

#[test]
fn lines_of_strace_are_told_apart() {
    for (line, expected) in [
        (
            "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 3",
            Some(Socket::Unix),
        ),
        (
            "socketpair(AF_UNIX, SOCK_STREAM, 0, [3, 4]) = 0",
            Some(Socket::Unix),
        ),
        (
            "socket(AF_INET, SOCK_DGRAM, 0xfd /* IPPROTO_??? */) = -1 EPERM (Operation not permitted)",
            Some(Socket::Probe),
        ),
        (
            "socket(AF_INET, SOCK_DGRAM, 0xfd /* IPPROTO_??? */) = -1 EPROTONOSUPPORT (…)",
            Some(Socket::Other),
        ),
        (
            "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 5",
            Some(Socket::Other),
        ),
        (
            "socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = -1 EPERM (Operation not permitted)",
            Some(Socket::Other),
        ),
        ("socket(AF_VSOCK, SOCK_STREAM, 0) = 5", Some(Socket::Other)),
        (
            "connect(3, {sa_family=AF_INET, sin_port=htons(80)}, 16) = 0",
            Some(Socket::Other),
        ),
        (
            "connect(3, {sa_family=AF_UNIX, sun_path=\"/run/x\"}, 110) = 0",
            Some(Socket::Unix),
        ),
        ("shutdown(3, SHUT_WR) = 0", None),
    ] {
        assert_eq!(socket(line), expected, "{line}");
    }
}

/// What the processes of a daemon did, a file each.
fn traces(folder: &Path) -> BTreeMap<PathBuf, Vec<String>> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            (file, text.lines().map(str::to_owned).collect())
        })
        .collect()
}

/// THREATS, row 4: what is not even tried cannot depend on a filter.
#[test]
fn no_process_tries_to_make_a_socket_for_a_network() {
    let home = Home::new();
    let folder = home.path().join("traces");
    fs::create_dir(&folder).unwrap();
    let output = folder.join("trace");
    let trace = move |home: &Home| {
        let mut command = home.command("strace");
        // the tracer steps aside: the process that a test ends is the daemon
        command
            .args(["-D", "-ff", "-qq", "-s", "256", "-o"])
            .arg(&output);
        command.args(["-e", "trace=network,execve,execveat,io_uring_setup", "--"]);
        command
    };
    let probe = trace(&home).arg("true").stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        println!("skipped: no strace here, or it may trace nothing");
        return;
    }
    let mut daemon = Daemon::start_by(home, move |home| {
        let mut command = trace(home);
        command.arg(program("imgd"));
        command
    });
    work(&daemon);
    kill_worker(&daemon);
    draw(&daemon, "after.png");
    // once by force and once as asked; it goes on both times
    daemon.kill();
    daemon.start_again();
    daemon.wait_until_it_listens();
    draw(&daemon, "again.png");
    assert!(has_layers(&daemon));
    daemon.run(["shutdown"]).ok();
    daemon.exit_code_within(SOON).unwrap();

    let traces = traces(&folder);
    let mut probes = BTreeSet::new();
    for (file, lines) in &traces {
        for line in lines {
            match socket(line) {
                Some(Socket::Other) => panic!("{}: {line}", file.display()),
                Some(Socket::Probe) => drop(probes.insert(file)),
                Some(Socket::Unix) | None => {}
            }
            assert!(!line.starts_with("io_uring_setup"), "{line}");
            // the daemon, workers, and attempts that fail; paths are shown to root alone, since the processes' memory is
            // closed to their own user
            let is_shown = line.starts_with("execve") && line.contains('"');
            let own = ["/imgd\"", "\"/proc/self/exe\"", "execve(\"\"", "/true\""];
            assert!(
                !is_shown || own.iter().any(|own| line.contains(own)),
                "{line}"
            );
        }
    }
    // two daemons of two lasting processes each, and three workers: all of them were looked at
    assert!(probes.len() >= 7, "{} of {}", probes.len(), traces.len());
}

/// A bit of everything that takes a daemon: pictures from words and from pictures, a batch, a cancelled job.
fn work(daemon: &Daemon) {
    draw(daemon, "a.png");
    let begin = ["--init-image", "a.png", "--steps", "4", "-o", "b.png"];
    daemon
        .run([&["generate", "a green apple"][..], &begin].concat())
        .ok();
    fs::create_dir(daemon.work().join("fruit")).unwrap();
    fs::write(daemon.work().join("lines.txt"), "a pear\na plum\n").unwrap();
    daemon
        .run(["batch", "lines.txt", "--steps", "2", "-o", "fruit/"])
        .ok();
    line::runtime().block_on(async {
        let line = Line::to(daemon.socket());
        let request = SubmitJobRequest {
            generate: Some(GenerateRequest {
                prompt: "a quince".into(),
                num_inference_steps: Some(1000),
                ..GenerateRequest::default()
            }),
            ..SubmitJobRequest::default()
        };
        let job = line.submit(request).await.unwrap().job.unwrap();
        let begun = line.job_when(&job.id, SOON, |job| job.started.is_some());
        begun.await.unwrap();
        assert_eq!(daemon.run(["jobs", "cancel", &job.id]).code, 0);
        let ended = line.job_when(&job.id, SOON, |job| job.state() == JobState::Cancelled);
        ended.await.unwrap();
    });
}

/// `imgctl` starts the daemon from wherever it is; a folder that goes away is no business of the daemon's.
#[test]
fn a_daemon_started_from_a_folder_that_is_gone_works() {
    let home = Home::new();
    let gone = home.path().join("gone");
    fs::create_dir(&gone).unwrap();
    let script = "rmdir \"$PWD\" && exec \"$@\"";
    let picture = home.work().join("a.png");
    let mut command = home.command("sh");
    command
        .current_dir(&gone)
        .args(["-c", script, "sh"])
        .arg(program("imgctl"))
        .env("IMGD_BIN", program("imgd"))
        .args(["generate", "a red apple", "--steps", "1", "-o"])
        .arg(&picture);
    let run = imgd_e2e::run::Run::of(&mut command);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(picture.is_file());
    let mut status: Command = home.imgctl();
    let status = imgd_e2e::run::Run::of(status.args(["status"])).ok();
    assert!(status.stdout.contains("landlock"), "{}", status.stdout);
}

/// THREATS, row 5: what the system does not give is told, and nothing else changes. strace plays such a system.
#[test]
fn a_layer_that_the_system_does_not_give_is_told_and_pictures_are_drawn() {
    for (missing, there, call, error, because) in [
        (
            "landlock",
            "seccomp",
            "landlock_create_ruleset",
            "EOPNOTSUPP",
            "not enabled",
        ),
        (
            "landlock",
            "seccomp",
            "landlock_create_ruleset",
            "ENOSYS",
            "no Landlock",
        ),
        (
            "landlock",
            "seccomp",
            "landlock_restrict_self",
            "EPERM",
            "does not allow",
        ),
        ("seccomp", "landlock", "seccomp", "EINVAL", "no filters"),
        ("seccomp", "landlock", "seccomp", "EPERM", "does not allow"),
    ] {
        let home = Home::new();
        let inject = format!("inject={call}:error={error}");
        let strace = move |home: &Home| {
            let mut command = home.command("strace");
            command.args(["-D", "-f", "-qqq", "-o", "/dev/null", "-e", &inject, "--"]);
            command
        };
        let probe = strace(&home).arg("true").stderr(Stdio::null()).status();
        if !probe.is_ok_and(|status| status.success()) {
            println!("skipped: no strace here, or it may trace nothing");
            return;
        }
        let daemon = Daemon::start_by(home, move |home| {
            let mut command = strace(home);
            command.arg(program("imgd"));
            command
        });
        draw(&daemon, "a.png");
        let (in_force, description) = layer(&daemon, missing);
        assert!(
            !in_force && description.contains(because),
            "{call} {error}: {description}"
        );
        for process in ["supervisor", "spawner", "worker"] {
            assert!(
                description.contains(process),
                "{call} {error}: {description}"
            );
        }
        let (in_force, description) = layer(&daemon, there);
        // unless this kernel lacks it as well
        assert!(in_force || description.contains("kernel"), "{description}");
    }
}
