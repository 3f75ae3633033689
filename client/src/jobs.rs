//! Jobs: work that outlives the client that asked for it.
//!
//! Every call that names a job takes its id or the first digits of it, four at least, where no other job's begins so.

use imgd_proto::v1::{
    CancelJobRequest, DeleteJobRequest, GetJobRequest, ImageVariation, Job, JobImage, JobState,
    ListImagesRequest, ListJobsRequest, PauseJobRequest, PlanJobRequest, PlanJobResponse,
    ResumeJobRequest, RetryJobRequest, SubmitJobRequest, WatchJobRequest,
    job_service_client::JobServiceClient,
};

use crate::{Client, Error, GenerateRequest, Pages, Result, Watch, link::Link};

/// A job to submit. See [`Client::submit`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobRequest {
    /// What to make, up to 10,000 pictures. With a `request_id` the same job is never made twice. Not with `private`
    /// and `timeout`: both are for requests that end with their client.
    pub generate: GenerateRequest,
    /// What each picture has of its own, 0 to 10,000; where there are any, their number is the number of pictures.
    pub images: Vec<ImageVariation>,
    /// Makes each picture as far as this denoising step, 1 to 1,000, and holds it there until [`Client::resume`] says
    /// which to finish. 0 holds none.
    pub hold_after_steps: u32,
}

/// A job that was submitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// The job, with its id.
    pub job: Job,
    /// A job of that `request_id` was there already, and no other was made.
    pub existed: bool,
}

/// Which jobs to list. See [`Client::jobs`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only jobs in one of these states; empty is any.
    pub states: Vec<JobState>,
    /// Only the job of this `request_id`.
    pub request_id: Option<String>,
    /// Jobs that one call asks for, 1 to 1,000; `None` is the daemon's choice. Smaller where few are wanted.
    pub page_size: Option<u32>,
}

/// Whether a job in this state is at its end: it changes by [`Client::retry`] alone.
pub fn is_final(state: JobState) -> bool {
    match state {
        JobState::Succeeded | JobState::Failed | JobState::Cancelled => true,
        JobState::Unspecified | JobState::Queued | JobState::Running | JobState::Paused => false,
    }
}

/// Takes a [`JobEvent::Changed`](crate::JobEvent::Changed) into a job that is known: what was asked for stays, which
/// a change leaves out.
pub fn update(job: &mut Job, change: Job) {
    let known = std::mem::replace(job, change);
    if job.request.is_none() {
        job.request = known.request;
    }
    if job.images.is_empty() {
        job.images = known.images;
    }
}

impl Client {
    /// Takes a job in. When this returns the job is on the daemon's disk: it is finished or accounted for, whatever is
    /// killed.
    ///
    /// Fails where the daemon refuses it; the error names the field, or is one to try again on (`QUEUE_FULL`,
    /// `CLIENT_QUEUE_FULL`, `DISK_FULL`). After [`Error::Lost`] it may or may not have been taken in: submit again with
    /// the same `request_id` to know.
    ///
    /// ```
    /// use imgd_client::{Client, ConnectOptions, GenerateRequest, JobEvent, JobRequest};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let daemon = imgd_e2e::Daemon::start();
    /// # let options = ConnectOptions { socket: Some(daemon.socket()), ..ConnectOptions::default() };
    /// let client = Client::connect(options).await?;
    /// let mut request = JobRequest::default();
    /// request.generate = GenerateRequest::new("a red apple");
    /// request.generate.num_inference_steps = Some(2);
    /// let job = client.submit(request).await?.job;
    /// // From here on it is made, whoever watches.
    /// let mut watch = client.watch(&job.id, 0).await?;
    /// let mut files = Vec::new();
    /// while let Some(event) = watch.next().await {
    ///     if let JobEvent::Image(image) = event? {
    ///         files.push(client.image(&job.id, image.image_index).await?.bytes);
    ///     }
    /// }
    /// # assert!(files.len() == 1 && files[0].starts_with(b"\x89PNG"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn submit(&self, request: JobRequest) -> Result<Submitted> {
        let request = SubmitJobRequest {
            generate: Some(request.generate.into()),
            images: request.images,
            hold_after_steps: request.hold_after_steps,
        };
        let answer = self.job_service().submit_job(request).await?.into_inner();
        Ok(Submitted {
            job: present(answer.job)?,
            existed: answer.existed,
        })
    }

    /// How a job is.
    pub async fn job(&self, id: &str) -> Result<Job> {
        let request = GetJobRequest { job_id: id.into() };
        present(self.job_service().get_job(request).await?.into_inner().job)
    }

    /// The jobs that `filter` lets through, newest first. They are asked for page by page.
    pub fn jobs(&self, filter: JobFilter) -> Pages<Job> {
        let request = ListJobsRequest {
            states: filter.states.into_iter().map(Into::into).collect(),
            page_size: filter.page_size.unwrap_or_default(),
            page_token: String::new(),
            request_id: filter.request_id.unwrap_or_default(),
        };
        Pages::of_jobs(self.job_service(), request)
    }

    /// A job's pictures that have come somewhere (finished, failed, held or dropped), in order of index. They are
    /// asked for page by page.
    pub fn images(&self, id: &str) -> Pages<JobImage> {
        let request = ListImagesRequest {
            job_id: id.into(),
            ..ListImagesRequest::default()
        };
        Pages::of_images(self.job_service(), request)
    }

    /// Follows a job from the event after `cursor` on; 0 is from the beginning. See [`Watch`].
    pub async fn watch(&self, id: &str, cursor: u64) -> Result<Watch> {
        let request = WatchJobRequest {
            job_id: id.into(),
            cursor,
        };
        let stream = self.job_service().watch_job(request).await?.into_inner();
        Ok(Watch::new(stream, cursor))
    }

    /// Ends a job within one network evaluation; its finished pictures stay. Changes nothing at a job that has ended.
    pub async fn cancel(&self, id: &str) -> Result<Job> {
        let request = CancelJobRequest { job_id: id.into() };
        present(
            self.job_service()
                .cancel_job(request)
                .await?
                .into_inner()
                .job,
        )
    }

    /// Stops a job at the next network evaluation, until [`Client::resume`].
    pub async fn pause(&self, id: &str) -> Result<Job> {
        let request = PauseJobRequest { job_id: id.into() };
        present(
            self.job_service()
                .pause_job(request)
                .await?
                .into_inner()
                .job,
        )
    }

    /// Lets a paused job go on. Of a job that holds its pictures only those of `image_indices` are finished and the
    /// others dropped; empty is all of them.
    pub async fn resume(&self, id: &str, image_indices: &[u32]) -> Result<Job> {
        let request = ResumeJobRequest {
            job_id: id.into(),
            image_indices: image_indices.to_vec(),
        };
        present(
            self.job_service()
                .resume_job(request)
                .await?
                .into_inner()
                .job,
        )
    }

    /// Lets a failed or cancelled job make what it has not made.
    pub async fn retry(&self, id: &str) -> Result<Job> {
        let request = RetryJobRequest { job_id: id.into() };
        present(
            self.job_service()
                .retry_job(request)
                .await?
                .into_inner()
                .job,
        )
    }

    /// Forgets a job with its pictures. One that has not ended is refused, or cancelled first with `force`.
    pub async fn delete(&self, id: &str, force: bool) -> Result<()> {
        let request = DeleteJobRequest {
            job_id: id.into(),
            force,
        };
        self.job_service().delete_job(request).await?;
        Ok(())
    }

    /// Says what a request would do now, without doing it: settings, memory, estimated time.
    pub async fn plan(&self, request: GenerateRequest) -> Result<PlanJobResponse> {
        let request = PlanJobRequest {
            generate: Some(request.into()),
        };
        Ok(self.job_service().plan_job(request).await?.into_inner())
    }

    pub(crate) fn job_service(&self) -> JobServiceClient<Link> {
        JobServiceClient::new(self.link.clone())
    }
}

fn present(job: Option<Job>) -> Result<Job> {
    job.ok_or(Error::Contract("an answer came without its job"))
}
