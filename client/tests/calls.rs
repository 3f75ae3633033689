//! Calls against a daemon that does as the test says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use imgd_client::{
    Client, ConnectOptions, Error, Event, GenerateRequest, KeepAlive, Precision, Reason, v1,
};
use imgd_proto::{Failure, v1::generate_response};
use support::{Act, FakeDaemon, Script, picture, step};

fn options(daemon: &FakeDaemon) -> ConnectOptions {
    ConnectOptions {
        socket: Some(daemon.socket.clone()),
        autostart: false,
        ..ConnectOptions::default()
    }
}

async fn connect(daemon: &FakeDaemon) -> Client {
    Client::connect(options(daemon)).await.unwrap()
}

async fn failure_of(acts: Vec<Act>) -> Error {
    let daemon = FakeDaemon::with(Script {
        acts,
        ..Script::default()
    });
    let client = connect(&daemon).await;
    client
        .generate_images(GenerateRequest::new("x"))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn pictures_are_put_together_from_their_parts() {
    let daemon = FakeDaemon::with(Script {
        acts: picture(7, &[9; 1001]),
        ..Script::default()
    });
    let images = connect(&daemon)
        .await
        .generate_images(GenerateRequest::new("x"))
        .await
        .unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].bytes, [9; 1001]);
    assert_eq!(images[0].settings.seed, 7);
}

#[tokio::test]
async fn events_come_in_order_and_end_after_the_last() {
    let daemon = FakeDaemon::start();
    let mut generation = connect(&daemon)
        .await
        .generate(GenerateRequest::new("x"))
        .await
        .unwrap();
    let mut names = Vec::new();
    while let Some(event) = generation.next().await {
        names.push(match event.unwrap() {
            Event::Queued { .. } => "queued",
            Event::Started(_) => "started",
            Event::Step(_) => "step",
            Event::Image(_) => "image",
            Event::Finished(_) => "finished",
            _ => "other",
        });
    }
    assert_eq!(names, ["queued", "started", "step", "image", "finished"]);
    assert_eq!(generation.job_id(), "job-1");
    assert!(generation.next().await.is_none());
}

#[tokio::test]
async fn every_field_travels() {
    let daemon = FakeDaemon::start();
    let mut request = GenerateRequest::new("x");
    request.negative_prompt = Some(String::new());
    request.keep_alive = Some(KeepAlive::Forever);
    request.timeout = Some(Duration::from_millis(1500));
    request.model = Some("m".into());
    connect(&daemon)
        .await
        .generate_images(request)
        .await
        .unwrap();
    let seen = daemon.seen.requests.lock().unwrap()[0].clone();
    assert_eq!(seen.negative_prompt.as_deref(), Some(""));
    assert!(seen.keep_alive.unwrap().seconds < 0);
    assert_eq!(seen.timeout.unwrap().nanos, 500_000_000);
    assert_eq!((seen.model.as_str(), seen.seed), ("m", None));
}

#[tokio::test]
async fn dropping_the_stream_cancels_the_work() {
    let steps = (1..=1000).flat_map(|i| {
        [
            Act::Send(step(i, 1000)),
            Act::Wait(Duration::from_millis(10)),
        ]
    });
    let daemon = FakeDaemon::with(Script {
        acts: steps.collect(),
        ..Script::default()
    });
    let mut generation = connect(&daemon)
        .await
        .generate(GenerateRequest::new("x"))
        .await
        .unwrap();
    generation.next().await.unwrap().unwrap();
    drop(generation);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(daemon.sees_cancel());
    let daemon = FakeDaemon::start();
    connect(&daemon)
        .await
        .generate_images(GenerateRequest::new("x"))
        .await
        .unwrap();
    assert!(!daemon.sees_cancel(), "what is finished is not cancelled");
}

#[tokio::test]
async fn refusals_keep_reason_field_and_hint() {
    let refusal = Failure::invalid("sampler", "sampler `dpm++2m` is not known")
        .with_hint("did you mean `dpmpp_2m`?");
    let error = failure_of(vec![Act::Fail(refusal)]).await;
    assert_eq!(error.to_string(), "sampler `dpm++2m` is not known");
    assert_eq!(error.field(), Some("sampler"));
    assert_eq!(error.hint().as_deref(), Some("did you mean `dpmpp_2m`?"));
    assert_eq!(
        (error.reason(), error.exit_code()),
        (Reason::InvalidField, 2)
    );
}

#[tokio::test]
async fn a_failure_in_the_middle_is_the_last_event() {
    let died = Failure::new(Reason::WorkerDied, "the worker was ended by signal 9");
    let error = failure_of(vec![Act::Send(step(1, 2)), Act::Fail(died)]).await;
    assert_eq!((error.reason(), error.exit_code()), (Reason::WorkerDied, 1));
}

#[tokio::test]
async fn a_daemon_that_vanishes_is_a_lost_connection() {
    let error = failure_of(vec![Act::Send(step(1, 2)), Act::Vanish]).await;
    assert!(matches!(error, Error::Lost(_)), "{error:?}");
    assert_eq!(error.exit_code(), 69);
}

#[tokio::test]
async fn a_daemon_that_breaks_the_contract_is_found_out() {
    let image = |chunk| Act::Send(generate_response::Event::Image(chunk));
    let metadata = Some(v1::ImageMetadata::default());
    let chunk = v1::ImageChunk {
        data: vec![1, 2].into(),
        total_bytes: 4,
        metadata: metadata.clone(),
        ..v1::ImageChunk::default()
    };
    for acts in [
        vec![Act::Send(step(1, 2))],
        vec![image(v1::ImageChunk {
            metadata: None,
            ..chunk.clone()
        })],
        vec![image(v1::ImageChunk {
            last: true,
            ..chunk.clone()
        })],
        vec![image(v1::ImageChunk {
            total_bytes: u64::MAX,
            ..chunk.clone()
        })],
        vec![
            image(chunk.clone()),
            image(v1::ImageChunk {
                offset: 3,
                ..chunk.clone()
            }),
        ],
        vec![
            image(chunk.clone()),
            image(v1::ImageChunk {
                offset: 2,
                ..chunk.clone()
            }),
        ],
    ] {
        let error = failure_of(acts.clone()).await;
        assert!(matches!(error, Error::Contract(_)), "{acts:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_timeout_is_kept_when_the_daemon_forgets_it() {
    let acts = vec![Act::Send(step(1, 2)), Act::Wait(Duration::from_secs(60))];
    let daemon = FakeDaemon::with(Script {
        acts,
        ..Script::default()
    });
    let mut request = GenerateRequest::new("x");
    request.timeout = Some(Duration::from_millis(50));
    let error = connect(&daemon)
        .await
        .generate_images(request)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert_eq!(error.exit_code(), 75);
}

#[tokio::test]
async fn a_daemon_of_another_protocol_is_refused_but_can_be_ended() {
    let mut script = Script::default();
    script.status.protocol += 1;
    let daemon = FakeDaemon::with(script);
    let error = Client::connect(options(&daemon)).await.unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert_eq!(error.exit_code(), 69);
    let unchecked = ConnectOptions {
        check_protocol: false,
        ..options(&daemon)
    };
    Client::connect(unchecked)
        .await
        .unwrap()
        .shutdown(false)
        .await
        .unwrap();
    assert!(!daemon.socket.exists());
}

#[tokio::test]
async fn models_and_samplers_are_told() {
    let daemon = FakeDaemon::start();
    let client = connect(&daemon).await;
    assert_eq!(client.models().await.unwrap().models[1].path, "/models/xl");
    assert_eq!(client.model(Some("xl")).await.unwrap().name, "xl");
    assert_eq!(client.samplers().await.unwrap().samplers.len(), 3);
    assert!(client.unload("starter").await.unwrap());
    assert!(!client.unload("xl").await.unwrap());
    assert_eq!(client.unload("nonesuch").await.unwrap_err().exit_code(), 2);
    let loading = client
        .load(
            None,
            None,
            Vec::new(),
            Some(KeepAlive::Forever),
            Precision::F32,
        )
        .await
        .unwrap();
    let mut fractions = Vec::new();
    let loaded = loading
        .finish(|fraction| fractions.push(fraction))
        .await
        .unwrap();
    assert_eq!(
        (loaded.name.as_str(), &fractions[..]),
        ("starter", &[0.5][..])
    );
}
