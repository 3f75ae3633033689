//! A daemon that does as a test says: the contract's services on a private socket, without an engine.
//!
//! Shared by the tests of the client and of imgctl.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test uses its part"
)]

pub(crate) mod jobs;
pub(crate) mod models;

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use imgd_proto::{
    Failure, PROTOCOL, Reason,
    socket::prepare_directory,
    v1::{
        self,
        daemon_service_server::{DaemonService, DaemonServiceServer},
        generate_response::Event,
        image_service_server::{ImageService, ImageServiceServer},
        job_service_server::JobServiceServer,
        model_service_server::ModelServiceServer,
    },
};
use tokio::{net::UnixListener, sync::Notify};
use tokio_stream::{Stream, StreamExt as _, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, transport::Server};

/// What the daemon does on a stream, one after another.
#[derive(Debug, Clone)]
pub(crate) enum Act<E = Event> {
    /// Sends an event.
    Send(E),
    /// Ends with a failure.
    Fail(Failure),
    /// Sends nothing for so long.
    Wait(Duration),
    /// Breaks the connection.
    Vanish,
    /// Ends the stream as a broken connection does, and stays.
    Lose,
}

/// How the daemon is.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) status: v1::GetStatusResponse,
    pub(crate) acts: Vec<Act>,
    /// The jobs it has, newest first.
    pub(crate) jobs: Vec<jobs::FakeJob>,
    /// What it says to every request to plan.
    pub(crate) plan: v1::PlanJobResponse,
    /// Why it refuses the first submissions, the last of these first.
    pub(crate) refusals: Vec<Failure>,
}

impl Default for Script {
    fn default() -> Self {
        let status = v1::GetStatusResponse {
            version: "0.0.0".into(),
            protocol: PROTOCOL,
            pid: std::process::id(),
            started_by: v1::StartedBy::Hand.into(),
            queue: Some(v1::Queue {
                waiting: 0,
                running: 0,
                capacity: 8,
                ..v1::Queue::default()
            }),
            ..v1::GetStatusResponse::default()
        };
        Self {
            status,
            acts: picture(7, b"picture"),
            jobs: Vec::new(),
            plan: v1::PlanJobResponse::default(),
            refusals: Vec::new(),
        }
    }
}

/// The events of a picture of one step.
pub(crate) fn picture(seed: u64, bytes: &[u8]) -> Vec<Act> {
    let settings = settings(seed);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let chunk = |data: &[u8], offset: usize, last| v1::ImageChunk {
        image_index: 0,
        data: data.to_vec().into(),
        offset: offset as u64,
        total_bytes: bytes.len() as u64,
        last,
        metadata: None,
    };
    let metadata = metadata(seed, bytes);
    [
        Event::Queued(v1::Queued {
            position: 0,
            request_id: String::new(),
            priority: 1,
        }),
        Event::Started(v1::Started {
            image_index: 0,
            image_count: 1,
            settings: Some(settings),
            evaluation_count: 1,
            evaluations_done: 0,
        }),
        step(1, 1),
        Event::Image(v1::ImageChunk {
            metadata: Some(metadata),
            ..chunk(first, 0, false)
        }),
        Event::Image(chunk(second, first.len(), true)),
        Event::Finished(v1::Finished {
            image_count: 1,
            ..v1::Finished::default()
        }),
    ]
    .map(Act::Send)
    .into()
}

/// What a picture of these bytes is.
pub(crate) fn metadata(seed: u64, bytes: &[u8]) -> v1::ImageMetadata {
    v1::ImageMetadata {
        format: v1::ImageFormat::Png.into(),
        settings: Some(settings(seed)),
        model_hash: "feed".into(),
        sha256: imgd_client::sha256_hex(bytes),
        parameters: "a red apple".into(),
    }
}

/// The settings of a picture.
pub(crate) fn settings(seed: u64) -> v1::Settings {
    v1::Settings {
        model: "starter".into(),
        width_px: 256,
        height_px: 256,
        num_inference_steps: 1,
        guidance_scale: 3.5,
        seed,
        sampler: "dpmpp_2m".into(),
        schedule: "normal".into(),
        prediction: "v_prediction".into(),
        clip_skip: 1,
        precision: v1::Precision::F32.into(),
        ..v1::Settings::default()
    }
}

/// One step.
pub(crate) fn step(index: u32, count: u32) -> Event {
    Event::Step(v1::Step {
        image_index: 0,
        index,
        count,
        inference_step: index,
        sigma: 0.5,
        eta: None,
        preview: None,
    })
}

/// What a daemon has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: Mutex<Vec<v1::GenerateRequest>>,
    pub(crate) submissions: Mutex<Vec<v1::SubmitJobRequest>>,
    /// Calls about jobs, e.g. `pause 0123…`.
    pub(crate) calls: Mutex<Vec<String>>,
    /// The names of clients that asked for pictures.
    pub(crate) clients: Mutex<Vec<Option<String>>>,
    /// The jobs as they are now, newest first.
    pub(crate) jobs: Mutex<Vec<jobs::FakeJob>>,
    /// Refusals that are still to come.
    pub(crate) refusals: Mutex<Vec<Failure>>,
    /// A stream was dropped before its end.
    pub(crate) cancelled: AtomicBool,
    pub(crate) shutdowns: AtomicU32,
    end: Notify,
    vanish: Notify,
}

impl Seen {
    fn note_client(&self, metadata: &tonic::metadata::MetadataMap) {
        let name = metadata
            .get(imgd_proto::CLIENT_NAME_METADATA)
            .map(|name| name.to_str().unwrap().to_owned());
        self.clients.lock().unwrap().push(name);
    }

    /// The calls about jobs so far.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

/// A daemon that runs on a thread of the test.
pub(crate) struct FakeDaemon {
    pub(crate) socket: PathBuf,
    pub(crate) seen: Arc<Seen>,
    pub(crate) folder: tempfile::TempDir,
    thread: Option<thread::JoinHandle<()>>,
}

impl FakeDaemon {
    /// Starts a daemon that draws one picture.
    pub(crate) fn start() -> Self {
        Self::with(Script::default())
    }

    /// Starts a daemon that follows a script.
    pub(crate) fn with(script: Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        prepare_directory(&run, rustix::process::getuid().as_raw()).unwrap();
        let socket = run.join("imgd.sock");
        let seen = Arc::new(Seen::default());
        let thread = {
            let (socket, seen) = (socket.clone(), seen.clone());
            thread::spawn(move || serve(&socket, script, &seen))
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        // It is there before anyone listens on it.
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "the fake daemon does not listen");
            thread::sleep(Duration::from_millis(1));
        }
        Self {
            socket,
            seen,
            folder,
            thread: Some(thread),
        }
    }

    /// Whether a stream is seen to be cancelled within a second.
    pub(crate) fn sees_cancel(&self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(1);
        while Instant::now() < deadline {
            if self.seen.cancelled.load(Ordering::SeqCst) {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        self.seen.end.notify_one();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the fake daemon ends well");
        }
    }
}

/// Serves on `socket` until a shutdown is asked for.
pub(crate) fn serve(socket: &Path, script: Script, seen: &Arc<Seen>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    *seen.jobs.lock().unwrap() = script.jobs.clone();
    *seen.refusals.lock().unwrap() = script.refusals.clone();
    runtime.block_on(async {
        let listener = UnixListener::bind(socket).unwrap();
        let service = Service {
            script: Arc::new(script),
            seen: seen.clone(),
        };
        let server = Server::builder()
            .add_service(DaemonServiceServer::new(service.clone()))
            .add_service(ModelServiceServer::new(service.clone()))
            .add_service(JobServiceServer::new(service.clone()))
            .add_service(ImageServiceServer::new(service))
            .serve_with_incoming(UnixListenerStream::new(listener));
        tokio::select! {
            outcome = server => outcome.unwrap(),
            () = seen.end.notified() => {}
            () = seen.vanish.notified() => {}
        }
    });
    std::fs::remove_file(socket).unwrap();
}

#[derive(Clone)]
struct Service {
    script: Arc<Script>,
    seen: Arc<Seen>,
}

#[tonic::async_trait]
impl DaemonService for Service {
    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        Ok(Response::new(self.script.status.clone()))
    }

    async fn shutdown(
        &self,
        request: Request<v1::ShutdownRequest>,
    ) -> Result<Response<v1::ShutdownResponse>, Status> {
        let is_busy = self
            .script
            .status
            .queue
            .as_ref()
            .is_some_and(|queue| queue.running > 0);
        if request.get_ref().if_idle && is_busy {
            return Err(Failure::new(Reason::NotIdle, "at work").into());
        }
        self.seen.shutdowns.fetch_add(1, Ordering::SeqCst);
        let seen = self.seen.clone();
        // After the answer.
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            seen.end.notify_one();
        });
        Ok(Response::new(v1::ShutdownResponse {}))
    }
}

/// Notes when a stream is dropped before its end.
struct Guard {
    seen: Arc<Seen>,
    is_done: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.is_done {
            self.seen.cancelled.store(true, Ordering::SeqCst);
        }
    }
}

#[tonic::async_trait]
impl ImageService for Service {
    type GenerateStream = Pin<Box<dyn Stream<Item = Result<v1::GenerateResponse, Status>> + Send>>;

    async fn generate(
        &self,
        request: Request<v1::GenerateRequest>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        self.seen.note_client(request.metadata());
        self.seen
            .requests
            .lock()
            .unwrap()
            .push(request.into_inner());
        if let Some(Act::Fail(failure)) = self.script.acts.first() {
            return Err(failure.to_status());
        }
        let mut guard = Guard {
            seen: self.seen.clone(),
            is_done: false,
        };
        let count = self.script.acts.len();
        let responses = play(
            self.script.acts.clone(),
            self.seen.clone(),
            move |i, event| {
                // The whole guard, not a copy of its field.
                let guard = &mut guard;
                guard.is_done = i + 1 == count;
                event.map(|event| v1::GenerateResponse {
                    job_id: "job-1".into(),
                    sequence: i as u64,
                    event: Some(event),
                })
            },
        );
        Ok(Response::new(responses))
    }
}

/// Does the acts one after another; `wrap` is told of each and makes a message of its event.
fn play<E: Send + 'static, M: Send + 'static>(
    acts: Vec<Act<E>>,
    seen: Arc<Seen>,
    mut wrap: impl FnMut(usize, Option<E>) -> Option<M> + Send + 'static,
) -> Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>> {
    let acts = tokio_stream::iter(acts.into_iter().enumerate());
    let messages = acts.then(move |(i, act)| {
        let seen = seen.clone();
        let (event, other) = match act {
            Act::Send(event) => (Some(event), None),
            other => (None, Some(other)),
        };
        let message = wrap(i, event);
        async move {
            match other {
                None | Some(Act::Send(_)) => message.map(Ok),
                Some(Act::Fail(failure)) => Some(Err(failure.to_status())),
                Some(Act::Lose) => Some(Err(Status::unavailable("broken pipe"))),
                Some(Act::Wait(time)) => {
                    tokio::time::sleep(time).await;
                    None
                }
                Some(Act::Vanish) => {
                    seen.vanish.notify_one();
                    std::future::pending().await
                }
            }
        }
    });
    Box::pin(messages.filter_map(|item| item))
}
