//! What a request would do.

use imgd_proto::{limits, v1};
use tonic::Request;

use super::JobApi;
use crate::{
    failure::Failure,
    services::{client, order},
};

/// PlanJob.
pub(super) async fn plan(
    api: &JobApi,
    request: Request<v1::PlanJobRequest>,
) -> Result<v1::PlanJobResponse, Failure> {
    let client = client::of(&request)?;
    let Some(generate) = request.into_inner().generate else {
        return Err(Failure::invalid("generate", "generate is required"));
    };
    limits::validate_generate(&generate)?;
    let order = order::attached(generate, &api.names, client, true)?;
    api.scheduler.plan(order).await
}
