//! From a request of the contract to an order for the scheduler.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Instant,
};

use imgd_proto::{limits, v1};

use super::names::{self, Names};
use crate::{
    failure::Failure,
    keep_alive::KeepAlive,
    scheduler::{Lifetime, Order, Work},
    submission::Submission,
};

/// The job whose life is the stream of a checked request. `is_private` is for one that does not say.
pub(super) fn attached(
    request: v1::GenerateRequest,
    names: &Names,
    client: String,
    is_private: bool,
) -> Result<Order, Failure> {
    let is_private = request.private.unwrap_or(is_private);
    let request = v1::SubmitJobRequest {
        generate: Some(request),
        ..v1::SubmitJobRequest::default()
    };
    order(request, names, client, (Lifetime::Attached, is_private))
}

/// The job that a checked request makes, and that outlives its client.
pub(super) fn detached(
    request: v1::SubmitJobRequest,
    names: &Names,
    client: String,
) -> Result<Order, Failure> {
    order(request, names, client, (Lifetime::Detached, false))
}

fn order(
    request: v1::SubmitJobRequest,
    names: &Names,
    client: String,
    (lifetime, is_private): (Lifetime, bool),
) -> Result<Order, Failure> {
    let submission = Submission::new(request, random_seed);
    let common = submission.generate();
    names::check(common)?;
    Ok(Order {
        model: names.model(&common.model)?,
        keep_alive: keep_alive(common.keep_alive.as_ref())?,
        priority: submission.priority(),
        request_id: common.request_id.clone(),
        work: Work::Draw(submission),
        lifetime,
        is_private,
        client,
    })
}

/// How long the model stays, where a request says so.
pub(super) fn keep_alive(
    wanted: Option<&prost_types::Duration>,
) -> Result<Option<KeepAlive>, Failure> {
    let wanted = wanted.map(limits::keep_alive).transpose()?;
    Ok(wanted.map(KeepAlive::from))
}

/// A seed that other tools take as well: 32 bits. The hasher's keys are random.
fn random_seed() -> u64 {
    RandomState::new().hash_one(Instant::now()) >> 32
}
