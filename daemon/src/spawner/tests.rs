//! The spawner as a thread (the test program has threads and must not fork), and once as the process that it is.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use super::*;
use crate::{
    sandbox::Confined,
    worker::{
        Worker,
        tests::{WITH_ENGINE, ends, model, no_progress, runs},
    },
};

/// A spawner in a thread, whose workers are this test program.
pub(crate) fn spawner() -> Spawner {
    spawner_of(program())
}

/// One whose workers have the engine and no model inside.
pub(crate) fn engine_spawner() -> Spawner {
    let mut program = program();
    for (name, value) in &mut program.environment {
        if name == "IMGD_TEST_WORKER" {
            *value = WITH_ENGINE.into();
        }
    }
    spawner_of(program)
}

fn spawner_of(program: Program) -> Spawner {
    let (ours, theirs) = UnixStream::pair().unwrap();
    thread::spawn(move || process::serve(theirs, &program, &Confined::not()));
    Spawner::start(Spawning {
        stream: ours,
        pid: None,
    })
    .unwrap()
}

/// This test program, as the worker of `worker::tests::be_a_worker`, out of an environment with a secret.
fn program() -> Program {
    let environment = [
        ("HF_TOKEN", "canary"),
        ("TMPDIR", "/tmp"),
        ("LD_PRELOAD", "x"),
        ("HOME", "/"),
    ];
    let environment = environment
        .map(|(name, value)| (name.into(), value.into()))
        .into_iter();
    let mut program = Program::worker(environment, Some(1), Path::new("/vae_approx")).unwrap();
    program.arguments = ["--exact", "worker::tests::be_a_worker", "--nocapture"]
        .map(Into::into)
        .into();
    program
        .environment
        .push(("IMGD_TEST_WORKER".into(), "1".into()));
    program
}

#[tokio::test]
async fn a_program_that_cannot_start_is_an_error_and_the_next_can() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let missing = Program {
        path: "/nonexistent/imgd".into(),
        ..program()
    };
    thread::spawn(move || process::serve(theirs, &missing, &Confined::not()));
    let spawner = Spawner::start(Spawning {
        stream: ours,
        pid: None,
    })
    .unwrap();
    for _ in 0..2 {
        let failure = Worker::spawn(&spawner).await.unwrap_err();
        assert!(failure.message.contains("/nonexistent/imgd"), "{failure}");
    }
}

#[tokio::test]
async fn a_lost_spawner_is_an_error() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let spawner = Spawner::start(Spawning {
        stream: ours,
        pid: None,
    })
    .unwrap();
    spawner.spawn().await.unwrap_err();
    assert!(spawner.end(1).await.is_err());
}

#[tokio::test]
async fn workers_end_with_their_spawner() {
    let spawner = spawner();
    let worker = spawner.spawn().await.unwrap();
    drop(spawner);
    ends(worker.pid).await;
}

/// The supervisor of the tests below. In a normal test run it does nothing.
#[test]
fn be_a_supervisor() {
    if !std::env::vars().any(|(name, _)| name == "IMGD_TEST_SUPERVISOR") {
        return;
    }
    // What systemd hands over, and what a careless library leaves open, is inherited unless someone closes it.
    let null = File::open("/dev/null").unwrap();
    let leak = rustix::io::fcntl_dupfd_cloexec(&null, 50).unwrap();
    fcntl_setfd(&leak, FdFlags::empty()).unwrap();
    let spawning = fork(&program()).unwrap();
    let spawner_pid = spawning.pid.unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let worker = Worker::spawn(&Spawner::start(spawning).unwrap())
            .await
            .unwrap();
        for part in worker
            .inspect(model("surroundings"))
            .await
            .unwrap()
            .value
            .components
        {
            println!("\nhas {}", part.name);
        }
        println!("\npids {} {}", spawner_pid.as_raw_nonzero(), worker.pid());
        worker.load(model("hang"), no_progress()).await.unwrap();
    });
}

/// A supervisor as a process of its own, with a spawner and a worker that computes for ever.
struct Supervisor {
    process: Child,
    spawner: u32,
    worker: u32,
    /// What the worker found in its process.
    surroundings: Vec<String>,
}

fn supervisor() -> Supervisor {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "spawner::tests::be_a_supervisor", "--nocapture"])
        .env("IMGD_TEST_SUPERVISOR", "1")
        .env("HF_TOKEN", "canary")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut surroundings = Vec::new();
    for line in BufReader::new(process.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
    {
        if let Some(part) = line.strip_prefix("has ") {
            surroundings.push(part.to_owned());
        } else if let Some(pids) = line.strip_prefix("pids ") {
            let (spawner, worker) = pids.split_once(' ').unwrap();
            let [spawner, worker] = [spawner, worker].map(|pid| pid.parse().unwrap());
            return Supervisor {
                process,
                spawner,
                worker,
                surroundings,
            };
        }
    }
    panic!("the supervisor failed: {}", process.wait().unwrap());
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Row 43: nothing leaks into a worker, and the spawner keeps nothing of the daemon's.
#[test]
fn a_worker_has_the_listed_environment_and_no_other_descriptor() {
    let supervisor = supervisor();
    let has = |kind: &str| {
        let all = supervisor.surroundings.iter();
        let mut parts: Vec<_> = all.filter_map(|part| part.strip_prefix(kind)).collect();
        parts.sort_unstable();
        parts
    };
    assert_eq!(
        has("env:"),
        ["IMGD_TEST_WORKER", "RAYON_NUM_THREADS", "TMPDIR"]
    );
    let descriptors = has("fd:");
    // The fourth is the directory that was being read.
    assert_eq!(descriptors.len(), 4, "{descriptors:?}");
    if cfg!(target_os = "linux") {
        assert!(descriptors[0].starts_with("0 socket:"), "{descriptors:?}");
        assert_eq!(descriptors[1], "1 /dev/null");
        let spawner = std::fs::read_dir(format!("/proc/{}/fd", supervisor.spawner)).unwrap();
        assert_eq!(spawner.count(), 4, "three standard streams and the socket");
    }
}

/// DESIGN §5: kill -9 of the supervisor leaves no process behind, not even one that computes.
#[tokio::test]
async fn spawner_and_workers_die_with_the_supervisor() {
    let supervisor = supervisor();
    let Supervisor {
        spawner, worker, ..
    } = supervisor;
    assert!(runs(spawner) && runs(worker));
    drop(supervisor);
    ends(spawner).await;
    ends(worker).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn workers_die_with_a_killed_spawner_even_while_they_compute() {
    let supervisor = supervisor();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let pid = rustix::process::Pid::from_raw(supervisor.spawner.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    ends(supervisor.worker).await;
}

/// Ctrl-C in the terminal of a daemon reaches all its processes: the supervisor alone decides what to do.
#[tokio::test]
async fn signals_of_the_terminal_do_not_end_spawner_or_worker() {
    use rustix::process::Signal;
    let supervisor = supervisor();
    for pid in [supervisor.spawner, supervisor.worker] {
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
            rustix::process::kill_process(pid, signal).unwrap();
        }
    }
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(runs(supervisor.spawner) && runs(supervisor.worker));
}
