//! Pictures on the way to the disk, and off it again.

use std::time::Duration;

use imgd_proto::v1::{self, JobState};

use super::{House, job, order, request};
use crate::failure::Reason;

#[tokio::test]
async fn a_full_disk_pauses_jobs_which_go_on_by_themselves() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let id = house.submit(order(request("apple", 5, 20))).await.id;
    house.until(&id, |job| job.images_done == 1).await;
    house.journal.fill_disk(true);
    let job = house.until_state(&id, JobState::Paused).await;
    assert_eq!(job.pause_reason(), v1::PauseReason::DiskFull);
    let refused = house
        .scheduler
        .submit(super::job("next", 1))
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::DiskFull);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let steps = house.record.count("step");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(house.record.count("step"), steps, "nothing is made in vain");
    house.journal.fill_disk(false);
    let job = house.until_state(&id, JobState::Succeeded).await;
    assert_eq!(job.images_done, 5);
    for seed in 40..45 {
        assert_eq!(house.record.count(&format!("finish apple {seed}")), 1);
    }
    assert_eq!(house.files(&id).await.iter().flatten().count(), 5);
}

#[tokio::test]
async fn an_end_that_cannot_be_written_is_written_later() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let id = house.submit(order(request("apple", 1, 1000))).await.id;
    house.until_state(&id, JobState::Running).await;
    house.journal.fill_disk(true);
    let job = house.scheduler.cancel(&id).await.unwrap();
    assert_eq!(job.state(), JobState::Cancelled);
    house.journal.fill_disk(false);
    // Only the journal answers once it is written.
    let start = std::time::Instant::now();
    while house.journal.get(&id).await.unwrap().state != JobState::Cancelled {
        assert!(start.elapsed() < super::PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_deleted_job_leaves_no_word_and_no_picture() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let done = house.submit(job("kingfisher", 2)).await.id;
    house.until_state(&done, JobState::Succeeded).await;
    let running = house.submit(order(request("kingfisher", 2, 1000))).await.id;
    house.until_state(&running, JobState::Running).await;
    assert!(super::holds(data.path(), "kingfisher"));
    house.scheduler.delete(&done, false).await.unwrap();
    house.scheduler.delete(&running, true).await.unwrap();
    house.crash().await;
    assert!(!super::holds(data.path(), "kingfisher"));
    let house = House::open(data.path());
    assert!(
        house
            .scheduler
            .jobs(&[], "", 0, "")
            .await
            .unwrap()
            .0
            .is_empty()
    );
    assert_eq!(house.scheduler.statistics().await.unwrap().images, 0);
}

#[tokio::test]
async fn a_picture_that_is_not_there_is_said_to_be_missing() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let id = house.submit(job("apple", 1)).await.id;
    house.until_state(&id, JobState::Succeeded).await;
    for index in [1, u32::MAX] {
        let failure = house
            .scheduler
            .picture(&id, index, false)
            .await
            .unwrap_err();
        assert_eq!(failure.reason, Reason::ImageNotFound);
    }
    let (thumbnail, _) = house.scheduler.picture(&id[..6], 0, true).await.unwrap();
    assert!(!thumbnail.is_empty());
}
