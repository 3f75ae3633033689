//! Watchers: a hundred of them, half of them asleep; late ones, and ones that come back.

use std::{sync::Arc, time::Instant};

use imgd_proto::v1::{
    self, JobState, job_service_server::JobService as _, watch_job_response::Event,
};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::Request;

use super::{House, PATIENCE, order, request};
use crate::services::{JobApi, Names};

type Stream = <JobApi as v1::job_service_server::JobService>::WatchJobStream;

async fn watch(house: &House, id: &str, cursor: u64) -> Stream {
    let api = JobApi {
        scheduler: house.scheduler.clone(),
        names: Arc::new(Names {
            models: [("m".to_owned(), "/m".into())].into(),
            default_model: "m".to_owned(),
            ..Names::bare()
        }),
        is_private: false,
    };
    let request = Request::new(v1::WatchJobRequest {
        job_id: id.to_owned(),
        cursor,
    });
    api.watch_job(request).await.unwrap().into_inner()
}

/// What a watcher saw.
#[derive(Default)]
struct Seen {
    cursor: u64,
    snapshots: usize,
    steps: usize,
    pictures: Vec<u32>,
    last: Option<JobState>,
}

/// Reads to the end, or until so many events are there.
async fn read(stream: &mut Stream, most: usize) -> Seen {
    let mut seen = Seen::default();
    for _ in 0..most {
        let Some(message) = timeout(PATIENCE, stream.next()).await.unwrap() else {
            break;
        };
        let message = message.unwrap();
        assert!(message.cursor >= seen.cursor, "cursors grow");
        seen.cursor = message.cursor;
        match message.event.unwrap() {
            Event::Snapshot(job) => {
                seen.snapshots += 1;
                seen.last = Some(job.state());
            }
            Event::Changed(job) => seen.last = Some(job.state()),
            Event::Step(_) => seen.steps += 1,
            Event::Image(image) => seen.pictures.push(image.image_index),
            _ => {}
        }
    }
    seen
}

#[tokio::test]
async fn a_hundred_watchers_half_of_them_asleep_hold_nobody_up() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let alone = house.submit(order(request("alone", 20, 10))).await.id;
    let start = Instant::now();
    house.until_state(&alone, JobState::Succeeded).await;
    let unwatched = start.elapsed();

    let id = house.submit(order(request("watched", 20, 10))).await.id;
    let (mut asleep, mut awake) = (Vec::new(), Vec::new());
    for number in 0..100 {
        let mut stream = watch(&house, &id, 0).await;
        if number % 2 == 0 {
            asleep.push(stream);
        } else {
            awake.push(tokio::spawn(
                async move { read(&mut stream, usize::MAX).await },
            ));
        }
    }
    let start = Instant::now();
    house.until_state(&id, JobState::Succeeded).await;
    let watched = start.elapsed();
    assert!(
        watched < unwatched * 3 + std::time::Duration::from_millis(500),
        "{watched:?} with watchers, {unwatched:?} without"
    );
    let everything: Vec<u32> = (0..20).collect();
    for watcher in awake {
        let mut seen = watcher.await.unwrap();
        seen.pictures.sort_unstable();
        assert_eq!(seen.pictures, everything, "each picture once");
        assert_eq!(seen.last, Some(JobState::Succeeded));
    }
    for mut stream in asleep {
        let mut seen = read(&mut stream, usize::MAX).await;
        seen.pictures.sort_unstable();
        assert_eq!(seen.pictures, everything);
        assert_eq!(seen.last, Some(JobState::Succeeded));
    }
}

#[tokio::test]
async fn a_watcher_goes_on_from_its_cursor_and_after_a_restart_gets_a_snapshot() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let id = house.submit(order(request("apple", 2, 100))).await.id;
    house.until_state(&id, JobState::Running).await;
    let first = read(&mut watch(&house, &id, 0).await, 20).await;
    assert_eq!(first.snapshots, 1);
    let second = read(&mut watch(&house, &id, first.cursor).await, 20).await;
    assert_eq!(second.snapshots, 0, "nothing was missed");
    assert!(second.steps > 0 && second.cursor > first.cursor);
    house.crash().await;
    let house = House::open(data.path());
    let mut stream = watch(&house, &id, second.cursor).await;
    let rest = read(&mut stream, usize::MAX).await;
    assert!(rest.snapshots >= 1 && rest.cursor > second.cursor);
    assert_eq!(rest.last, Some(JobState::Succeeded));
    let mut pictures = rest.pictures;
    pictures.sort_unstable();
    assert_eq!(pictures, [0, 1]);
    // One that comes after the end is told all the same.
    let late = read(&mut watch(&house, &id, 0).await, usize::MAX).await;
    assert_eq!((late.snapshots, late.last), (1, Some(JobState::Succeeded)));
    assert_eq!(late.pictures, [0, 1]);
}
