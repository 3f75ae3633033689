//! What clients do to jobs that they submitted.

use imgd_proto::{limits::validate_job_id, v1};

use super::JobApi;
use crate::failure::Failure;

/// CancelJob.
pub(super) async fn cancel(
    api: &JobApi,
    request: &v1::CancelJobRequest,
) -> Result<v1::CancelJobResponse, Failure> {
    validate_job_id(&request.job_id)?;
    let job = Some(api.scheduler.cancel(&request.job_id).await?);
    Ok(v1::CancelJobResponse { job })
}

/// PauseJob.
pub(super) async fn pause(
    api: &JobApi,
    request: &v1::PauseJobRequest,
) -> Result<v1::PauseJobResponse, Failure> {
    validate_job_id(&request.job_id)?;
    let job = Some(api.scheduler.pause(&request.job_id).await?);
    Ok(v1::PauseJobResponse { job })
}

/// ResumeJob.
pub(super) async fn resume(
    api: &JobApi,
    request: v1::ResumeJobRequest,
) -> Result<v1::ResumeJobResponse, Failure> {
    validate_job_id(&request.job_id)?;
    let v1::ResumeJobRequest {
        job_id,
        image_indices,
    } = request;
    let job = Some(api.scheduler.resume(&job_id, image_indices).await?);
    Ok(v1::ResumeJobResponse { job })
}

/// RetryJob.
pub(super) async fn retry(
    api: &JobApi,
    request: &v1::RetryJobRequest,
) -> Result<v1::RetryJobResponse, Failure> {
    validate_job_id(&request.job_id)?;
    let job = Some(api.scheduler.retry(&request.job_id).await?);
    Ok(v1::RetryJobResponse { job })
}

/// DeleteJob.
pub(super) async fn delete(
    api: &JobApi,
    request: &v1::DeleteJobRequest,
) -> Result<v1::DeleteJobResponse, Failure> {
    validate_job_id(&request.job_id)?;
    api.scheduler.delete(&request.job_id, request.force).await?;
    Ok(v1::DeleteJobResponse {})
}
