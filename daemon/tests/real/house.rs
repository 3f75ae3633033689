//! A daemon in a private place, and what tests ask it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use hyper_util::rt::TokioIo;
use imgd_proto::v1::{
    self, daemon_service_client::DaemonServiceClient, generate_response::Event,
    image_service_client::ImageServiceClient,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::UnixStream,
    time::{sleep, timeout},
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// More than anything takes that is not stuck, on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon as a process of its own.
pub(crate) struct House {
    child: Child,
    home: tempfile::TempDir,
}

fn spawn(home: &Path, change: impl FnOnce(&mut Command)) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgd"));
    command
        .env_clear()
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    change(&mut command);
    command.spawn().unwrap()
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// `change` may add arguments and environment.
    pub(crate) async fn with(change: impl FnOnce(&mut Command)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let child = spawn(home.path(), change);
        let house = Self { child, home };
        house.serves().await;
        house
    }

    /// Starts a daemon in the same place; the one before has ended.
    pub(crate) async fn start_again(&mut self, change: impl FnOnce(&mut Command)) {
        self.child = spawn(self.home.path(), change);
        self.serves().await;
    }

    async fn serves(&self) {
        let start = Instant::now();
        while UnixStream::connect(self.socket()).await.is_err() {
            assert!(start.elapsed() < PATIENCE, "no socket");
            sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("imgd/imgd.sock")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the daemon's end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the daemon does not end");
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn raw(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }

    pub(crate) async fn channel(&self) -> Channel {
        let path = self.socket();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://imgd")
            .connect_with_connector(connector)
            .await
            .unwrap()
    }

    pub(crate) async fn status(&self) -> v1::GetStatusResponse {
        let mut client = DaemonServiceClient::new(self.channel().await);
        let status = client.get_status(v1::GetStatusRequest {});
        timeout(PATIENCE, status)
            .await
            .unwrap()
            .unwrap()
            .into_inner()
    }

    /// Whether a layer of the sandbox holds, by the daemon's own word.
    pub(crate) async fn sandbox_says(&self, name: &str) -> Option<bool> {
        let status = self.status().await;
        let mut layers = status.sandbox.into_iter();
        layers
            .find(|layer| layer.name == name)
            .map(|layer| layer.in_force)
    }

    /// Draws one real picture over a connection of its own: its file and what it is.
    pub(crate) async fn picture(&self, request: v1::GenerateRequest) -> Drawn {
        generate(&self.channel().await, request).await.unwrap()
    }

    /// Open descriptors of the daemon and of its worker; `None` where this user may not count them.
    pub(crate) fn descriptors(&self) -> io::Result<(usize, usize)> {
        let count = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count);
        let worker = match self.worker() {
            Some(worker) => count(worker)?,
            None => 0,
        };
        Ok((count(self.pid())?, worker))
    }

    /// Process id of the worker: the spawner's child.
    pub(crate) fn worker(&self) -> Option<u32> {
        children(self.pid()).into_iter().flat_map(children).next()
    }

    /// Waits until there are no more descriptors than `base`; says how many there are when time is over.
    pub(crate) async fn descriptors_are_back(&self, base: (usize, usize)) {
        let start = Instant::now();
        loop {
            let now = self.descriptors().unwrap();
            if now.0 <= base.0 && now.1 <= base.1 {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{now:?} descriptors of daemon and worker, {base:?} before"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until nothing waits or runs.
    pub(crate) async fn queue_is_empty(&self) {
        let start = Instant::now();
        loop {
            let queue = self.status().await.queue.unwrap();
            if (queue.waiting, queue.running) == (0, 0) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{queue:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(path).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

/// A picture that was drawn.
pub(crate) struct Drawn {
    pub(crate) file: Vec<u8>,
    pub(crate) metadata: v1::ImageMetadata,
}

/// Runs a request to its end: the last picture, or why there is none.
pub(crate) async fn generate(
    channel: &Channel,
    request: v1::GenerateRequest,
) -> Result<Drawn, Status> {
    let mut client = ImageServiceClient::new(channel.clone());
    let mut stream = client.generate(request).await?.into_inner();
    let (mut file, mut metadata) = (Vec::new(), None);
    loop {
        let next = timeout(PATIENCE, stream.message());
        match next.await.expect("the stream goes on")? {
            None => {
                let metadata = metadata.ok_or_else(|| Status::unknown("no picture came"))?;
                return Ok(Drawn { file, metadata });
            }
            Some(v1::GenerateResponse {
                event: Some(Event::Image(chunk)),
                ..
            }) => {
                if chunk.metadata.is_some() {
                    file.clear();
                    metadata = chunk.metadata;
                }
                file.extend_from_slice(&chunk.data);
            }
            Some(_) => {}
        }
    }
}

/// A request that takes no longer than it must.
pub(crate) fn small() -> v1::GenerateRequest {
    v1::GenerateRequest {
        prompt: "a red apple".to_owned(),
        width_px: Some(64),
        height_px: Some(64),
        num_inference_steps: Some(1),
        seed: Some(7),
        ..v1::GenerateRequest::default()
    }
}
