//! Jobs of the page: begun, cancelled, forgotten.

use axum::{
    extract::{Path, Request, State as Extract},
    response::Response,
};
use imgd_client::JobRequest;
use serde_json::json;

use super::words;
use crate::{
    Shared, body,
    drawing::{self, Drawing},
    input::Pictures,
    problem::{Problem, answer},
};

/// Previews of each picture.
pub(super) const PREVIEWS: u32 = 12;

/// `POST /api/jobs`: the form of the page. A `request_id` makes it one job, however often it is sent.
pub(super) async fn submit(Extract(state): Shared, request: Request) -> Result<Response, Problem> {
    let mut form = body::form(&state, request).await?;
    let prompt = drawing::prompt(&mut form.fields)?;
    let request_id = form.fields.text("request_id")?;
    let drawing = Drawing::take(&mut form.fields)?;
    let pictures = if form.files.contains_key("image") {
        Pictures::take(&mut form).await?
    } else {
        Pictures::default()
    };
    form.fields.finish()?;
    let client = state.daemon.shared().await?;
    let mut generate = drawing.resolve(&client, PREVIEWS).await?;
    generate.prompt = prompt;
    generate.request_id = request_id;
    generate.input = pictures.input;
    generate.ref_images = pictures.ref_images;
    let submitted = client
        .submit(JobRequest {
            generate,
            ..JobRequest::default()
        })
        .await?;
    state.begun.notify_waiters();
    Ok(answer(&json!({ "job": words::job(&submitted.job) })))
}

/// `POST /api/jobs/ID/cancel`.
pub(super) async fn cancel(
    Extract(state): Shared,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let job = state.daemon.shared().await?.cancel(&id).await?;
    Ok(answer(&json!({ "job": words::job(&job) })))
}

/// `POST /api/jobs/ID/forget`: the job goes with its pictures.
pub(super) async fn forget(
    Extract(state): Shared,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    state.daemon.shared().await?.delete(&id, true).await?;
    Ok(answer(&json!({})))
}
