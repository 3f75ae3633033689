//! What each fault does to a real worker, and what the supervisor makes of it.

use std::time::Duration;

use imgd_proto::{Failure, Reason};
use tokio::time::timeout;

use super::{
    engine_tests::{load, start, starter, worker},
    tests::KILLS,
    wire::Restore,
    *,
};
use crate::{engine::Death, oom::OomKills};

/// The failure of the step that meets the fault, the exit code, and the death.
async fn meet(fault: &str) -> (Failure, Option<i32>, Death) {
    let worker = worker().await;
    let model = starter("starter");
    load(&worker, &model).await;
    let prompt = format!("a red apple [[fault:{fault}@2]]");
    worker.start(start(&model, &prompt)).await.unwrap();
    worker.step(vec![1]).await.expect("the first one is sound");
    let step = timeout(Duration::from_secs(60), worker.step(vec![1])).await;
    let failure = step.unwrap().unwrap_err();
    (failure, worker.exited().await.code, worker.death().await)
}

#[tokio::test]
async fn crashes_end_the_worker_and_are_told_for_what_they_are() {
    for (fault, code, signal, words) in [
        ("panic", Some(EXIT_PANIC.into()), None, "defect"),
        ("segv", None, Some(libc::SIGSEGV), "SIGSEGV"),
        ("abort", None, Some(libc::SIGABRT), "SIGABRT"),
    ] {
        let (failure, exit_code, death) = meet(fault).await;
        assert_eq!(failure.reason, Reason::WorkerDied, "{fault}: {failure}");
        assert!(failure.message.contains(words), "{fault}: {failure}");
        assert_eq!((exit_code, death.signal), (code, signal), "{fault}");
        assert!(!death.is_foreign && !death.is_out_of_memory, "{death:?}");
    }
}

/// By the kernel itself where the test may make a control group, as root may.
#[tokio::test]
async fn a_worker_that_ran_out_of_memory_is_told_from_one_that_was_killed() {
    let _alone = KILLS.lock().await;
    let before = OomKills::now();
    let (failure, _, death) = meet("oom").await;
    let was_the_kernel = OomKills::now() != before;
    assert_eq!(failure.reason, Reason::WorkerDied);
    assert_eq!(death.signal, Some(libc::SIGKILL));
    assert_eq!(death.is_out_of_memory, was_the_kernel, "{death:?}");
    assert_eq!(death.is_foreign, !was_the_kernel && before.is_some());
    if was_the_kernel {
        assert!(failure.message.contains("lack of memory"), "{failure}");
    }
}

#[tokio::test]
async fn a_worker_that_hangs_is_silent_until_it_is_ended() {
    let worker = worker().await;
    let model = starter("starter");
    load(&worker, &model).await;
    let hangs = start(&model, "a red apple [[fault:hang]]");
    worker.start(hangs).await.unwrap();
    let step = worker.step(vec![1]);
    assert!(timeout(Duration::from_secs(2), step).await.is_err());
    worker.kill().await;
    assert!(!worker.death().await.is_foreign);
}

#[tokio::test]
async fn once_spares_a_generation_that_was_restored() {
    let model = starter("starter");
    let first = worker().await;
    load(&first, &model).await;
    let prompt = "a red apple [[fault:segv@2,once]]";
    first.start(start(&model, prompt)).await.unwrap();
    first.step(vec![1]).await.unwrap();
    let saved = first.save(1).await.unwrap().value;
    first.step(vec![1]).await.unwrap_err();
    let second = worker().await;
    load(&second, &model).await;
    let restore = Restore {
        generation: 1,
        model,
        saved,
    };
    let restored = second.restore(restore).await.unwrap().value;
    assert_eq!(restored.evaluations_done, 1);
    second.step(vec![1]).await.expect("spared");
}
