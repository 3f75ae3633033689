//! The fake daemon's jobs.

use std::{pin::Pin, time::Duration};

use imgd_proto::{
    Failure, Reason,
    v1::{
        self, Job, JobState, PauseReason, job_service_server::JobService, watch_job_response::Event,
    },
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{Act, Service, metadata, play, settings};

/// A job of the fake daemon.
#[derive(Debug, Clone)]
pub(crate) struct FakeJob {
    pub(crate) job: Job,
    /// Pictures that have come somewhere, with their files.
    pub(crate) images: Vec<(v1::JobImage, Vec<u8>)>,
    /// What a watcher is told; the cursor of the first is 1. Waiting counts too; a loss happens to one watcher.
    pub(crate) events: Vec<Act<Event>>,
}

impl FakeJob {
    /// A job of `count` pictures in this state, which begins with `id`; none is made yet.
    pub(crate) fn new(id: &str, state: JobState, count: u32) -> Self {
        let request = v1::GenerateRequest {
            prompt: "a red apple".into(),
            seed: Some(7),
            num_images: Some(count),
            priority: v1::Priority::Interactive.into(),
            ..v1::GenerateRequest::default()
        };
        let job = Job {
            id: format!("{id:0<32}"),
            request: Some(request),
            state: state.into(),
            image_count: count,
            client: "test".into(),
            ..Job::default()
        };
        Self {
            job,
            images: Vec::new(),
            events: Vec::new(),
        }
    }

    /// A job that is done; picture `i` is `picture <seed>`.
    pub(crate) fn done(id: &str, count: u32) -> Self {
        let mut fake = Self::new(id, JobState::Succeeded, count);
        fake.draw();
        fake
    }

    /// The same job with the events of drawing all that is not drawn, one step each.
    pub(crate) fn drawing(mut self) -> Self {
        let before = self.job.clone();
        self.draw();
        let mut events = vec![Event::Snapshot(before)];
        for (image, _) in &self.images {
            events.push(Event::Started(v1::Started {
                image_index: image.image_index,
                image_count: self.job.image_count,
                settings: image.metadata.clone().unwrap().settings,
                evaluation_count: 1,
                evaluations_done: 0,
            }));
            events.push(Event::Step(v1::Step {
                image_index: image.image_index,
                index: 1,
                count: 1,
                inference_step: 1,
                ..v1::Step::default()
            }));
            events.push(Event::Image(image.clone()));
        }
        // A change leaves out what was asked for.
        events.push(Event::Changed(Job {
            request: None,
            images: Vec::new(),
            ..self.job.clone()
        }));
        self.events = events.into_iter().map(Act::Send).collect();
        self
    }

    /// The same job with the events of making all its pictures as far as they are held.
    pub(crate) fn holding(mut self) -> Self {
        let mut events = vec![Event::Snapshot(self.job.clone())];
        for index in 0..self.job.image_count {
            let preview = v1::Preview {
                png: GREY_PNG.into(),
                width_px: 1,
                height_px: 1,
            };
            let image = v1::JobImage {
                image_index: index,
                state: v1::ImageState::Held.into(),
                preview: Some(preview),
                ..v1::JobImage::default()
            };
            events.push(Event::Image(image.clone()));
            self.images.push((image, Vec::new()));
        }
        self.job.state = JobState::Paused.into();
        self.job.pause_reason = PauseReason::Held.into();
        self.job.images_held = self.job.image_count;
        events.push(Event::Changed(self.job.clone()));
        self.events = events.into_iter().map(Act::Send).collect();
        self
    }

    /// Finishes the pictures that were held and are chosen, and drops the others.
    fn finish(&mut self, chosen: &[u32]) {
        let held = std::mem::take(&mut self.images);
        self.draw();
        let is_chosen = |index| chosen.is_empty() || chosen.contains(&index);
        for ((image, bytes), (before, _)) in self.images.iter_mut().zip(held) {
            if !is_chosen(image.image_index) {
                image.state = v1::ImageState::Dropped.into();
                image.metadata = None;
                bytes.clear();
            }
            assert_eq!(image.image_index, before.image_index);
        }
        let dropped = self.images.iter().filter(|(_, bytes)| bytes.is_empty());
        self.job.images_dropped = u32::try_from(dropped.count()).unwrap();
        self.job.images_done -= self.job.images_dropped;
        self.job.images_held = 0;
        self.job.pause_reason = PauseReason::Unspecified.into();
        let images = self
            .images
            .iter()
            .map(|(image, _)| Event::Image(image.clone()));
        let end = Event::Changed(self.job.clone());
        self.events.extend(images.chain([end]).map(Act::Send));
    }

    fn draw(&mut self) {
        let request = self.job.request.clone().unwrap_or_default();
        for index in 0..self.job.image_count {
            let own = self.job.images.get(index as usize);
            let seed = own.and_then(|image| image.seed);
            let seed = seed.unwrap_or(request.seed.unwrap_or(7) + u64::from(index));
            let bytes = format!("picture {seed}").into_bytes();
            let image = v1::JobImage {
                image_index: index,
                state: v1::ImageState::Done.into(),
                metadata: Some(metadata(seed, &bytes)),
                size_bytes: bytes.len() as u64,
                ..v1::JobImage::default()
            };
            self.images.push((image, bytes));
        }
        self.job.state = JobState::Succeeded.into();
        self.job.images_done = self.job.image_count;
        self.job.timings = Some(v1::Finished {
            stepping: Some(prost_types::Duration::try_from(Duration::from_secs(2)).unwrap()),
            image_count: self.job.image_count,
            ..v1::Finished::default()
        });
    }
}

/// A PNG of one grey pixel.
const GREY_PNG: &[u8] = b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\x00\x00\x01\
    \x08\x00\x00\x00\x00\x3a\x7e\x9b\x55\x00\x00\x00\x0a\x49\x44\x41\x54\x78\x9c\x63\x68\x00\x00\x00\
    \x82\x00\x81\x77\xcd\x72\xb6\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

fn is_final(job: &Job) -> bool {
    matches!(
        job.state(),
        JobState::Succeeded | JobState::Failed | JobState::Cancelled
    )
}

fn refuse(what: &str) -> Failure {
    Failure::new(Reason::JobState, what)
}

/// One page of `all`: its entries and the next page's token.
fn page<T>(all: Vec<T>, size: u32, default: usize, token: &str) -> (Vec<T>, String) {
    let start: usize = token.parse().unwrap_or(0);
    let size = if size == 0 { default } else { size as usize };
    let more = all.len() > start + size;
    let entries = all.into_iter().skip(start).take(size).collect();
    let next = more.then(|| (start + size).to_string());
    (entries, next.unwrap_or_default())
}

impl Service {
    /// Finds a job by the first digits of its id and does something to it.
    fn on<T>(
        &self,
        call: &str,
        id: &str,
        act: impl FnOnce(&mut FakeJob) -> Result<T, Failure>,
    ) -> Result<T, Status> {
        imgd_proto::limits::validate_job_id(id).map_err(Failure::from)?;
        let mut jobs = self.seen.jobs.lock().unwrap();
        let mut found = jobs.iter_mut().filter(|fake| fake.job.id.starts_with(id));
        let (Some(fake), None) = (found.next(), found.next()) else {
            let what = format!("no job's id begins with `{id}`");
            return Err(Failure::new(Reason::JobNotFound, what)
                .with_field("job_id")
                .into());
        };
        let calls = &self.seen.calls;
        calls
            .lock()
            .unwrap()
            .push(format!("{call} {}", fake.job.id));
        Ok(act(fake)?)
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl JobService for Service {
    type WatchJobStream = Messages<v1::WatchJobResponse>;
    type GetImageStream = Messages<v1::GetImageResponse>;

    async fn submit_job(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        self.seen.note_client(request.metadata());
        let submission = request.into_inner();
        imgd_proto::limits::validate_submit(&submission).map_err(Failure::from)?;
        if let Some(refusal) = self.seen.refusals.lock().unwrap().pop() {
            return Err(refusal.into());
        }
        let mut submissions = self.seen.submissions.lock().unwrap();
        submissions.push(submission.clone());
        let generate = submission.generate.unwrap_or_default();
        let mut jobs = self.seen.jobs.lock().unwrap();
        let key = generate.request_id.clone();
        let known = jobs.iter().find(|fake| {
            let request = fake.job.request.as_ref();
            !key.is_empty() && request.is_some_and(|request| request.request_id == key)
        });
        if let Some(known) = known {
            return Ok(Response::new(v1::SubmitJobResponse {
                job: Some(known.job.clone()),
                existed: true,
            }));
        }
        let id = format!(
            "{:08x}",
            0xabcd_0000_u32 + u32::try_from(jobs.len()).unwrap()
        );
        let count = match submission.images.len() {
            0 => generate.num_images.unwrap_or(1),
            count => u32::try_from(count).unwrap(),
        };
        let mut fake = FakeJob::new(&id, JobState::Queued, count);
        fake.job.request = Some(v1::GenerateRequest {
            seed: Some(generate.seed.unwrap_or(7)),
            ..generate
        });
        fake.job.images = submission.images;
        fake.job.hold_after_steps = submission.hold_after_steps;
        let job = fake.job.clone();
        let fake = match submission.hold_after_steps {
            0 => fake.drawing(),
            _ => fake.holding(),
        };
        jobs.insert(0, fake);
        // It is drawn as soon as someone watches.
        jobs[0].job = job.clone();
        Ok(Response::new(v1::SubmitJobResponse {
            job: Some(job),
            existed: false,
        }))
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        let id = &request.get_ref().job_id;
        let job = self.on("get", id, |fake| Ok(fake.job.clone()))?;
        Ok(Response::new(v1::GetJobResponse { job: Some(job) }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let request = request.into_inner();
        let calls = &self.seen.calls;
        calls
            .lock()
            .unwrap()
            .push(format!("list {}", request.page_token));
        let jobs = self.seen.jobs.lock().unwrap();
        let is_wanted = |job: &Job| {
            let key = job
                .request
                .as_ref()
                .map(|request| request.request_id.as_str());
            (request.states.is_empty() || request.states.contains(&job.state))
                && (request.request_id.is_empty() || key == Some(&request.request_id))
        };
        let all = jobs.iter().map(|fake| &fake.job);
        let all: Vec<_> = all.filter(|job| is_wanted(job)).cloned().collect();
        let (jobs, next_page_token) = page(all, request.page_size, 50, &request.page_token);
        Ok(Response::new(v1::ListJobsResponse {
            jobs,
            next_page_token,
        }))
    }

    async fn list_images(
        &self,
        request: Request<v1::ListImagesRequest>,
    ) -> Result<Response<v1::ListImagesResponse>, Status> {
        let request = request.into_inner();
        let images = self.on("images", &request.job_id, |fake| {
            Ok(fake.images.iter().map(|(image, _)| image.clone()).collect())
        })?;
        let (images, next_page_token) = page(images, request.page_size, 100, &request.page_token);
        Ok(Response::new(v1::ListImagesResponse {
            images,
            next_page_token,
        }))
    }

    async fn watch_job(
        &self,
        request: Request<v1::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let v1::WatchJobRequest { job_id, cursor } = request.into_inner();
        let call = format!("watch@{cursor}");
        let (id, events) = self.on(&call, &job_id, |fake| {
            if let Some(Act::Send(Event::Changed(job))) = fake.events.last() {
                imgd_client::update(&mut fake.job, job.clone());
            }
            let events = fake.events.clone();
            // What is lost once is there the next time.
            if let Some(loss) = events.iter().position(|act| matches!(act, Act::Lose)) {
                fake.events.remove(loss);
            }
            Ok((fake.job.id.clone(), events))
        })?;
        let skipped = usize::try_from(cursor).unwrap();
        let events: Vec<_> = events.into_iter().skip(skipped).collect();
        let messages = play(events, self.seen.clone(), move |i, event| {
            event.map(|event| v1::WatchJobResponse {
                job_id: id.clone(),
                cursor: cursor + i as u64 + 1,
                event: Some(event),
            })
        });
        Ok(Response::new(messages))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let job = self.on("cancel", &request.get_ref().job_id, |fake| {
            if !is_final(&fake.job) {
                fake.job.state = JobState::Cancelled.into();
            }
            Ok(fake.job.clone())
        })?;
        Ok(Response::new(v1::CancelJobResponse { job: Some(job) }))
    }

    async fn pause_job(
        &self,
        request: Request<v1::PauseJobRequest>,
    ) -> Result<Response<v1::PauseJobResponse>, Status> {
        let job = self.on("pause", &request.get_ref().job_id, |fake| {
            if is_final(&fake.job) {
                return Err(refuse("the job has ended"));
            }
            fake.job.state = JobState::Paused.into();
            fake.job.pause_reason = PauseReason::Asked.into();
            Ok(fake.job.clone())
        })?;
        Ok(Response::new(v1::PauseJobResponse { job: Some(job) }))
    }

    async fn resume_job(
        &self,
        request: Request<v1::ResumeJobRequest>,
    ) -> Result<Response<v1::ResumeJobResponse>, Status> {
        let v1::ResumeJobRequest {
            job_id,
            image_indices,
        } = request.into_inner();
        let call = format!("resume{image_indices:?}");
        let job = self.on(&call, &job_id, |fake| {
            if fake.job.state() != JobState::Paused {
                return Err(refuse("the job is not paused"));
            }
            let was_held = fake.job.pause_reason() == PauseReason::Held && !fake.events.is_empty();
            fake.job.state = JobState::Queued.into();
            fake.job.pause_reason = PauseReason::Unspecified.into();
            let job = fake.job.clone();
            if was_held {
                fake.finish(&image_indices);
                fake.job = job.clone();
            }
            Ok(job)
        })?;
        Ok(Response::new(v1::ResumeJobResponse { job: Some(job) }))
    }

    async fn retry_job(
        &self,
        request: Request<v1::RetryJobRequest>,
    ) -> Result<Response<v1::RetryJobResponse>, Status> {
        let job = self.on("retry", &request.get_ref().job_id, |fake| {
            if !matches!(fake.job.state(), JobState::Failed | JobState::Cancelled) {
                return Err(refuse("the job has not failed"));
            }
            fake.job.state = JobState::Queued.into();
            fake.job.problem = None;
            Ok(fake.job.clone())
        })?;
        Ok(Response::new(v1::RetryJobResponse { job: Some(job) }))
    }

    async fn delete_job(
        &self,
        request: Request<v1::DeleteJobRequest>,
    ) -> Result<Response<v1::DeleteJobResponse>, Status> {
        let v1::DeleteJobRequest { job_id, force } = request.into_inner();
        let id = self.on("delete", &job_id, |fake| {
            if !is_final(&fake.job) && !force {
                return Err(refuse("the job has not ended"));
            }
            Ok(fake.job.id.clone())
        })?;
        let mut jobs = self.seen.jobs.lock().unwrap();
        jobs.retain(|fake| fake.job.id != id);
        Ok(Response::new(v1::DeleteJobResponse {}))
    }

    async fn get_image(
        &self,
        request: Request<v1::GetImageRequest>,
    ) -> Result<Response<Self::GetImageStream>, Status> {
        let request = request.into_inner();
        let index = request.image_index;
        let (image, bytes) = self.on("image", &request.job_id, |fake| {
            let found = fake.images.iter().find(|(image, _)| {
                image.image_index == index && image.state() == v1::ImageState::Done
            });
            let missing = || Failure::new(Reason::ImageNotFound, "there is no such picture");
            found.cloned().ok_or_else(missing)
        })?;
        let (bytes, metadata) = if request.thumbnail {
            (format!("thumbnail of {index}").into_bytes(), None)
        } else {
            (bytes, image.metadata)
        };
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let part = |data: &[u8], offset: usize, metadata| v1::GetImageResponse {
            chunk: Some(v1::ImageChunk {
                image_index: index,
                data: data.to_vec().into(),
                offset: offset as u64,
                total_bytes: bytes.len() as u64,
                last: offset > 0,
                metadata,
            }),
        };
        let parts = [part(first, 0, metadata), part(second, first.len(), None)];
        Ok(Response::new(Box::pin(tokio_stream::iter(parts.map(Ok)))))
    }

    async fn plan_job(
        &self,
        request: Request<v1::PlanJobRequest>,
    ) -> Result<Response<v1::PlanJobResponse>, Status> {
        let mut requests = self.seen.requests.lock().unwrap();
        requests.extend(request.into_inner().generate);
        let settings = self.script.plan.settings.clone().or(Some(settings(7)));
        Ok(Response::new(v1::PlanJobResponse {
            settings,
            ..self.script.plan.clone()
        }))
    }
}
