//! The spawner as a thread (the test program has threads and must not fork), and once as the process that it is.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use super::*;
use crate::worker::{Worker, tests::ends};

/// A spawner in a thread, whose workers are this test program.
pub(crate) fn spawner() -> Spawner {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let program = program();
    thread::spawn(move || process::serve(theirs, &program));
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
    let mut program = Program::worker(environment, Some(1)).unwrap();
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
    thread::spawn(move || process::serve(theirs, &missing));
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

/// The supervisor of the test below. In a normal test run it does nothing.
#[test]
fn be_a_supervisor() {
    if !std::env::vars().any(|(name, _)| name == "IMGD_TEST_SUPERVISOR") {
        return;
    }
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
        println!("\npids {} {}", spawner_pid.as_raw_nonzero(), worker.pid());
        worker
            .load(
                crate::worker::wire::ModelKey {
                    name: "hang".into(),
                    ..Default::default()
                },
                tokio::sync::watch::channel(0.0).0,
            )
            .await
            .unwrap();
    });
}

/// Row 43 and DESIGN §5: kill -9 of the supervisor leaves no process behind, not even one that computes.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn spawner_and_workers_die_with_the_supervisor() {
    for victim_is_spawner in [false, true] {
        let mut supervisor = Command::new("/proc/self/exe")
            .args([
                "--exact",
                "spawner::tests::be_a_supervisor",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("IMGD_TEST_SUPERVISOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(supervisor.stdout.take().unwrap()).lines();
        let line = lines
            .map(Result::unwrap)
            .find(|line| line.starts_with("pids "))
            .unwrap();
        let pids: Vec<u32> = line
            .split(' ')
            .skip(1)
            .map(|pid| pid.parse().unwrap())
            .collect();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if victim_is_spawner {
            let pid = rustix::process::Pid::from_raw(pids[0].try_into().unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            ends(pids[1]).await;
        }
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        ends(pids[0]).await;
        ends(pids[1]).await;
    }
}
