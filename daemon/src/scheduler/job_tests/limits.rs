//! How much may wait, and that a request is taken in once.

use imgd_proto::v1::JobState;

use super::{House, attached, job, order, request};
use crate::{failure::Reason, scheduler::Order};

fn named(prompt: &str, request_id: &str) -> Order {
    let mut asked = request(prompt, 1, 1000);
    asked.generate.as_mut().unwrap().request_id = request_id.to_owned();
    order(asked)
}

#[tokio::test]
async fn of_one_request_id_there_is_one_job_however_often_it_is_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let house = House::with(data.path(), |options| options.queue_capacity = 1);
    let racers: Vec<_> = (0..8)
        .map(|_| {
            let scheduler = house.scheduler.clone();
            tokio::spawn(async move { scheduler.submit(named("apple", "mine")).await })
        })
        .collect();
    let (mut ids, mut made) = (Vec::new(), 0);
    for racer in racers {
        // Those that came while the first was on its way may find the queue full.
        if let Ok(receipt) = racer.await.unwrap() {
            made += u32::from(!receipt.existed);
            ids.push(receipt.job_id);
        }
    }
    assert_eq!(made, 1);
    ids.dedup();
    assert_eq!(ids.len(), 1);
    // A full queue does not hide it, and an end does not either.
    house.until_state(&ids[0], JobState::Running).await;
    house.submit(job("waits", 1)).await;
    assert!(
        house
            .scheduler
            .submit(named("apple", "mine"))
            .await
            .unwrap()
            .existed
    );
    house.crash().await;
    let house = House::open(data.path());
    let again = house
        .scheduler
        .submit(named("apple", "mine"))
        .await
        .unwrap();
    assert!(again.existed && again.job_id == ids[0]);
    let failure = house
        .scheduler
        .submit(named("pear", "mine"))
        .await
        .unwrap_err();
    assert_eq!(
        (failure.reason, failure.field.as_deref()),
        (Reason::InvalidField, Some("request_id"))
    );
}

#[tokio::test]
async fn no_client_may_have_more_waiting_than_its_share() {
    let data = tempfile::tempdir().unwrap();
    let house = House::with(data.path(), |options| options.capacity_per_client = 2);
    let busy = house.submit(order(request("busy", 1, 1_000_000))).await.id;
    house.until_state(&busy, JobState::Running).await;
    for number in 0..2 {
        let mut asked = request(&format!("n{number}"), 1, 3);
        asked.generate.as_mut().unwrap().priority = 2;
        house.submit(order(asked)).await;
    }
    let failure = house.scheduler.submit(job("more", 1)).await.unwrap_err();
    assert_eq!(failure.reason, Reason::ClientQueueFull);
    assert!(failure.retry_after.is_some());
    let other = Order {
        client: "other".to_owned(),
        ..job("other", 1)
    };
    house.submit(other).await;
}

#[tokio::test]
async fn a_job_of_ten_thousand_pictures_is_taken_in_told_and_cancelled() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let id = house.submit(order(request("apple", 10_000, 1))).await.id;
    house.until(&id, |job| job.images_done >= 5).await;
    let job = house.scheduler.cancel(&id).await.unwrap();
    assert_eq!(job.image_count, 10_000);
    let files = house.scheduler.images(&id, 1000, "").await.unwrap().0;
    assert_eq!(files.len(), job.images_done as usize);
    let retried = house.scheduler.retry(&id).await.unwrap();
    assert_eq!(retried.images_done, job.images_done);
    house
        .until(&id, |now| now.images_done > job.images_done)
        .await;
    house.scheduler.cancel(&id).await.unwrap();
}

#[tokio::test]
async fn what_is_attached_is_in_the_history_and_what_is_private_nowhere() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    for (is_private, word) in [(false, "heron"), (true, "osprey")] {
        let receipt = house
            .scheduler
            .submit(attached(job(word, 1), is_private))
            .await;
        let mut receipt = receipt.unwrap();
        let events = receipt.events.as_mut().unwrap();
        let mut last = None;
        while let Some(event) = events.next().await {
            last = Some(event);
        }
        assert!(
            matches!(last, Some(crate::events::Event::Finished(_))),
            "{last:?}"
        );
        let found = house.scheduler.job(&receipt.job_id).await;
        if is_private {
            assert_eq!(found.unwrap_err().reason, Reason::JobNotFound);
        } else {
            assert_eq!(
                found.unwrap().state(),
                JobState::Succeeded,
                "kept before it is told"
            );
            assert_eq!(house.files(&receipt.job_id).await, [Some("40".to_owned())]);
        }
    }
    let (jobs, _) = house.scheduler.jobs(&[], "", 0, "").await.unwrap();
    assert_eq!(jobs.len(), 1);
    house.crash().await;
    assert!(super::holds(data.path(), "heron"));
    assert!(!super::holds(data.path(), "osprey"));
}
