//! The answer with all pictures at once.
//!
//! The job is one that ends with its client: when the caller goes, the connection's task is dropped, with it the
//! stream of the daemon's events, and the daemon cancels the work.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::response::Response;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use imgd_client::{Client, Error, Event, Image, v1};
use serde_json::{Map, Value, json};

use super::{Order, Reply, stream};
use crate::{
    State,
    drawing::{format_name, media_type},
    problem::{self, Problem},
};

/// Has the daemon draw, and gives back what comes.
pub(super) async fn answer(
    state: Arc<State>,
    client: Client,
    order: Order,
) -> Result<Response, Problem> {
    let generation = client.generate(order.request).await?;
    if order.reply.is_stream {
        return Ok(stream::begin(client, generation, order.reply, order.event));
    }
    let mut generation = generation;
    let (mut images, mut notices) = (Vec::new(), Vec::new());
    while let Some(event) = generation.next().await {
        match event? {
            Event::Image(image) => images.push(image),
            // none that quotes the prompt: what is cut off is for the one who waits
            Event::Notice {
                reason, message, ..
            } => notices.push(json!({ "code": reason, "message": message })),
            _ => {}
        }
    }
    let is_kept = !order.reply.by_url || is_kept(&client, generation.job_id()).await?;
    let mut object = Map::new();
    object.insert("created".into(), json!(now()));
    if let Some(first) = images.first() {
        object.extend(common(first, &order.reply));
    }
    let data: Vec<_> = images
        .iter()
        .map(|image| item(&state, image, &order.reply, generation.job_id(), is_kept))
        .collect();
    object.insert("data".into(), Value::Array(data));
    object.insert("usage".into(), usage());
    if !notices.is_empty() {
        object.insert("notices".into(), Value::Array(notices));
    }
    Ok(problem::answer(&Value::Object(object)))
}

/// Whether the daemon has the job's pictures still: it keeps none of a private job.
async fn is_kept(client: &Client, job_id: &str) -> Result<bool, Problem> {
    match client.job(job_id).await {
        Ok(_) => Ok(true),
        Err(error) if error.reason() == imgd_client::Reason::JobNotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// One picture of the answer.
fn item(state: &State, image: &Image, reply: &Reply, job_id: &str, is_kept: bool) -> Value {
    let mut item = json!({ "seed": image.settings.seed, "sha256": image.sha256 });
    if !reply.by_url {
        item["b64_json"] = json!(STANDARD.encode(&image.bytes));
    } else if is_kept {
        let path = state.links.add(job_id, image);
        item["url"] = json!(format!("http://{}{path}", reply.host));
    } else {
        let text = STANDARD.encode(&image.bytes);
        item["url"] = json!(format!("data:{};base64,{text}", media_type(image.format)));
    }
    item
}

/// What every answer and every last event says of a picture.
pub(super) fn common(image: &Image, reply: &Reply) -> Map<String, Value> {
    let (width_px, height_px) = size(&image.settings);
    Map::from_iter([
        ("size".to_owned(), json!(format!("{width_px}x{height_px}"))),
        ("quality".to_owned(), json!(reply.quality)),
        ("background".to_owned(), json!("opaque")),
        ("output_format".to_owned(), json!(format_name(image.format))),
    ])
}

/// Width and height of a picture that was made with these settings.
pub(crate) fn size(settings: &v1::Settings) -> (u32, u32) {
    settings
        .hires
        .as_ref()
        .map_or((settings.width_px, settings.height_px), |hires| {
            (hires.width_px, hires.height_px)
        })
}

/// What it costs, which is nothing: no tokens are counted.
pub(super) fn usage() -> Value {
    json!({
        "total_tokens": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "input_tokens_details": { "text_tokens": 0, "image_tokens": 0 },
    })
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

/// What a stream says in place of pictures when it fails.
pub(super) fn failure(error: Error) -> Value {
    let mut object = Problem::from(error).json();
    object["type"] = json!("error");
    object
}
