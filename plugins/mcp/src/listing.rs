//! What there is to draw with.

use imgd_client::Client;
use rmcp::model::CallToolResult;
use serde_json::json;

use crate::{refusal::Result, reply};

/// `list_models`. Where files lie is not told: no tool takes a path of a model.
pub(crate) async fn models(client: &Client) -> Result<CallToolResult> {
    let list = client.models().await?;
    let samplers = client.samplers().await?;
    let default = client.model(None).await?;
    let defaults = default.defaults.unwrap_or_default();
    let mut lines = vec![format!(
        "Default: {}, {}x{}, {} steps of {}, guidance {}.",
        default.name,
        defaults.width_px,
        defaults.height_px,
        defaults.num_inference_steps,
        defaults.sampler,
        defaults.guidance_scale
    )];
    let usable = list.models.iter().filter(|model| model.lacks.is_empty());
    let usable: Vec<_> = usable.collect();
    lines.push(match usable.is_empty() {
        true => "Models: none.".to_owned(),
        false => {
            let names: Vec<_> = usable.iter().map(|model| model.name.as_str()).collect();
            format!("Models: {}.", names.join(", "))
        }
    });
    let upscalers: Vec<_> = list
        .upscalers
        .iter()
        .map(|model| model.name.as_str())
        .collect();
    lines.push(match upscalers.is_empty() {
        true => "Upscalers: none, so that upscale_image cannot be used.".to_owned(),
        false => format!("Upscalers: {}.", upscalers.join(", ")),
    });
    let object = json!({
        "default": {
            "name": default.name,
            "family": default.family,
            "size_multiple_px": default.size_multiple_px,
            "settings": reply::settings(&defaults),
        },
        "models": usable.iter().map(|model| json!({
            "name": model.name,
            "aliases": model.aliases,
            "family": model.family,
            "is_default": model.is_default,
            "is_loaded": model.is_loaded,
            "origin": model.origin,
        })).collect::<Vec<_>>(),
        "upscalers": upscalers,
        "samplers": samplers.samplers.iter().map(|sampler| json!({
            "name": sampler.name,
            "description": sampler.description,
            "schedules": sampler.schedules,
        })).collect::<Vec<_>>(),
        "schedules": samplers.schedules.iter().map(|schedule| json!({
            "name": schedule.name,
            "description": schedule.description,
        })).collect::<Vec<_>>(),
    });
    Ok(reply::said(lines.join("\n"), object))
}
