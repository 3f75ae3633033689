//! `POST /v1/images/edits`: a picture changed by a prompt, as a whole or where a mask is transparent.

use std::sync::Arc;

use axum::{
    extract::{Request, State as Extract},
    response::Response,
};
use imgd_client::GenerateRequest;

use super::{Order, Reply, answer, host, quality_name};
use crate::{
    Shared, State, body,
    drawing::{self, Drawing},
    fields::Fields,
    input::Pictures,
    problem::Problem,
};

pub(super) async fn edits(Extract(state): Shared, request: Request) -> Result<Response, Problem> {
    from_pictures(state, request, "image_edit", drawing::prompt, |_| {}).await
}

/// Draws from the pictures of a form. `event`: see [`Order`]; `prompt` takes the form's, `adapt` has the last word on what is
/// drawn.
pub(super) async fn from_pictures(
    state: Arc<State>,
    request: Request,
    event: &'static str,
    prompt: impl Fn(&mut Fields) -> Result<String, Problem>,
    adapt: impl Fn(&mut GenerateRequest),
) -> Result<Response, Problem> {
    let host = host(&request);
    let mut form = body::form(&state, request).await?;
    let prompt = prompt(&mut form.fields)?;
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
    adapt(&mut request);
    let order = Order {
        request,
        reply,
        event,
    };
    answer::answer(state, client, order).await
}
