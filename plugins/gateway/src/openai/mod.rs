//! OpenAI's images API, under `/v1`.

mod answer;
mod edits;
mod generations;
mod links;
mod models;
mod stream;
mod variations;

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::header,
    routing::{get, post},
};
use imgd_client::GenerateRequest;

use crate::{State, fields::Fields, models as names, problem::Problem};

pub(crate) use answer::size;
pub(crate) use links::{Links, PICTURES};

pub(crate) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/v1/images/generations", post(generations::generations))
        .route("/v1/images/edits", post(edits::edits))
        .route("/v1/images/variations", post(variations::variations))
        .route("/v1/images/files/{name}", get(links::picture))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
}

/// How pictures are given back.
#[derive(Debug, Clone)]
struct Reply {
    /// As addresses that this gateway serves for a while, not as text.
    by_url: bool,
    /// As events, with previews.
    is_stream: bool,
    /// Previews of each picture.
    partial_images: u32,
    /// What the caller named the gateway, for addresses.
    host: String,
    /// What the answer repeats of the request.
    quality: &'static str,
}

impl Reply {
    /// Takes `response_format`, `stream` and `partial_images`.
    fn take(
        fields: &mut Fields,
        host: String,
        model: Option<&str>,
        quality: &'static str,
    ) -> Result<Self, Problem> {
        let format = fields.choice("response_format", &["b64_json", "url"])?;
        let is_stream = fields.flag("stream")?.unwrap_or(false);
        let partial_images = fields.small("partial_images")?.unwrap_or(0);
        if partial_images > 3 {
            return Err(Problem::value("partial_images", "partial_images is 0 to 3"));
        }
        if is_stream && format == Some("url") {
            let message =
                "response_format is `b64_json` where `stream` is true: events carry their pictures";
            return Err(Problem::value("response_format", message));
        }
        // as OpenAI's own models do
        let by_default =
            model.is_some_and(|name| name.starts_with("dall-e-") && names::is_openai(name));
        Ok(Self {
            by_url: !is_stream && format.map_or(by_default, |format| format == "url"),
            is_stream,
            partial_images: if is_stream { partial_images } else { 0 },
            host,
            quality,
        })
    }
}

/// What is to be drawn and how it is given back.
#[derive(Debug)]
struct Order {
    request: GenerateRequest,
    reply: Reply,
    /// Beginning of the names of events: `image_generation`, `image_edit`.
    event: &'static str,
}

/// What the caller named the gateway; the guard has checked it.
fn host(request: &Request) -> String {
    let value = request.headers().get(header::HOST);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or("localhost")
        .to_owned()
}

fn quality_name(quality: crate::drawing::Quality) -> &'static str {
    use crate::drawing::Quality;
    match quality {
        Quality::Low => "low",
        Quality::Medium => "medium",
        Quality::High => "high",
    }
}
