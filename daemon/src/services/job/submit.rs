//! Taking jobs in, and telling how they are.

use imgd_proto::{limits, v1};
use tonic::Request;

use super::JobApi;
use crate::{
    failure::{Failure, Reason},
    services::{client, order},
};

/// SubmitJob.
pub(super) async fn submit(
    api: &JobApi,
    request: Request<v1::SubmitJobRequest>,
) -> Result<v1::SubmitJobResponse, Failure> {
    let client = client::of(&request)?;
    let request = request.into_inner();
    limits::validate_submit(&request)?;
    let order = order::detached(request, &api.names, client, api.is_private)?;
    let receipt = api.scheduler.submit(order).await?;
    let Some(job) = receipt.job else {
        return Err(Failure::new(Reason::Internal, "the job is not kept"));
    };
    Ok(v1::SubmitJobResponse {
        job: Some(job),
        existed: receipt.existed,
    })
}

/// GetJob.
pub(super) async fn get(
    api: &JobApi,
    request: &v1::GetJobRequest,
) -> Result<v1::GetJobResponse, Failure> {
    limits::validate_job_id(&request.job_id)?;
    let job = api.scheduler.job(&request.job_id).await?;
    Ok(v1::GetJobResponse { job: Some(job) })
}

/// ListJobs.
pub(super) async fn list(
    api: &JobApi,
    request: &v1::ListJobsRequest,
) -> Result<v1::ListJobsResponse, Failure> {
    limits::validate_page_size(request.page_size)?;
    limits::validate_request_id(&request.request_id)?;
    let states = request.states.iter().map(|&state| {
        let known = v1::JobState::try_from(state).ok();
        known
            .filter(|state| *state != v1::JobState::Unspecified)
            .ok_or_else(|| {
                let message = format!("states has {state}: the contract has no such state");
                Failure::invalid("states", message)
                    .with_hint("leave states out to list jobs in all of them")
            })
    });
    let states = states.collect::<Result<Vec<_>, _>>()?;
    let (jobs, next_page_token) = api
        .scheduler
        .jobs(
            &states,
            &request.request_id,
            request.page_size,
            &request.page_token,
        )
        .await?;
    Ok(v1::ListJobsResponse {
        jobs,
        next_page_token,
    })
}
