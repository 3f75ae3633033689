//! `GET /v1/models` and `/v1/models/{id}`: the models that have a name.

use axum::{
    extract::{Path, State as Extract},
    response::Response,
};
use imgd_client::v1::ModelSummary;
use serde_json::{Value, json};

use crate::{
    Shared, models as names,
    problem::{Problem, answer},
};

pub(super) async fn list(Extract(state): Shared) -> Result<Response, Problem> {
    let models = state.daemon.shared().await?.models().await?.models;
    Ok(answer(
        &json!({ "object": "list", "data": entries(&models) }),
    ))
}

pub(super) async fn one(
    Extract(state): Shared,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let models = state.daemon.shared().await?.models().await?.models;
    let mut entries = entries(&models);
    if names::is_openai(&id) {
        entries.push(entry(&id, OWNER_OF_OPENAI_NAMES));
    }
    let found = entries.into_iter().find(|entry| entry["id"] == id.as_str());
    found
        .map(|entry| answer(&entry))
        .ok_or_else(|| names::not_found(&id))
}

/// Who is said to own names that stand for the default model.
const OWNER_OF_OPENAI_NAMES: &str = "imgd-default-model";

/// The models, their other names, and OpenAI's, which stand for the default.
fn entries(models: &[ModelSummary]) -> Vec<Value> {
    let mut entries = Vec::new();
    for model in models {
        let names = std::iter::once(&model.name).chain(&model.aliases);
        entries.extend(names.map(|name| entry(name, &model.origin)));
    }
    for name in names::OPENAI_LISTED {
        if !entries.iter().any(|entry| entry["id"] == name) {
            entries.push(entry(name, OWNER_OF_OPENAI_NAMES));
        }
    }
    entries
}

/// When a model was made is not known: 0.
fn entry(id: &str, owner: &str) -> Value {
    json!({ "id": id, "object": "model", "created": 0, "owned_by": owner })
}
