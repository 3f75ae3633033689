//! A line to a daemon: the contract's calls over its socket, without the client's comforts.

use std::{
    future::Future,
    path::PathBuf,
    time::{Duration, Instant},
};

use hyper_util::rt::TokioIo;
use imgd_proto::{
    Failure, Reason,
    v1::{
        self, GenerateRequest, GetImageRequest, GetJobRequest, GetStatusRequest, Job, JobState,
        ListImagesRequest, ListJobsRequest, SubmitJobRequest,
        daemon_service_client::DaemonServiceClient, generate_response::Event,
        image_service_client::ImageServiceClient, job_service_client::JobServiceClient,
    },
};
use tokio::{net::UnixStream, time};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

/// A call that has no answer after this long is lost with its connection.
const ATTEMPT: Duration = Duration::from_secs(20);

/// A line to whichever daemon listens on a socket. It is taken up again when the daemon was replaced; calls that were
/// under way fail then. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Line {
    channel: Channel,
}

/// A picture that came to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The file.
    pub bytes: Vec<u8>,
    /// What it is.
    pub metadata: v1::ImageMetadata,
}

impl Line {
    /// A line to the daemon that listens on `socket`, now or when the first call is made. To be made within a runtime.
    pub fn to(socket: impl Into<PathBuf>) -> Self {
        let socket = socket.into();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // the address is not looked at; HTTP/2 wants one
        let channel =
            Endpoint::from_static("http://imgd.invalid").connect_with_connector_lazy(connector);
        Self { channel }
    }

    /// The calls about jobs.
    pub fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel.clone())
    }

    /// The calls about the daemon.
    pub fn daemon(&self) -> DaemonServiceClient<Channel> {
        DaemonServiceClient::new(self.channel.clone())
    }

    /// The call that draws.
    pub fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel.clone())
    }

    /// How the daemon is.
    pub async fn status(&self) -> Result<v1::GetStatusResponse, Status> {
        let answer = self.daemon().get_status(GetStatusRequest {}).await?;
        Ok(answer.into_inner())
    }

    /// Submits a job.
    pub async fn submit(&self, request: SubmitJobRequest) -> Result<v1::SubmitJobResponse, Status> {
        Ok(self.jobs().submit_job(request).await?.into_inner())
    }

    /// How a job is.
    pub async fn job(&self, id: &str) -> Result<Job, Status> {
        let request = GetJobRequest { job_id: id.into() };
        let answer = self.jobs().get_job(request).await?.into_inner();
        answer.job.ok_or_else(|| Status::data_loss("no job came"))
    }

    /// Waits until a job is in a final state, for `limit` at most.
    pub async fn ended(&self, id: &str, limit: Duration) -> Result<Job, Status> {
        self.job_when(id, limit, |job| is_final(job.state())).await
    }

    /// Waits until something is true of a job, for `limit` at most.
    pub async fn job_when(
        &self,
        id: &str,
        limit: Duration,
        condition: impl Fn(&Job) -> bool,
    ) -> Result<Job, Status> {
        let start = Instant::now();
        loop {
            let job = patiently(limit, || self.job(id)).await?;
            if condition(&job) {
                return Ok(job);
            }
            if start.elapsed() > limit {
                let message = format!("the job is not so after {limit:?}: {job:?}");
                return Err(Status::deadline_exceeded(message));
            }
            time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every job there is, in these states (all where none is named), newest first.
    pub async fn list(&self, states: &[JobState]) -> Result<Vec<Job>, Status> {
        let mut request = ListJobsRequest {
            states: states.iter().map(|state| (*state).into()).collect(),
            page_size: 1000,
            ..ListJobsRequest::default()
        };
        let mut jobs = Vec::new();
        loop {
            let page = self.jobs().list_jobs(request.clone()).await?.into_inner();
            jobs.extend(page.jobs);
            if page.next_page_token.is_empty() {
                return Ok(jobs);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Every picture of a job that has come somewhere.
    pub async fn pictures(&self, id: &str) -> Result<Vec<v1::JobImage>, Status> {
        let mut request = ListImagesRequest {
            job_id: id.into(),
            page_size: 1000,
            ..ListImagesRequest::default()
        };
        let mut images = Vec::new();
        loop {
            let page = self.jobs().list_images(request.clone()).await?.into_inner();
            images.extend(page.images);
            if page.next_page_token.is_empty() {
                return Ok(images);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The file of a finished picture, or its thumbnail's.
    pub async fn picture(&self, id: &str, index: u32, thumbnail: bool) -> Result<Picture, Status> {
        let request = GetImageRequest {
            job_id: id.into(),
            image_index: index,
            thumbnail,
        };
        let mut stream = self.jobs().get_image(request).await?.into_inner();
        let mut picture = Parts::default();
        while let Some(part) = stream.message().await? {
            picture.take(part.chunk)?;
        }
        picture.whole()
    }

    /// Draws the pictures of a request that ends with its stream.
    pub async fn generate(&self, request: GenerateRequest) -> Result<Vec<Picture>, Status> {
        let mut stream = self.images().generate(request).await?.into_inner();
        let (mut pictures, mut parts) = (Vec::new(), Parts::default());
        while let Some(message) = stream.message().await? {
            if let Some(Event::Image(chunk)) = message.event {
                let is_last = chunk.last;
                parts.take(Some(chunk))?;
                if is_last {
                    pictures.push(std::mem::take(&mut parts).whole()?);
                }
            }
        }
        Ok(pictures)
    }
}

/// A picture that is being put together.
#[derive(Default)]
struct Parts {
    bytes: Vec<u8>,
    metadata: Option<v1::ImageMetadata>,
    is_complete: bool,
}

impl Parts {
    fn take(&mut self, chunk: Option<v1::ImageChunk>) -> Result<(), Status> {
        let chunk = chunk.ok_or_else(|| Status::data_loss("an empty part came"))?;
        if self.is_complete || chunk.offset != self.bytes.len() as u64 {
            return Err(Status::data_loss("parts of a picture are out of order"));
        }
        self.metadata = self.metadata.take().or(chunk.metadata);
        self.bytes.extend_from_slice(&chunk.data);
        self.is_complete = chunk.last;
        if chunk.last && self.bytes.len() as u64 != chunk.total_bytes {
            return Err(Status::data_loss(
                "a picture has another size than was said",
            ));
        }
        Ok(())
    }

    fn whole(self) -> Result<Picture, Status> {
        let metadata = self.metadata.filter(|_| self.is_complete);
        Ok(Picture {
            bytes: self.bytes,
            metadata: metadata.ok_or_else(|| Status::data_loss("a picture has no end"))?,
        })
    }
}

/// Whether a job in this state has come to its end.
pub fn is_final(state: JobState) -> bool {
    matches!(
        state,
        JobState::Succeeded | JobState::Failed | JobState::Cancelled
    )
}

/// Whether a call failed because its daemon is gone or going, so that the next daemon may be asked.
pub fn is_lost(status: &Status) -> bool {
    let failure = Failure::from_status(status);
    match failure.reason {
        Reason::Draining | Reason::DaemonUnavailable => true,
        // the transport's words for a connection that broke
        Reason::Cancelled | Reason::Internal => {
            matches!(status.code(), Code::Unknown | Code::Cancelled)
                || status.message().contains("h2 protocol error")
        }
        _ => false,
    }
}

/// Makes a call until a daemon has answered it, over deaths of daemons, for `limit` at most.
pub async fn patiently<T, F, A>(limit: Duration, mut call: F) -> Result<T, Status>
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, Status>>,
{
    let start = Instant::now();
    loop {
        let outcome = time::timeout(ATTEMPT, call()).await;
        let error = match outcome {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) if is_lost(&status) => status,
            Ok(Err(status)) => return Err(status),
            Err(_elapsed) => Status::deadline_exceeded("a call had no answer"),
        };
        if start.elapsed() > limit {
            return Err(error);
        }
        time::sleep(Duration::from_millis(20)).await;
    }
}

/// A runtime for a test that is not async itself.
///
/// # Panics
/// When the system has no threads left.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads can be started")
}
