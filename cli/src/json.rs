//! The `--json` output: one object a line on standard output.
//!
//! Every object has `schema` (1; it grows when a field changes its meaning or goes) and `event`. Fields may be added
//! at any time; unknown ones are to be ignored. `docs/json.md` lists them. Times are in seconds, sizes in bytes.

use std::path::Path;

use imgd_client::{
    ControlPreprocess, Event, Image, ImageFormat, Precision, Priority, PromptSyntax, Started, Step,
    v1,
};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// Version of the objects.
const SCHEMA: u32 = 1;

/// An object of kind `event` with the fields of `fields`.
pub(crate) fn object(event: &str, fields: Value) -> Value {
    let mut object = Map::from_iter([
        ("schema".to_owned(), json!(SCHEMA)),
        ("event".to_owned(), json!(event)),
    ]);
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object)
}

/// The last object of a command that failed.
pub(crate) fn failure(failure: &Failure) -> Value {
    object(
        "error",
        json!({
            "reason": failure.reason,
            "message": failure.message,
            "hint": failure.hint,
            "field": failure.field,
            "exit_code": failure.code,
        }),
    )
}

/// An event of `imgctl generate`. A picture is reported by [`image()`], when it is written.
pub(crate) fn event(event: &Event, job_id: &str) -> Option<Value> {
    let mut object = match event {
        Event::Queued {
            position,
            request_id,
            priority,
        } => object(
            "queued",
            json!({ "position": position, "request_id": request_id, "priority": priority_name(*priority) }),
        ),
        Event::Loading { model, fraction } => loading(model, *fraction),
        Event::Started(event) => started(event),
        Event::Step(event) => step(event),
        Event::Finished(timings) => object(
            "finished",
            json!({
                "image_count": timings.image_count,
                "queued_secs": timings.queued.as_secs_f64(),
                "loading_secs": timings.loading.as_secs_f64(),
                "starting_secs": timings.starting.as_secs_f64(),
                "stepping_secs": timings.stepping.as_secs_f64(),
                "finishing_secs": timings.finishing.as_secs_f64(),
            }),
        ),
        Event::Notice {
            reason,
            message,
            field,
        } => notice(reason, message, field),
        _ => return None,
    };
    object["job_id"] = json!(job_id);
    Some(object)
}

/// A model of which a part is read.
pub(crate) fn loading(model: &str, fraction: f64) -> Value {
    object("loading", json!({ "model": model, "fraction": fraction }))
}

/// An image begins.
pub(crate) fn started(started: &Started) -> Value {
    object(
        "started",
        json!({
            "image_index": started.image_index,
            "image_count": started.image_count,
            "evaluation_count": started.evaluation_count,
            "evaluations_done": started.evaluations_done,
            "settings": settings(&started.settings),
        }),
    )
}

/// A network evaluation is done.
pub(crate) fn step(step: &Step) -> Value {
    object(
        "step",
        json!({
            "image_index": step.image_index,
            "index": step.index,
            "count": step.count,
            "inference_step": step.inference_step,
            "sigma": step.sigma,
            "eta_secs": step.eta.map(|eta| eta.as_secs_f64()),
        }),
    )
}

/// Something to know that is no error.
pub(crate) fn notice(reason: &str, message: &str, field: &str) -> Value {
    object(
        "notice",
        json!({ "reason": reason, "message": message, "field": field }),
    )
}

/// A picture that was written to `path` (none: to standard output).
pub(crate) fn image(image: &Image, path: Option<&Path>, job_id: &str) -> Value {
    object(
        "image",
        json!({
            "job_id": job_id,
            "image_index": image.index,
            "path": path.map(|path| path.to_string_lossy()),
            "format": format_name(image.format),
            "bytes": image.bytes.len(),
            "sha256": image.sha256,
            "model_hash": image.model_hash,
            "settings": settings(&image.settings),
            "parameters": image.parameters,
        }),
    )
}

/// Every setting of an image.
pub(crate) fn settings(settings: &v1::Settings) -> Value {
    json!({
        "model": settings.model,
        "width_px": settings.width_px,
        "height_px": settings.height_px,
        "num_inference_steps": settings.num_inference_steps,
        "guidance_scale": settings.guidance_scale,
        "seed": settings.seed,
        "variation_seed": settings.variation_seed,
        "variation_strength": settings.variation_strength,
        "sampler": settings.sampler,
        "schedule": settings.schedule,
        "prediction": settings.prediction,
        "clip_skip": settings.clip_skip,
        "precision": precision_name(settings.precision()),
        "prompt_syntax": match settings.prompt_syntax() {
            PromptSyntax::Unspecified => None,
            PromptSyntax::Plain => Some("plain"),
            PromptSyntax::A1111 => Some("a1111"),
        },
        "strength": settings.strength,
        "loras": Some(loras(&settings.loras)).filter(|loras| !loras.is_empty()),
        "controls": Some(controls(&settings.controls)).filter(|controls| !controls.is_empty()),
        "embeddings": Some(embeddings(&settings.embeddings)).filter(|used| !used.is_empty()),
        "ref_image_sha256": Some(&settings.ref_image_sha256).filter(|pictures| !pictures.is_empty()),
        "hires": settings.hires.as_ref().map(|hires| json!({
            "scale": hires.scale,
            "strength": hires.strength,
            "num_inference_steps": hires.num_inference_steps,
            "width_px": hires.width_px,
            "height_px": hires.height_px,
        })),
        "upscale": settings.upscale.as_ref().map(|upscale| json!({
            "upscaler": upscale.upscaler,
            "sha256": upscale.sha256,
            "scale": upscale.scale,
            "network_scale": upscale.network_scale,
            "image_sha256": upscale.image_sha256,
        })),
        "max_sequence_length": Some(settings.max_sequence_length).filter(|length| *length > 0),
    })
}

/// Width and height of a picture that is made with these settings.
pub(crate) fn size_px(settings: &v1::Settings) -> (u32, u32) {
    let first = (settings.width_px, settings.height_px);
    let last = settings.hires.as_ref();
    last.map_or(first, |hires| (hires.width_px, hires.height_px))
}

/// A model in memory.
pub(crate) fn loaded_model(model: &v1::LoadedModel) -> Value {
    let expires_in = model
        .expires_in
        .and_then(|time| std::time::Duration::try_from(time).ok());
    json!({
        "name": model.name,
        "model_hash": model.model_hash,
        "memory_bytes": model.memory_bytes,
        "device": model.device,
        "expires_in_secs": expires_in.map(|time| time.as_secs_f64()),
        "precision": precision_name(model.precision()),
    })
}

pub(crate) fn precision_name(precision: Precision) -> &'static str {
    match precision {
        Precision::Unspecified | Precision::Auto => "auto",
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    }
}

fn priority_name(priority: Priority) -> &'static str {
    match priority {
        Priority::Unspecified | Priority::Interactive => "interactive",
        Priority::Batch => "batch",
        Priority::Background => "background",
    }
}

/// A file format as `--format` names it.
pub(crate) fn format_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Unspecified | ImageFormat::Png => "png",
        ImageFormat::Jpeg => "jpeg",
        ImageFormat::Webp => "webp",
    }
}

/// Adapters that were used.
fn loras(loras: &[v1::UsedLora]) -> Vec<Value> {
    loras
        .iter()
        .map(|lora| json!({"name": lora.name, "weight": lora.weight, "sha256": lora.sha256}))
        .collect()
}

/// ControlNets that were used.
fn controls(controls: &[v1::UsedControl]) -> Vec<Value> {
    controls
        .iter()
        .map(|control| {
            json!({
                "name": control.name,
                "weight": control.weight,
                "start": control.start,
                "end": control.end,
                "preprocess": match control.preprocess() {
                    ControlPreprocess::Unspecified => None,
                    ControlPreprocess::Canny => Some("canny"),
                },
                "canny_low": control.canny_low,
                "canny_high": control.canny_high,
                "image_sha256": control.image_sha256,
                "sha256": control.sha256,
            })
        })
        .collect()
}

/// Embeddings that were used.
fn embeddings(used: &[v1::UsedEmbedding]) -> Vec<Value> {
    used.iter()
        .map(|one| json!({"name": one.name, "sha256": one.sha256}))
        .collect()
}
