//! A daemon on a real socket, with an engine that computes nothing.

use std::{path::PathBuf, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use imgd_proto::{
    limits::IMAGE_CHUNK_BYTES,
    socket::{Location, Origin},
    v1::{
        self, daemon_service_client::DaemonServiceClient, generate_response::Event,
        image_service_client::ImageServiceClient, model_service_client::ModelServiceClient,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tonic::{
    Code, Request,
    transport::{Channel, Endpoint},
};

use super::{Limits, Running, listen, run};
use crate::{
    config::DeviceSetting,
    failure::{Failure, Reason},
    fake_engine::{FakeFactory, Record},
    journal::{self, Journal},
    keep_alive::KeepAlive,
    sandbox::Processes,
    scheduler::Options,
    services::{Identity, Names},
};

const SOON: Duration = Duration::from_secs(10);

struct House {
    path: PathBuf,
    record: Arc<Record>,
    daemon: JoinHandle<std::io::Result<()>>,
    _directory: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Running)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d/imgd.sock");
        let listening = listen(&Location {
            path: path.clone(),
            origin: Origin::Explicit,
        })
        .unwrap();
        let engines = FakeFactory::new(Duration::from_millis(5));
        let record = Arc::clone(&engines.record);
        let model = |name: &str| {
            let path = PathBuf::from("/nonexistent").join(name);
            (name.to_owned(), path.into())
        };
        let (journal, recovered) =
            Journal::open(&directory.path().join("data"), journal::Limits::default()).unwrap();
        let mut running = Running {
            listening,
            recovered,
            limits: Limits {
                max_connections: 24,
                first_byte_timeout: Duration::from_millis(300),
            },
            scheduler: Options {
                engines: Arc::new(engines),
                journal,
                queue_capacity: 8,
                capacity_per_client: 8,
                keep_alive: KeepAlive::Forever,
                max_memory_bytes: None,
                available_bytes: || 1 << 30,
                background: crate::courtesy::Rules::default(),
                build_id: "build".to_owned(),
                watchdog: None,
                save_interval: Duration::from_secs(1),
                patience: Duration::from_secs(60),
            },
            names: Names {
                models: [model("m"), model("broken"), model("huge")].into(),
                default_model: "m".to_owned(),
                ..Names::bare()
            },
            identity: Identity {
                started: std::time::Instant::now(),
                started_by: v1::StartedBy::Hand,
                build_id: "build".to_owned(),
                device: DeviceSetting::Auto,
                socket: path.clone(),
                queue_capacity: 8,
                capacity_per_client: 8,
                features: Vec::new(),
            },
            processes: Processes::none(),
            drain_timeout: Duration::from_secs(5),
            idle_exit: None,
            is_private: false,
        };
        change(&mut running);
        Self {
            path,
            record,
            daemon: tokio::spawn(run(running)),
            _directory: directory,
        }
    }

    async fn channel(&self) -> Channel {
        let path = self.path.clone();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://imgd")
            .connect_with_connector(connector)
            .await
            .unwrap()
    }

    async fn raw(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }

    async fn status(&self) -> v1::GetStatusResponse {
        let mut client = DaemonServiceClient::new(self.channel().await);
        client
            .get_status(v1::GetStatusRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    async fn generate(&self, request: impl tonic::IntoRequest<v1::GenerateRequest>) -> Answer {
        let mut client = ImageServiceClient::new(self.channel().await);
        let stream = client.generate(request).await;
        let mut stream = match stream {
            Ok(stream) => stream.into_inner(),
            Err(status) => {
                return Answer {
                    events: Vec::new(),
                    failure: Some(Failure::from_status(&status)),
                };
            }
        };
        let mut events = Vec::new();
        let failure = loop {
            match timeout(SOON, stream.message())
                .await
                .expect("the stream goes on")
            {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break None,
                Err(status) => break Some(Failure::from_status(&status)),
            }
        };
        Answer { events, failure }
    }
}

struct Answer {
    events: Vec<v1::GenerateResponse>,
    failure: Option<Failure>,
}

fn request(prompt: &str, steps: u32) -> v1::GenerateRequest {
    v1::GenerateRequest {
        prompt: prompt.to_owned(),
        num_inference_steps: Some(steps),
        seed: Some(7),
        ..v1::GenerateRequest::default()
    }
}

#[tokio::test]
async fn events_are_numbered_without_gaps_and_pictures_come_in_chunks() {
    let house = House::new();
    let Answer { events, failure } = house.generate(request("large", 3)).await;
    assert_eq!(failure, None);
    assert!(
        events
            .iter()
            .zip(0..)
            .all(|(event, index)| event.sequence == index)
    );
    assert!(
        events
            .iter()
            .all(|event| event.job_id == events[0].job_id && !event.job_id.is_empty())
    );
    assert!(matches!(events[0].event, Some(Event::Queued(_))));
    assert!(matches!(
        events.last().unwrap().event,
        Some(Event::Finished(_))
    ));
    let chunks: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.event {
            Some(Event::Image(chunk)) => Some(chunk),
            _ => None,
        })
        .collect();
    assert_eq!(chunks.len(), 3);
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk.data.len() <= IMAGE_CHUNK_BYTES && chunk.total_bytes == 700_000)
    );
    assert_eq!(
        chunks.iter().map(|chunk| chunk.data.len()).sum::<usize>(),
        700_000
    );
    assert!(chunks[0].metadata.is_some() && chunks[1].metadata.is_none());
    assert!(chunks[2].last && !chunks[1].last);
}

#[tokio::test]
async fn a_deadline_ends_a_stream_and_its_work() {
    let house = House::new();
    let mut by_header = Request::new(request("slow", 1000));
    by_header.set_timeout(Duration::from_millis(200));
    let by_field = Request::new(v1::GenerateRequest {
        timeout: Some(prost_types::Duration {
            seconds: 0,
            nanos: 200_000_000,
        }),
        ..request("slow", 1000)
    });
    for asked in [by_header, by_field] {
        let before = Instant::now();
        let answer = house.generate(asked).await;
        assert_eq!(answer.failure.unwrap().reason, Reason::DeadlineExceeded);
        assert!(before.elapsed() < Duration::from_secs(3));
        let steps = house.record.count("step slow");
        sleep(Duration::from_millis(100)).await;
        assert!(
            house.record.count("step slow") <= steps + 1,
            "the work goes on"
        );
    }
}

#[tokio::test]
async fn waiting_counts_against_the_deadline() {
    let house = House::new();
    let mut client = ImageServiceClient::new(house.channel().await);
    let _running = client.generate(request("hang", 1000)).await.unwrap();
    while house.record.count("step hang") == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let mut asked = Request::new(request("late", 1));
    asked.set_timeout(Duration::from_millis(100));
    assert_eq!(
        house.generate(asked).await.failure.unwrap().reason,
        Reason::DeadlineExceeded
    );
    assert_eq!(house.record.count("begin late"), 0);
}

#[tokio::test]
async fn closing_the_stream_stops_the_work() {
    let house = House::new();
    let mut client = ImageServiceClient::new(house.channel().await);
    let mut stream = client
        .generate(request("left", 1000))
        .await
        .unwrap()
        .into_inner();
    while house.record.count("step left") < 3 {
        stream.message().await.unwrap();
    }
    drop(stream);
    timeout(SOON, async {
        while house.record.count("forget left") == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert!(house.record.count("step left") < 50);
}

#[tokio::test]
async fn bad_requests_name_their_field_and_the_daemon_goes_on() {
    let house = House::new();
    let cases = [
        (
            v1::GenerateRequest {
                model: "n".into(),
                ..request("a", 1)
            },
            "model",
            Reason::ModelNotFound,
        ),
        (
            v1::GenerateRequest {
                sampler: "eulr".into(),
                ..request("a", 1)
            },
            "sampler",
            Reason::InvalidField,
        ),
        (
            v1::GenerateRequest {
                schedule: "karas".into(),
                ..request("a", 1)
            },
            "schedule",
            Reason::InvalidField,
        ),
        (
            v1::GenerateRequest {
                width_px: Some(7),
                ..request("a", 1)
            },
            "width_px",
            Reason::InvalidField,
        ),
        (
            v1::GenerateRequest {
                guidance_scale: Some(f64::NAN),
                ..request("a", 1)
            },
            "guidance_scale",
            Reason::InvalidField,
        ),
        (request("a", 0), "num_inference_steps", Reason::InvalidField),
        (
            v1::GenerateRequest {
                num_images: Some(10_001),
                ..request("a", 1)
            },
            "num_images",
            Reason::InvalidField,
        ),
        (
            request(&"x".repeat(40_000), 1),
            "prompt",
            Reason::InvalidField,
        ),
    ];
    for round in 0..200 {
        let (bad, field, reason) = &cases[round % cases.len()];
        let failure = house.generate(bad.clone()).await.failure.unwrap();
        assert_eq!(
            (failure.field.as_deref(), failure.reason),
            (Some(*field), *reason)
        );
    }
    let broken = v1::GenerateRequest {
        model: "broken".into(),
        ..request("a", 1)
    };
    assert_eq!(
        house.generate(broken).await.failure.unwrap().reason,
        Reason::ModelInvalid
    );
    assert_eq!(house.generate(request("good", 1)).await.failure, None);
}

#[tokio::test]
async fn what_the_framework_refuses_is_told_like_everything_else() {
    let house = House::new();
    let failure = house
        .generate(request(&"x".repeat(40 << 20), 1))
        .await
        .failure
        .unwrap();
    assert_eq!(failure.reason, Reason::MessageTooLarge);
    let mut client = ImageServiceClient::new(house.channel().await);
    let mut unsound = Request::new(request("a", 1));
    unsound
        .metadata_mut()
        .insert("grpc-encoding", "nonsense".parse().unwrap());
    let status = client.generate(unsound).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(!status.details().is_empty());
    assert_eq!(house.status().await.protocol, imgd_proto::PROTOCOL);
}

#[tokio::test]
async fn status_models_and_samplers_are_told() {
    let house = House::new();
    house.generate(request("a", 1)).await;
    let status = house.status().await;
    assert_eq!(
        (status.build_id.as_str(), status.device_setting.as_str()),
        ("build", "auto")
    );
    assert_eq!(status.models[0].name, "m");
    assert_eq!(status.queue.unwrap().capacity, 8);
    assert!(status.devices[0].in_use);
    let layer = |name: &str| {
        status
            .sandbox
            .iter()
            .find(|layer| layer.name == name)
            .unwrap()
            .in_force
    };
    assert!(layer("peer_uid") && !layer("seccomp"));
    let mut client = ModelServiceClient::new(house.channel().await);
    let models = client
        .list_models(v1::ListModelsRequest {})
        .await
        .unwrap()
        .into_inner()
        .models;
    assert!(models[0].is_default && models[0].is_loaded && models[0].name == "m");
    let model = client
        .get_model(v1::GetModelRequest {
            model: "m".into(),
            ..v1::GetModelRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(model.model.unwrap().path, "/nonexistent/m");
    let unload = v1::UnloadModelRequest { model: "m".into() };
    assert!(
        client
            .unload_model(unload.clone())
            .await
            .unwrap()
            .into_inner()
            .was_loaded
    );
    assert!(
        !client
            .unload_model(unload)
            .await
            .unwrap()
            .into_inner()
            .was_loaded
    );
    let samplers = client
        .list_samplers(v1::ListSamplersRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(
        samplers
            .samplers
            .iter()
            .any(|sampler| sampler.name == "dpmpp_2m" && !sampler.schedules.is_empty())
    );
    let load = v1::LoadModelRequest {
        model: "m".into(),
        ..v1::LoadModelRequest::default()
    };
    let mut stream = client.load_model(load).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = stream.message().await.unwrap() {
        last = message.event;
    }
    assert!(
        matches!(last, Some(v1::load_model_response::Event::Loaded(_))),
        "{last:?}"
    );
}

#[tokio::test]
async fn status_is_told_quickly_over_a_kept_connection() {
    let house = House::new();
    let mut client = DaemonServiceClient::new(house.channel().await);
    let mut times = Vec::new();
    for _ in 0..300 {
        let before = Instant::now();
        client.get_status(v1::GetStatusRequest {}).await.unwrap();
        times.push(before.elapsed());
    }
    times.sort_unstable();
    eprintln!("GetStatus p50 {:?}", times[150]);
    // 1 ms with the release build; this one is slow, and tests share the machine.
    assert!(times[150] < Duration::from_millis(10), "{:?}", times[150]);
}

#[tokio::test]
async fn health_is_told() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let house = House::new();
    let mut client = HealthClient::new(house.channel().await);
    let check = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = client
        .check(check("imgd.v1.ImageService"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.status, 1);
    assert_eq!(
        client.check(check("nothing")).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};
    let house = House::new();
    let channel = house.channel().await;
    let listed = {
        use v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
        let stream = client
            .server_reflection_info(tokio_stream::once(ask))
            .await
            .unwrap();
        format!("{:?}", stream.into_inner().message().await.unwrap())
    };
    let listed_alpha = {
        use v1alpha::{ServerReflectionRequest, server_reflection_request::MessageRequest};
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
        let stream = client
            .server_reflection_info(tokio_stream::once(ask))
            .await
            .unwrap();
        format!("{:?}", stream.into_inner().message().await.unwrap())
    };
    for service in [
        "imgd.v1.ImageService",
        "imgd.v1.ModelService",
        "imgd.v1.DaemonService",
        "grpc.health.v1.Health",
    ] {
        assert!(
            listed.contains(service) && listed_alpha.contains(service),
            "{listed} {listed_alpha}"
        );
    }
}

#[tokio::test]
async fn connections_that_do_not_speak_are_closed() {
    let house = House::new();
    let mut silent = house.raw().await;
    let mut slow = house.raw().await;
    slow.write_all(b"PRI * HT").await.unwrap();
    let mut other = house.raw().await;
    other
        .write_all(b"GET / HTTP/1.1\r\nHost: imgd\r\n\r\n")
        .await
        .unwrap();
    for stream in [&mut silent, &mut slow, &mut other] {
        let mut byte = [0];
        let read = timeout(SOON, stream.read(&mut byte))
            .await
            .expect("closed in time");
        assert!(matches!(read, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn a_flood_of_connections_keeps_nobody_out() {
    let house = House::with(|running| running.limits.first_byte_timeout = Duration::from_secs(60));
    let mut flood = Vec::new();
    for _ in 0..300 {
        flood.push(house.raw().await);
    }
    timeout(SOON, house.status()).await.unwrap();
    // Those that speak have a limit of their own.
    let mut speaking = Vec::new();
    for _ in 0..8 {
        let channel = house.channel().await;
        DaemonServiceClient::new(channel.clone())
            .get_status(v1::GetStatusRequest {})
            .await
            .unwrap();
        speaking.push(channel);
    }
    let path = house.path.clone();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let refused = Endpoint::from_static("http://imgd").connect_with_connector_lazy(connector);
    assert!(
        DaemonServiceClient::new(refused)
            .get_status(v1::GetStatusRequest {})
            .await
            .is_err()
    );
    speaking.pop();
    sleep(Duration::from_millis(200)).await;
    house.status().await;
}

#[tokio::test]
async fn shutdown_drains_and_removes_the_socket_whatever_clients_do() {
    let house = House::new();
    let mut client = ImageServiceClient::new(house.channel().await);
    let mut stream = client
        .generate(request("running", 40))
        .await
        .unwrap()
        .into_inner();
    while house.record.count("step running") == 0 {
        stream.message().await.unwrap();
    }
    let _silent = house.raw().await;
    let mut daemon = DaemonServiceClient::new(house.channel().await);
    let busy = daemon
        .shutdown(v1::ShutdownRequest {
            if_idle: true,
            force: false,
        })
        .await
        .unwrap_err();
    assert_eq!(Failure::from_status(&busy).reason, Reason::NotIdle);
    daemon
        .shutdown(v1::ShutdownRequest::default())
        .await
        .unwrap();
    let refused = house.generate(request("new", 1)).await;
    assert_eq!(refused.failure.unwrap().reason, Reason::Draining);
    let mut last = None;
    while let Some(message) = timeout(SOON, stream.message()).await.unwrap().unwrap() {
        last = message.event;
    }
    assert!(matches!(last, Some(Event::Finished(_))), "{last:?}");
    timeout(Duration::from_secs(20), house.daemon)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(!house.path.exists());
}

#[tokio::test]
async fn a_forced_shutdown_ends_running_work() {
    let house = House::new();
    let mut client = ImageServiceClient::new(house.channel().await);
    let mut stream = client
        .generate(request("running", 1000))
        .await
        .unwrap()
        .into_inner();
    while house.record.count("step running") == 0 {
        stream.message().await.unwrap();
    }
    let mut daemon = DaemonServiceClient::new(house.channel().await);
    daemon
        .shutdown(v1::ShutdownRequest {
            force: true,
            if_idle: false,
        })
        .await
        .unwrap();
    let status = loop {
        match timeout(SOON, stream.message()).await.unwrap() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the work was not finished"),
            Err(status) => break status,
        }
    };
    assert_eq!(Failure::from_status(&status).reason, Reason::Draining);
    timeout(SOON, house.daemon).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_daemon_that_nobody_needs_ends_and_leaves_connections_to_the_next() {
    let mut kept = None;
    let house = House::with(|running| {
        // As a service manager does, which keeps the socket.
        running.listening.is_activated = true;
        running.idle_exit = Some(Duration::from_millis(100));
        kept = running.listening.listener.try_clone().ok();
    });
    let mut client = DaemonServiceClient::new(house.channel().await);
    for _ in 0..5 {
        sleep(Duration::from_millis(100)).await;
        client.get_status(v1::GetStatusRequest {}).await.unwrap();
    }
    drop(client);
    timeout(SOON, house.daemon).await.unwrap().unwrap().unwrap();
    let _waiting = UnixStream::connect(&house.path).await.unwrap();
    assert!(kept.unwrap().accept().is_ok(), "the connection was taken");
}
