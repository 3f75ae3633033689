//! Finished pictures, newest first, and their files.

use axum::{
    body::Body,
    extract::{Path, Request, State as Extract},
    http::{HeaderValue, header},
    response::Response,
};
use imgd_client::{JobFilter, v1::ImageState};
use serde_json::json;

use super::words;
use crate::{
    Shared,
    problem::{Problem, answer},
};

/// Pictures of one page of the list, about: a job's stay together.
const PAGE: usize = 48;
/// Most pictures of one job in the list.
const MAX_OF_JOB: usize = 100;

/// `GET /api/pictures`, `GET /api/pictures?after=JOB`: jobs that have finished pictures, with those.
pub(super) async fn list(Extract(state): Shared, request: Request) -> Result<Response, Problem> {
    let query = request.uri().query().unwrap_or_default();
    let after = query.strip_prefix("after=");
    let client = state.daemon.shared().await?;
    let mut jobs = client.jobs(JobFilter {
        page_size: Some(100),
        ..JobFilter::default()
    });
    let (mut entries, mut count, mut next) = (Vec::new(), 0, None);
    let mut is_wanted = after.is_none();
    while let Some(job) = jobs.next().await {
        let job = job?;
        if !is_wanted {
            is_wanted = after == Some(job.id.as_str());
            continue;
        }
        if job.images_done == 0 {
            continue;
        }
        let mut images = client.images(&job.id).take(MAX_OF_JOB).await?;
        images.retain(|image| image.state() == ImageState::Done);
        count += images.len();
        let pictures: Vec<_> = images
            .iter()
            .map(|image| words::picture(&job.id, image))
            .collect();
        entries.push(json!({ "job": words::job(&job), "pictures": pictures }));
        if count >= PAGE {
            next = Some(job.id);
            break;
        }
    }
    Ok(answer(&json!({ "jobs": entries, "next": next })))
}

/// `GET /api/jobs/ID/pictures/INDEX`: the file.
pub(super) async fn picture(
    Extract(state): Shared,
    Path((id, index)): Path<(String, u32)>,
) -> Result<Response, Problem> {
    let image = state.daemon.shared().await?.image(&id, index).await?;
    Ok(file(words::media_type(image.format), image.bytes))
}

/// `GET /api/jobs/ID/thumbnails/INDEX`: a small JPEG.
pub(super) async fn thumbnail(
    Extract(state): Shared,
    Path((id, index)): Path<(String, u32)>,
) -> Result<Response, Problem> {
    let bytes = state.daemon.shared().await?.thumbnail(&id, index).await?;
    Ok(file("image/jpeg", bytes))
}

fn file(media_type: &'static str, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
