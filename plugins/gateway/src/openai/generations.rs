//! `POST /v1/images/generations`: pictures from a prompt.

use axum::{
    extract::{Request, State as Extract},
    response::Response,
};

use super::{Order, Reply, answer, host, quality_name};
use crate::{
    Shared, body,
    drawing::{self, Drawing},
    problem::Problem,
};

pub(super) async fn generations(
    Extract(state): Shared,
    request: Request,
) -> Result<Response, Problem> {
    let host = host(&request);
    let mut fields = body::json(request).await?;
    let prompt = drawing::prompt(&mut fields)?;
    let drawing = Drawing::take(&mut fields)?;
    let reply = Reply::take(
        &mut fields,
        host,
        drawing.model.as_deref(),
        quality_name(drawing.quality),
    )?;
    fields.finish()?;
    let client = state.daemon.own().await?;
    let mut request = drawing.resolve(&client, reply.partial_images).await?;
    request.prompt = prompt;
    let order = Order {
        request,
        reply,
        event: "image_generation",
    };
    answer::answer(state, client, order).await
}
