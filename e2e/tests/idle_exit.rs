//! A daemon that nobody needs ends where a service manager keeps its socket, and no connection is lost by that.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, Permissions},
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, net::UnixListener},
    },
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use imgd_e2e::{Home, processes, program, run::Run};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Signal,
};

/// A service manager in small: it keeps the socket, starts the daemon once somebody connects, and again after its end.
struct Manager {
    listener: UnixListener,
    /// Daemons that were started.
    starts: AtomicUsize,
    is_over: AtomicBool,
}

impl Manager {
    fn new(home: &Home) -> Self {
        let folder = home.socket().parent().unwrap().to_path_buf();
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        let listener = UnixListener::bind(home.socket()).unwrap();
        fs::set_permissions(home.socket(), Permissions::from_mode(0o600)).unwrap();
        Self {
            listener,
            starts: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// Serves until it is over. Returns how each daemon ended.
    fn run(&self, home: &Home, arguments: &[&str]) -> Vec<Option<i32>> {
        let mut ends = Vec::new();
        while !self.is_over.load(Ordering::Relaxed) {
            let mut polled = [PollFd::new(&self.listener, PollFlags::IN)];
            let tenth = Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            };
            if poll(&mut polled, Some(&tenth)).unwrap() == 0 {
                continue;
            }
            self.starts.fetch_add(1, Ordering::Relaxed);
            let mut daemon = self.start(home, arguments);
            ends.push(daemon.wait().unwrap().code());
        }
        ends
    }

    fn start(&self, home: &Home, arguments: &[&str]) -> Child {
        let socket: OwnedFd = self.listener.try_clone().unwrap().into();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(home.path().join("imgd.log"))
            .unwrap();
        // The socket is descriptor 3, and the process's own number is in the environment.
        let passing =
            "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=imgd exec \"$@\"";
        let mut command: Command = home.command("sh");
        command
            .args(["-c", passing, "sh"])
            .arg(program("imgd"))
            .args(arguments)
            .stdin(Stdio::from(socket))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }
}

fn log(home: &Home) -> String {
    fs::read_to_string(home.path().join("imgd.log")).unwrap_or_default()
}

/// How many daemons have ended, as they say themselves.
fn count_ended(home: &Home) -> usize {
    let is_end = |line: &&str| line.ends_with("imgd: ended");
    log(home).lines().filter(is_end).count()
}

#[test]
fn every_connection_is_served_while_daemons_end_for_want_of_use() {
    let home = Home::new();
    let manager = Manager::new(&home);
    thread::scope(|scope| {
        // Short enough that many connections meet a daemon that ends.
        let serving = scope.spawn(|| manager.run(&home, &["--idle-exit", "40ms"]));
        let asking: Vec<_> = (0..3)
            .map(|client| {
                let home = &home;
                scope.spawn(move || {
                    for call in 0..20_u64 {
                        let run = Run::of(home.imgctl().args(["ps", "--json"]));
                        assert_eq!(run.code, 0, "{}\n{}", run.stderr, log(home));
                        thread::sleep(Duration::from_millis((call * 13 + client * 29) % 97));
                    }
                })
            })
            .collect();
        let failed = asking.into_iter().filter_map(|client| client.join().err());
        let failed = failed.count();
        let is_quiet = || count_ended(&home) >= manager.starts.load(Ordering::Relaxed);
        let has_ended = processes::within(Duration::from_secs(60), is_quiet);
        manager.is_over.store(true, Ordering::Relaxed);
        if !has_ended && let Some(pid) = home.daemon_pid() {
            processes::signal(pid, Signal::TERM);
        }
        let ends = serving.join().unwrap();
        assert!(has_ended && failed == 0, "{}", log(&home));
        assert!(ends.len() > 1, "one daemon served all");
        assert!(ends.iter().all(|code| *code == Some(0)), "{ends:?}");
    });
}

#[test]
fn a_paused_job_is_there_again_and_a_daemon_with_its_own_socket_stays() {
    let home = Home::with_config("keep_alive = 0\n");
    let manager = Manager::new(&home);
    thread::scope(|scope| {
        let serving = scope.spawn(|| manager.run(&home, &["--idle-exit", "300ms"]));
        let submit = [
            "generate", "an apple", "--size", "64x64", "--steps", "1000", "--detach",
        ];
        let job = home.run(submit).ok().stdout.trim().to_owned();
        let job = job.as_str();
        home.run(["jobs", "pause", job]).ok();
        let has_ended = || count_ended(&home) > 0;
        let has_ended = processes::within(Duration::from_secs(60), has_ended);
        let shown = home.run(["jobs", "show", job, "--json"]);
        home.run(["jobs", "cancel", job]);
        manager.is_over.store(true, Ordering::Relaxed);
        // without work it ends by itself
        let ends = serving.join().unwrap();
        assert!(has_ended && ends.len() > 1, "{ends:?}\n{}", log(&home));
        assert_eq!(shown.json()[0]["state"], "paused", "{}", shown.stdout);
    });

    let home = Home::new();
    let daemon = imgd_e2e::Daemon::start_in(home, |command| {
        command.args(["--idle-exit", "50ms"]);
    });
    thread::sleep(Duration::from_millis(500));
    assert!(processes::is_alive(daemon.pid()), "{}", daemon.log());
}
