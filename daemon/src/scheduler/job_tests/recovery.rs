//! What survives the end of the daemon, and what does not.

use imgd_proto::v1::JobState;
use tokio::time::timeout;

use super::{House, PATIENCE, attached, job, order, request};
use crate::scheduler::Ending;

#[tokio::test]
async fn a_job_goes_on_from_its_last_saved_step_and_no_picture_is_made_twice() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let id = house.submit(order(request("apple", 3, 20))).await.id;
    house
        .until(&id, |job| {
            job.in_flight
                .iter()
                .any(|image| image.evaluations_saved > 4)
        })
        .await;
    let before = house.record.clone();
    house.crash().await;
    let house = House::open(data.path());
    let job = house.until_state(&id, JobState::Succeeded).await;
    assert_eq!(job.images_done, 3);
    let expected = ["40", "41", "42"].map(|seed| Some(seed.to_owned()));
    assert_eq!(house.files(&id).await, expected);
    assert!(house.record.count("restore apple") > 0);
    for seed in 40..43 {
        let finish = format!("finish apple {seed}");
        assert_eq!(before.count(&finish) + house.record.count(&finish), 1);
    }
}

#[tokio::test]
async fn jobs_that_wait_go_on_in_order_and_paused_ones_stay_paused() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let busy = house.submit(order(request("busy", 1, 1_000_000))).await.id;
    house.until_state(&busy, JobState::Running).await;
    let mut waiting = Vec::new();
    for number in 0..5 {
        waiting.push(house.submit(job(&format!("n{number}"), 1)).await.id);
    }
    house.scheduler.pause(&waiting[4]).await.unwrap();
    house.crash().await;
    let house = House::open(data.path());
    house.scheduler.cancel(&busy).await.unwrap();
    for id in &waiting[..4] {
        house.until_state(id, JobState::Succeeded).await;
    }
    assert_eq!(
        house.scheduler.job(&waiting[4]).await.unwrap().state(),
        JobState::Paused
    );
    assert_eq!(house.record.count("begin n4"), 0);
}

#[tokio::test]
async fn a_job_whose_stream_is_gone_is_cancelled_at_once_or_at_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let long = || attached(order(request("apple", 1, 1000)), false);
    let left = house.scheduler.submit(long()).await.unwrap();
    house.until_state(&left.job_id, JobState::Running).await;
    drop(left.events);
    let job = house.until_state(&left.job_id, JobState::Cancelled).await;
    assert_eq!(job.problem.unwrap().message, "its client is gone");
    let kept = house.scheduler.submit(long()).await.unwrap();
    house.until_state(&kept.job_id, JobState::Running).await;
    house.crash().await;
    let house = House::open(data.path());
    let job = house.until_state(&kept.job_id, JobState::Cancelled).await;
    assert!(
        job.problem
            .unwrap()
            .message
            .starts_with("its client is gone")
    );
    assert_eq!(house.record.count("begin"), 0);
}

#[tokio::test]
async fn a_daemon_that_drains_leaves_what_belongs_to_nobody_for_the_next() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let id = house.submit(order(request("apple", 2, 60))).await.id;
    house
        .until(&id, |job| {
            job.in_flight.iter().any(|image| image.evaluations_done > 3)
        })
        .await;
    house.scheduler.end(Ending::Drain).await.unwrap();
    let House {
        scheduler,
        record,
        task,
        ..
    } = house;
    timeout(PATIENCE, task).await.unwrap().unwrap();
    scheduler.close().await;
    assert_eq!(record.count("finish"), 0);
    let house = House::open(data.path());
    house.until_state(&id, JobState::Succeeded).await;
    assert_eq!(house.record.count("restore apple 40"), 1);
}
