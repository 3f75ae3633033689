//! `POST /v1/images/variations`: pictures like one.
//!
//! The picture is what is begun from, and nothing is said of what it shows: a prompt may be, beside OpenAI's fields.

use axum::{
    extract::{Request, State as Extract},
    response::Response,
};

use super::{Order, Reply, answer, host, quality_name};
use crate::{Shared, body, drawing::Drawing, input::Pictures, problem::Problem};

/// How much of the way from noise is gone where the caller does not say: enough to differ, and alike still.
const STRENGTH: f64 = 0.6;

pub(super) async fn variations(
    Extract(state): Shared,
    request: Request,
) -> Result<Response, Problem> {
    let host = host(&request);
    let mut form = body::form(&state, request).await?;
    let prompt = form.fields.text("prompt")?;
    let drawing = Drawing::take(&mut form.fields)?;
    let reply = Reply::take(
        &mut form.fields,
        host,
        drawing.model.as_deref(),
        quality_name(drawing.quality),
    )?;
    let pictures = Pictures::take(&mut form).await?;
    form.fields.finish()?;
    let client = state.daemon.own().await?;
    let mut request = drawing.resolve(&client, reply.partial_images).await?;
    request.prompt = prompt.unwrap_or_default();
    request.ref_images = pictures.ref_images;
    request.input = pictures.input.map(|mut input| {
        if input.mask.is_empty() {
            input.strength = input.strength.or(Some(STRENGTH));
        }
        input
    });
    let order = Order {
        request,
        reply,
        event: "image_variation",
    };
    answer::answer(state, client, order).await
}
