//! Workers as real processes: the test program executes itself, with a fake in place of the engine.

use std::{os::unix::net::UnixStream, thread, time::Duration};

use imgd_proto::Reason;
use tokio::{sync::watch, time::timeout};

use super::{
    backend::Models,
    fake::{EVALUATIONS, Fake},
    process::{harden, serve, take_socket},
    wire::{Finish, ModelKey, Restore, Start},
    *,
};
use crate::spawner::{Spawner, tests::spawner};

const SOON: Duration = Duration::from_secs(20);

/// Value of the variable that makes a worker one with the engine.
pub(crate) const WITH_ENGINE: &str = "engine";

/// Held by tests that count processes ended for lack of memory, or end one: the kernel's count is the machine's.
pub(crate) static KILLS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The program of the workers in these tests. In a normal test run it finds no socket on its standard input.
#[test]
fn be_a_worker() {
    if std::env::vars().any(|(name, _)| name == "IMGD_TEST_WORKER") {
        let surroundings = surroundings();
        let stream = take_socket().unwrap();
        harden();
        let with_engine = std::env::vars().any(|(_, value)| value == WITH_ENGINE);
        let code = if with_engine {
            serve(stream, Models::new(&[]))
        } else {
            serve(stream, Fake::in_process(surroundings))
        };
        std::process::exit(
            i32::from(code != std::process::ExitCode::SUCCESS) * i32::from(EXIT_PANIC),
        );
    }
}

fn surroundings() -> Vec<String> {
    let variables = std::env::vars().map(|(name, _)| format!("env:{name}"));
    let directory = if cfg!(target_os = "linux") {
        "/proc/self/fd"
    } else {
        "/dev/fd"
    };
    let descriptors = std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .map(|entry| {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            format!("fd:{} {}", entry.file_name().display(), target.display())
        });
    variables.chain(descriptors).collect()
}

pub(crate) fn model(name: &str) -> ModelKey {
    ModelKey {
        name: name.into(),
        ..ModelKey::default()
    }
}

pub(crate) fn no_progress() -> watch::Sender<f64> {
    watch::channel(0.0).0
}

async fn worker(spawner: &Spawner) -> Worker {
    timeout(SOON, Worker::spawn(spawner))
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn every_verb_is_answered() {
    let worker = worker(&spawner()).await;
    let (progress, seen) = watch::channel(0.0);
    worker.load(model("slow"), progress).await.unwrap();
    assert!(*seen.borrow() > 0.0);
    assert_eq!(worker.inspect(model("x")).await.unwrap().value.name, "x");
    let start = |generation| Start {
        generation,
        model: model("slow"),
        prompt: "p".into(),
        ..Start::default()
    };
    for generation in [1, 2] {
        assert_eq!(
            worker
                .start(start(generation))
                .await
                .unwrap()
                .value
                .evaluation_count,
            EVALUATIONS
        );
    }
    for _ in 0..EVALUATIONS {
        worker.step(vec![2, 1]).await.unwrap();
    }
    worker.preview(1).await.unwrap();
    assert!(!worker.decode(1).await.unwrap().value);
    assert!(worker.decode(1).await.unwrap().value);
    let planned = worker.plan(start(0)).await.unwrap().value;
    assert_eq!(planned.evaluation_count, EVALUATIONS);
    let saved = worker.save(1).await.unwrap().value;
    let restore = Restore {
        generation: 3,
        model: model("slow"),
        saved,
    };
    assert_eq!(
        worker
            .restore(restore)
            .await
            .unwrap()
            .value
            .evaluations_done,
        1
    );
    let finished = worker
        .finish(Finish {
            generation: 1,
            ..Finish::default()
        })
        .await
        .unwrap()
        .value;
    assert_eq!(finished.bytes.len(), 3_000_000);
    worker.drop_generation(2).await.unwrap();
    assert_eq!(worker.stats().await.unwrap().value.generations, 1);
    worker.unload(model("slow")).await.unwrap();
}

#[tokio::test]
async fn failures_keep_reason_and_field() {
    let failure = worker(&spawner())
        .await
        .load(model("missing"), no_progress())
        .await
        .unwrap_err();
    assert_eq!(
        (failure.reason, failure.field.as_deref()),
        (Reason::ModelNotFound, Some("model"))
    );
}

#[tokio::test]
async fn a_killed_worker_fails_its_calls_and_another_can_be_started() {
    let _alone = KILLS.lock().await;
    let spawner = spawner();
    let first = worker(&spawner).await;
    let pid = rustix::process::Pid::from_raw(first.pid().try_into().unwrap()).unwrap();
    let calls = [
        first.load(model("hang"), no_progress()),
        first.load(model("x"), no_progress()),
    ];
    let [hanging, behind] = calls.map(|call| Box::pin(timeout(SOON, call)));
    let kill = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    let (hanging, behind, ()) = tokio::join!(hanging, behind, kill);
    for failure in [hanging.unwrap().unwrap_err(), behind.unwrap().unwrap_err()] {
        assert_eq!(failure.reason, Reason::WorkerDied);
        assert!(failure.message.contains("was killed (SIGKILL"), "{failure}");
    }
    assert_eq!(first.stats().await.unwrap_err().reason, Reason::WorkerDied);
    assert_eq!(first.exited().await.signal, Some(9));
    let death = first.death().await;
    // Where the kernel's counts can be read, as on every Linux that these tests run on.
    assert!(death.is_foreign || !cfg!(target_os = "linux"), "{death:?}");
    assert!(!runs(first.pid()), "buried, not a zombie");
    worker(&spawner).await.stats().await.unwrap();
}

#[tokio::test]
async fn the_way_a_worker_ended_is_told() {
    let spawner = spawner();
    for (name, words) in [("abort", "SIGABRT"), ("exit", "exit code 3")] {
        let failure = worker(&spawner)
            .await
            .load(model(name), no_progress())
            .await
            .unwrap_err();
        assert_eq!(failure.reason, Reason::WorkerDied);
        assert!(failure.message.contains(words), "{failure}");
    }
}

#[tokio::test]
async fn a_panic_ends_the_worker_and_its_message_is_not_told() {
    let worker = worker(&spawner()).await;
    let failure = worker
        .load(model("panic"), no_progress())
        .await
        .unwrap_err();
    assert_eq!(failure.reason, Reason::WorkerDied);
    assert!(!failure.message.contains("canary"), "{failure}");
    let exit = timeout(SOON, worker.exited()).await.unwrap();
    assert_eq!(exit.code, Some(EXIT_PANIC.into()));
    assert!(exit.to_string().contains("defect"), "{exit}");
    let death = worker.death().await;
    assert!(
        !death.is_foreign && death.how.contains("defect"),
        "{death:?}"
    );
}

#[tokio::test]
async fn a_hanging_worker_can_be_killed() {
    let worker = worker(&spawner()).await;
    let hanging = tokio::spawn({
        let worker = worker.clone();
        async move { worker.load(model("hang"), no_progress()).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(timeout(SOON, worker.kill()).await.unwrap().signal, Some(9));
    assert_eq!(
        hanging.await.unwrap().unwrap_err().reason,
        Reason::WorkerDied
    );
    assert_eq!(
        timeout(SOON, worker.kill()).await.unwrap().signal,
        Some(9),
        "twice is once"
    );
    assert_eq!(worker.death().await.how, "was ended by the daemon");
}

#[tokio::test]
async fn a_worker_that_nobody_holds_ends() {
    let worker = worker(&spawner()).await;
    let pid = worker.pid();
    assert!(runs(pid));
    drop(worker);
    ends(pid).await;
}

#[tokio::test]
async fn nonsense_from_a_worker_ends_it() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let worker = Worker::over(ours, 0, None).unwrap();
    thread::spawn(move || std::io::Write::write_all(&mut &theirs, &[0xff; 64]).map(|()| theirs));
    let failure = timeout(SOON, worker.stats()).await.unwrap().unwrap_err();
    assert_eq!(failure.reason, Reason::WorkerDied);
}

pub(crate) fn runs(pid: u32) -> bool {
    rustix::process::Pid::from_raw(pid.try_into().unwrap())
        .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

pub(crate) async fn ends(pid: u32) {
    let gone = async {
        while runs(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, gone).await.unwrap();
}
