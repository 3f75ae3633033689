//! What there is to choose from: models, samplers, schedules.

use axum::{
    extract::{Path, State as Extract},
    response::Response,
};
use serde_json::json;

use super::words;
use crate::{
    Shared,
    problem::{Problem, answer},
};

/// `GET /api/choices`.
pub(super) async fn choices(Extract(state): Shared) -> Result<Response, Problem> {
    let client = state.daemon.shared().await?;
    let models = client.models().await?.models;
    let samplers = client.samplers().await?;
    let status = client.status().await?;
    Ok(answer(&json!({
        "version": status.version,
        "models": models.iter().map(|model| json!({
            "name": model.name,
            "is_default": model.is_default,
            "is_loaded": model.is_loaded,
            "lacks": model.lacks,
        })).collect::<Vec<_>>(),
        "samplers": samplers.samplers.iter().map(|sampler| json!({
            "name": sampler.name,
            "description": sampler.description,
            "schedules": sampler.schedules,
        })).collect::<Vec<_>>(),
        "schedules": samplers.schedules.iter().map(|schedule| json!({
            "name": schedule.name,
            "description": schedule.description,
        })).collect::<Vec<_>>(),
    })))
}

/// `GET /api/models/NAME`: what a request gets that names nothing.
pub(super) async fn model(
    Extract(state): Shared,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    if name.starts_with('/') {
        return Err(crate::models::not_found(&name));
    }
    let model = state.daemon.shared().await?.model(Some(&name)).await?;
    Ok(answer(&json!({
        "name": model.name,
        "defaults": words::settings(&model.defaults.clone().unwrap_or_default()),
        "size_multiple": model.size_multiple_px,
        "negative_prompt": model.negative_prompt,
    })))
}
