//! JobService: work that outlives the client that asked for it. Each story has its file; here is which call is which.

mod pictures;
mod plan;
mod steer;
mod submit;
mod watch;

use std::sync::Arc;

use imgd_proto::v1::{self, job_service_server::JobService};
use tonic::{Request, Response, Status};

use super::{names::Names, pump::Stream};
use crate::scheduler::Scheduler;

/// The service.
#[derive(Debug, Clone)]
pub struct JobApi {
    /// Does the work.
    pub scheduler: Scheduler,
    /// Knows the models.
    pub names: Arc<Names>,
    /// Whether a request that does not say is private, and so no job of its own.
    pub is_private: bool,
}

#[tonic::async_trait]
impl JobService for JobApi {
    type WatchJobStream = Stream<v1::WatchJobResponse>;
    type GetImageStream = Stream<v1::GetImageResponse>;

    async fn submit_job(
        &self,
        request: Request<v1::SubmitJobRequest>,
    ) -> Result<Response<v1::SubmitJobResponse>, Status> {
        Ok(Response::new(submit::submit(self, request).await?))
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::GetJobResponse>, Status> {
        Ok(Response::new(submit::get(self, request.get_ref()).await?))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        Ok(Response::new(submit::list(self, request.get_ref()).await?))
    }

    async fn list_images(
        &self,
        request: Request<v1::ListImagesRequest>,
    ) -> Result<Response<v1::ListImagesResponse>, Status> {
        Ok(Response::new(
            pictures::list(self, request.get_ref()).await?,
        ))
    }

    async fn watch_job(
        &self,
        request: Request<v1::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        Ok(Response::new(watch::watch(self, request).await?))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        Ok(Response::new(steer::cancel(self, request.get_ref()).await?))
    }

    async fn pause_job(
        &self,
        request: Request<v1::PauseJobRequest>,
    ) -> Result<Response<v1::PauseJobResponse>, Status> {
        Ok(Response::new(steer::pause(self, request.get_ref()).await?))
    }

    async fn resume_job(
        &self,
        request: Request<v1::ResumeJobRequest>,
    ) -> Result<Response<v1::ResumeJobResponse>, Status> {
        Ok(Response::new(
            steer::resume(self, request.into_inner()).await?,
        ))
    }

    async fn retry_job(
        &self,
        request: Request<v1::RetryJobRequest>,
    ) -> Result<Response<v1::RetryJobResponse>, Status> {
        Ok(Response::new(steer::retry(self, request.get_ref()).await?))
    }

    async fn delete_job(
        &self,
        request: Request<v1::DeleteJobRequest>,
    ) -> Result<Response<v1::DeleteJobResponse>, Status> {
        Ok(Response::new(steer::delete(self, request.get_ref()).await?))
    }

    async fn get_image(
        &self,
        request: Request<v1::GetImageRequest>,
    ) -> Result<Response<Self::GetImageStream>, Status> {
        Ok(Response::new(pictures::get(self, request.get_ref()).await?))
    }

    async fn plan_job(
        &self,
        request: Request<v1::PlanJobRequest>,
    ) -> Result<Response<v1::PlanJobResponse>, Status> {
        Ok(Response::new(plan::plan(self, request).await?))
    }
}
