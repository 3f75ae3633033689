//! `POST /v1/images/variations`: pictures like one.
//!
//! The picture is what is begun from, and nothing is said of what it shows: a prompt may be, beside OpenAI's fields.

use axum::{
    extract::{Request, State as Extract},
    response::Response,
};

use super::edits::from_pictures;
use crate::{Shared, fields::Fields, problem::Problem};

/// How much of the way from noise is gone where the caller does not say: enough to differ, and alike still.
const STRENGTH: f64 = 0.6;

pub(super) async fn variations(
    Extract(state): Shared,
    request: Request,
) -> Result<Response, Problem> {
    let prompt = |fields: &mut Fields| Ok(fields.text("prompt")?.unwrap_or_default());
    from_pictures(state, request, "image_variation", prompt, |request| {
        if let Some(input) = request.input.as_mut().filter(|input| input.mask.is_empty()) {
            input.strength.get_or_insert(STRENGTH);
        }
    })
    .await
}
