//! When a daemon that the service manager can start again may end.

use std::time::Duration;

use imgd_proto::v1::{JobState, Priority};

use super::{House, PATIENCE, job, order, request};
use crate::{failure::Reason, keep_alive::KeepAlive};

const AT_ONCE: Duration = Duration::ZERO;

fn forgetful(data: &std::path::Path) -> House {
    House::with(data, |options| {
        options.keep_alive = KeepAlive::For(Duration::ZERO);
    })
}

/// Asks until the daemon ends.
async fn ends(house: &House) -> bool {
    let asking = async {
        while house
            .scheduler
            .end_if_unused(AT_ONCE)
            .await
            .unwrap()
            .is_some()
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.is_ok()
}

#[tokio::test]
async fn work_keeps_the_daemon_and_what_is_paused_does_not_and_is_not_lost() {
    let data = tempfile::tempdir().unwrap();
    let house = forgetful(data.path());
    let id = house.submit(job("pear", 1)).await.id;
    let long = house.submit(order(request("plum", 1, 1000))).await.id;
    house.until_state(&id, JobState::Succeeded).await;
    house.until_state(&long, JobState::Running).await;
    assert!(
        house
            .scheduler
            .end_if_unused(AT_ONCE)
            .await
            .unwrap()
            .is_some()
    );
    house.scheduler.pause(&long).await.unwrap();
    assert!(ends(&house).await);
    let refused = house.scheduler.submit(job("late", 1)).await;
    assert!(refused.is_err_and(|failure| failure.reason == Reason::Draining));
    tokio::time::timeout(PATIENCE, house.task)
        .await
        .unwrap()
        .unwrap();
    house.scheduler.close().await;
    drop(house.journal);

    let next = House::open(data.path());
    next.until_state(&long, JobState::Paused).await;
    next.scheduler.resume(&long, Vec::new()).await.unwrap();
    next.until_state(&long, JobState::Running).await;
    next.crash().await;
}

#[tokio::test]
async fn a_model_in_memory_keeps_the_daemon() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let id = house.submit(job("pear", 1)).await.id;
    house.until_state(&id, JobState::Succeeded).await;
    for _ in 0..20 {
        let left = house.scheduler.end_if_unused(AT_ONCE).await.unwrap();
        assert!(left.is_some());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        house
            .scheduler
            .unload(crate::fake_engine::model("m"))
            .await
            .unwrap()
    );
    assert!(ends(&house).await);
    house.crash().await;
}

#[tokio::test]
async fn work_that_waits_for_an_idle_machine_keeps_the_daemon() {
    let data = tempfile::tempdir().unwrap();
    let house = House::with(data.path(), |options| {
        options.background.on_battery = true;
        // Nobody has been away for so long.
        options.background.idle = Duration::MAX;
    });
    let mut background = request("pear", 1, 1);
    if let Some(generate) = &mut background.generate {
        generate.priority = Priority::Background.into();
    }
    house.submit(order(background)).await;
    for _ in 0..20 {
        let left = house.scheduler.end_if_unused(AT_ONCE).await.unwrap();
        assert!(left.is_some());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.crash().await;
}

#[tokio::test]
async fn want_of_use_counts_from_the_end_of_use() {
    let data = tempfile::tempdir().unwrap();
    let house = forgetful(data.path());
    let hour = Duration::from_secs(3600);
    let left = house.scheduler.end_if_unused(hour).await.unwrap().unwrap();
    assert!(left > hour - PATIENCE && left <= hour, "{left:?}");
    house.crash().await;
}
