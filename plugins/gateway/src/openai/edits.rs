//! `POST /v1/images/edits`: a picture changed by a prompt, as a whole or where a mask is transparent.

use axum::{
    extract::{Request, State as Extract},
    response::Response,
};

use super::{Order, Reply, answer, host, quality_name};
use crate::{
    Shared, body,
    drawing::{self, Drawing},
    input::Pictures,
    problem::Problem,
};

pub(super) async fn edits(Extract(state): Shared, request: Request) -> Result<Response, Problem> {
    let host = host(&request);
    let mut form = body::form(&state, request).await?;
    let prompt = drawing::prompt(&mut form.fields)?;
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
    request.prompt = prompt;
    request.input = pictures.input;
    request.ref_images = pictures.ref_images;
    let order = Order {
        request,
        reply,
        event: "image_edit",
    };
    answer::answer(state, client, order).await
}
