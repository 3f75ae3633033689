//! Jobs against a daemon that does as the test says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use imgd_client::{
    Client, ConnectOptions, Error, GenerateRequest, JobEvent, JobFilter, JobRequest, Reason,
    is_final,
    v1::{self, JobState, watch_job_response::Event},
};
use imgd_proto::Failure;
use support::{Act, FakeDaemon, Script, jobs::FakeJob};

fn daemon(jobs: Vec<FakeJob>) -> FakeDaemon {
    FakeDaemon::with(Script {
        jobs,
        ..Script::default()
    })
}

async fn connect(daemon: &FakeDaemon) -> Client {
    let options = ConnectOptions {
        socket: Some(daemon.socket.clone()),
        autostart: false,
        client_name: Some("tests".into()),
        ..ConnectOptions::default()
    };
    Client::connect(options).await.unwrap()
}

fn named(prompt: &str, request_id: &str) -> JobRequest {
    JobRequest {
        generate: GenerateRequest {
            request_id: Some(request_id.into()),
            ..GenerateRequest::new(prompt)
        },
        ..JobRequest::default()
    }
}

#[tokio::test]
async fn a_submission_travels_whole_and_is_made_once() {
    let daemon = daemon(Vec::new());
    let client = connect(&daemon).await;
    let mut request = named("x", "r-1");
    request.hold_after_steps = 4;
    request.images = vec![v1::ImageVariation {
        seed: Some(9),
        ..v1::ImageVariation::default()
    }];
    let first = client.submit(request.clone()).await.unwrap();
    let second = client.submit(request).await.unwrap();
    assert!(!first.existed && second.existed);
    assert_eq!(first.job.id, second.job.id);
    let seen = &daemon.seen.submissions.lock().unwrap()[0];
    assert_eq!((seen.hold_after_steps, seen.images[0].seed), (4, Some(9)));
    assert_eq!(seen.generate.as_ref().unwrap().prompt, "x");
    assert_eq!(
        daemon.seen.clients.lock().unwrap()[0].as_deref(),
        Some("tests")
    );
}

#[tokio::test]
async fn what_cannot_outlive_its_client_is_refused() {
    let daemon = daemon(Vec::new());
    let mut request = named("x", "");
    request.generate.private = Some(true);
    let error = connect(&daemon).await.submit(request).await.unwrap_err();
    assert_eq!((error.field(), error.exit_code()), (Some("private"), 2));
}

#[tokio::test]
async fn a_name_that_cannot_travel_is_refused_before_anything_is_sent() {
    for name in ["", "a b", "é", &"x".repeat(65)] {
        let options = ConnectOptions {
            client_name: Some(name.to_owned()),
            autostart: false,
            ..ConnectOptions::default()
        };
        let error = Client::connect(options).await.unwrap_err();
        assert_eq!(error.field(), Some("client_name"), "{name}");
    }
}

#[tokio::test]
async fn pages_are_walked_to_their_end_and_no_further_than_read() {
    let jobs = (0..120).map(|i| {
        let state = if i % 2 == 0 {
            JobState::Succeeded
        } else {
            JobState::Queued
        };
        FakeJob::new(&format!("{i:04}"), state, 1)
    });
    let daemon = daemon(jobs.collect());
    let client = connect(&daemon).await;
    let ids: Vec<_> = client.jobs(JobFilter::default()).all().await.unwrap();
    let mut expected: Vec<_> = ids.iter().map(|job| job.id.clone()).collect();
    expected.dedup();
    assert_eq!(expected.len(), 120);
    assert_eq!(daemon.seen.calls(), ["list ", "list 50", "list 100"]);

    let few = client.jobs(JobFilter::default()).take(3).await.unwrap();
    assert_eq!((few.len(), daemon.seen.calls().len()), (3, 4));
    let queued = JobFilter {
        states: vec![JobState::Queued],
        ..JobFilter::default()
    };
    assert_eq!(client.jobs(queued).all().await.unwrap().len(), 60);
    let nobody = JobFilter {
        request_id: Some("nobody".into()),
        ..JobFilter::default()
    };
    assert!(client.jobs(nobody).next().await.is_none());
}

#[tokio::test]
async fn pictures_of_a_job_are_listed_and_fetched() {
    let daemon = daemon(vec![FakeJob::done("abcd", 130)]);
    let client = connect(&daemon).await;
    let images = client.images("abcd").all().await.unwrap();
    assert!(images.iter().map(|image| image.image_index).eq(0..130));
    let image = client.image("abcd", 129).await.unwrap();
    assert_eq!((image.index, image.settings.seed), (129, 136));
    assert_eq!(image.bytes, b"picture 136");
    assert_eq!(image.sha256, images[129].metadata.as_ref().unwrap().sha256);
    assert_eq!(
        client.thumbnail("abcd", 3).await.unwrap(),
        b"thumbnail of 3"
    );
    let error = client.image("abcd", 130).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.exit_code()),
        (Reason::ImageNotFound, 2)
    );
    let error = client.job("ffff").await.unwrap_err();
    assert_eq!(
        (error.reason(), error.field()),
        (Reason::JobNotFound, Some("job_id"))
    );
}

#[tokio::test]
async fn a_picture_that_was_changed_on_the_way_is_found_out() {
    let mut fake = FakeJob::done("abcd", 1);
    fake.images[0].1[3] ^= 1;
    let daemon = daemon(vec![fake]);
    let error = connect(&daemon).await.image("abcd", 0).await.unwrap_err();
    assert!(matches!(error, Error::Contract(_)), "{error:?}");
}

fn name(event: &JobEvent) -> &'static str {
    match event {
        JobEvent::Snapshot(_) => "snapshot",
        JobEvent::Changed(_) => "changed",
        JobEvent::Started(_) => "started",
        JobEvent::Step(_) => "step",
        JobEvent::Image(_) => "image",
        _ => "other",
    }
}

#[tokio::test]
async fn a_watch_ends_with_the_job() {
    let daemon = daemon(vec![FakeJob::new("abcd", JobState::Queued, 1).drawing()]);
    let mut watch = connect(&daemon).await.watch("abcd", 0).await.unwrap();
    let mut names = Vec::new();
    while let Some(event) = watch.next().await {
        names.push((name(&event.unwrap()), watch.cursor()));
    }
    let expected = [
        ("snapshot", 1),
        ("started", 2),
        ("step", 3),
        ("image", 4),
        ("changed", 5),
    ];
    assert_eq!(names, expected);
    assert_eq!(watch.job_id(), "abcd0000000000000000000000000000");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn after_a_lost_connection_a_watch_goes_on_from_its_cursor() {
    let mut fake = FakeJob::new("abcd", JobState::Queued, 2).drawing();
    fake.events.insert(3, Act::Lose);
    let daemon = daemon(vec![fake]);
    let client = connect(&daemon).await;
    let mut watch = client.watch("abcd", 0).await.unwrap();
    let mut events = Vec::new();
    let lost = loop {
        match watch.next().await.unwrap() {
            Ok(event) => events.push(event),
            Err(error) => break error,
        }
    };
    assert!(matches!(lost, Error::Lost(_)), "{lost:?}");
    assert!(watch.next().await.is_none());
    let mut watch = client.watch("abcd", watch.cursor()).await.unwrap();
    while let Some(event) = watch.next().await {
        events.push(event.unwrap());
    }
    let names: Vec<_> = events.iter().map(name).collect();
    let expected = [
        "snapshot", "started", "step", "image", "started", "step", "image", "changed",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_job_that_has_ended_is_told_by_snapshot_and_pictures() {
    let mut fake = FakeJob::done("abcd", 2);
    fake.events = vec![Act::Send(Event::Snapshot(fake.job.clone()))];
    let images = fake
        .images
        .iter()
        .map(|(image, _)| Act::Send(Event::Image(image.clone())));
    fake.events.extend(images);
    let daemon = daemon(vec![fake]);
    let mut watch = connect(&daemon).await.watch("abcd", 0).await.unwrap();
    let mut names = Vec::new();
    while let Some(event) = watch.next().await {
        names.push(name(&event.unwrap()));
    }
    assert_eq!(names, ["snapshot", "image", "image"]);
}

#[tokio::test]
async fn events_that_end_before_the_job_are_against_the_contract() {
    let mut fake = FakeJob::new("abcd", JobState::Running, 1).drawing();
    fake.events.truncate(2);
    let daemon = daemon(vec![fake]);
    let mut watch = connect(&daemon).await.watch("abcd", 0).await.unwrap();
    let mut last = None;
    while let Some(event) = watch.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(Err(Error::Contract(_)))), "{last:?}");
}

#[tokio::test]
async fn jobs_are_steered() {
    let daemon = daemon(vec![FakeJob::new("abcd", JobState::Queued, 4)]);
    let client = connect(&daemon).await;
    let paused = client.pause("abcd").await.unwrap();
    assert_eq!(paused.pause_reason(), v1::PauseReason::Asked);
    assert_eq!(
        client.resume("abcd", &[0, 3]).await.unwrap().state(),
        JobState::Queued
    );
    let error = client.resume("abcd", &[]).await.unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), (Reason::JobState, 1));
    assert!(client.delete("abcd", false).await.is_err());
    assert!(is_final(client.cancel("abcd").await.unwrap().state()));
    assert_eq!(
        client.retry("abcd").await.unwrap().state(),
        JobState::Queued
    );
    client.delete("abcd", true).await.unwrap();
    assert!(client.job("abcd").await.is_err());
    let calls = daemon.seen.calls();
    assert!(calls[1].starts_with("resume[0, 3] abcd"), "{calls:?}");
}

#[tokio::test]
async fn a_plan_names_the_settings() {
    let daemon = FakeDaemon::with(Script {
        plan: v1::PlanJobResponse {
            evaluation_count: 20,
            fits: true,
            ..v1::PlanJobResponse::default()
        },
        ..Script::default()
    });
    let plan = connect(&daemon)
        .await
        .plan(GenerateRequest::new("x"))
        .await
        .unwrap();
    assert!(plan.fits && plan.evaluation_count == 20 && plan.settings.is_some());
}

#[tokio::test]
async fn a_watch_that_the_daemon_ends_says_why() {
    let mut fake = FakeJob::new("abcd", JobState::Running, 1).drawing();
    let draining = Failure::new(Reason::Draining, "imgd is ending");
    fake.events[1] = Act::Fail(draining);
    let daemon = daemon(vec![fake]);
    let mut watch = connect(&daemon).await.watch("abcd", 0).await.unwrap();
    watch.next().await.unwrap().unwrap();
    let error = watch.next().await.unwrap().unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), (Reason::Draining, 75));
}
