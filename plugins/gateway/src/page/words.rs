//! Jobs and pictures as the page reads them. What is absent is not known, or left to the model.

use imgd_client::{ImageFormat, v1};
use serde_json::{Value, json};

use crate::{drawing::format_name, openai::size, problem::caller_name};

/// A job. `request` is `null` where an event leaves it out: then it is as it was.
pub(super) fn job(job: &v1::Job) -> Value {
    json!({
        "id": job.id,
        "state": state(job.state()),
        "request": job.request.as_ref().map(request),
        "image_count": job.image_count,
        "images_done": job.images_done,
        "images_failed": job.images_failed,
        "position": job.position,
        "in_flight": job.in_flight.iter().map(|image| json!({
            "index": image.image_index,
            "done": image.evaluations_done,
            "count": image.evaluation_count,
        })).collect::<Vec<_>>(),
        "problem": job.problem.as_ref().map(problem),
        "client": job.client,
        "submitted_ms": milliseconds(job.submitted.as_ref()),
        "finished_ms": milliseconds(job.finished.as_ref()),
        "cursor": job.cursor,
    })
}

fn state(state: v1::JobState) -> &'static str {
    use v1::JobState as S;
    match state {
        S::Queued => "queued",
        S::Running => "running",
        S::Paused => "paused",
        S::Succeeded => "succeeded",
        S::Failed => "failed",
        S::Cancelled => "cancelled",
        S::Unspecified => "unknown",
    }
}

/// What was asked for.
fn request(request: &v1::GenerateRequest) -> Value {
    json!({
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "model": request.model,
        "width": request.width_px,
        "height": request.height_px,
        "steps": request.num_inference_steps,
        "cfg_scale": request.guidance_scale,
        "seed": request.seed.map(|seed| seed.to_string()),
        "n": request.num_images.unwrap_or(1),
        "sampler": request.sampler,
        "schedule": request.schedule,
        "strength": request.input.as_ref().and_then(|input| input.strength),
        "has_input": needs_pictures(request),
        "is_upscale": request.upscale.is_some(),
    })
}

/// Whether pictures came with it, which only who sent them has.
pub(super) fn needs_pictures(request: &v1::GenerateRequest) -> bool {
    request.input.is_some() || !request.controls.is_empty() || !request.ref_images.is_empty()
}

/// A picture of a job.
pub(super) fn picture(job_id: &str, image: &v1::JobImage) -> Value {
    let metadata = image.metadata.clone().unwrap_or_default();
    json!({
        "job_id": job_id,
        "index": image.image_index,
        "is_done": image.state() == v1::ImageState::Done,
        "problem": image.problem.as_ref().map(problem),
        "settings": settings(&metadata.settings.clone().unwrap_or_default()),
        "parameters": metadata.parameters,
        "format": format_name(metadata.format()),
        "size_bytes": image.size_bytes,
        "finished_ms": milliseconds(image.finished.as_ref()),
    })
}

/// Every setting of a picture. A seed has more digits than the page's numbers: it is a text.
pub(super) fn settings(settings: &v1::Settings) -> Value {
    let (width_px, height_px) = size(settings);
    json!({
        "model": settings.model,
        "width": settings.width_px,
        "height": settings.height_px,
        "picture_width": width_px,
        "picture_height": height_px,
        "steps": settings.num_inference_steps,
        "cfg_scale": settings.guidance_scale,
        "is_guided": settings.is_guided,
        "seed": settings.seed.to_string(),
        "sampler": settings.sampler,
        "schedule": settings.schedule,
        "strength": settings.strength,
        "variation_seed": settings.variation_seed.map(|seed| seed.to_string()),
        "variation_strength": settings.variation_strength,
        "loras": settings.loras.iter().map(|lora| json!({ "name": lora.name, "weight": lora.weight })).collect::<Vec<_>>(),
        "upscaler": settings.upscale.as_ref().map(|upscale| upscale.upscaler.clone()),
    })
}

fn problem(problem: &v1::Problem) -> Value {
    json!({
        "reason": problem.reason,
        "message": problem.message,
        "hint": problem.hint,
        "param": (!problem.field.is_empty()).then(|| caller_name(&problem.field)),
    })
}

fn milliseconds(time: Option<&(impl Clone + TryInto<std::time::SystemTime>)>) -> Option<u128> {
    let time = time?.clone().try_into().ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_millis())
}

/// The media type of a picture's file.
pub(super) fn media_type(format: ImageFormat) -> &'static str {
    crate::drawing::media_type(format)
}
