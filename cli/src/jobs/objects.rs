//! Jobs and their pictures as `--json` prints them.

use std::path::Path;

use imgd_client::{
    JobEvent, Timings,
    v1::{GenerateRequest, ImageMetadata, ImageState, Job, JobImage, PauseReason, Problem},
};
use prost_types::{Duration, Timestamp};
use serde_json::{Value, json};

use super::words;
use crate::json;

/// A job.
pub(crate) fn job(job: &Job) -> Value {
    let mut object = json::object("job", fields(job));
    object["job_id"] = json!(job.id);
    object
}

/// A picture of a job as lists have it.
pub(crate) fn job_image(job_id: &str, image: &JobImage) -> Value {
    let metadata = image.metadata.as_ref();
    let fields = json!({
        "job_id": job_id,
        "image_index": image.image_index,
        "state": image_state(image.state()),
        "format": metadata.map(|metadata| json::format_name(metadata.format())),
        "bytes": metadata.map(|_| image.size_bytes),
        "sha256": metadata.map(|metadata| &metadata.sha256),
        "model_hash": metadata.map(|metadata| &metadata.model_hash),
        "settings": metadata.and_then(|metadata| metadata.settings.as_ref()).map(json::settings),
        "parameters": metadata.map(|metadata| &metadata.parameters),
        "finished": time(image.finished.as_ref()),
        "problem": image.problem.as_ref().map(problem),
    });
    json::object("job_image", fields)
}

/// A picture of a job that lies at `path`: written now, or `existed` there already.
pub(crate) fn file(
    job_id: &str,
    image: &JobImage,
    metadata: &ImageMetadata,
    path: Option<&Path>,
    existed: bool,
) -> Value {
    let fields = json!({
        "job_id": job_id,
        "image_index": image.image_index,
        "path": path.map(|path| path.to_string_lossy()),
        "existed": existed,
        "format": json::format_name(metadata.format()),
        "bytes": image.size_bytes,
        "sha256": metadata.sha256,
        "model_hash": metadata.model_hash,
        "settings": metadata.settings.as_ref().map(json::settings),
        "parameters": metadata.parameters,
    });
    json::object("image", fields)
}

/// An event of a job which is `job` by then; of a picture that is finished, what it is and not its file.
pub(crate) fn event(event: &JobEvent, job: &Job, cursor: u64) -> Option<Value> {
    let mut object = match event {
        JobEvent::Snapshot(_) | JobEvent::Changed(_) => self::job(job),
        JobEvent::Loading { model, fraction } => json::loading(model, *fraction),
        JobEvent::Started(started) => json::started(started),
        JobEvent::Step(step) => json::step(step),
        JobEvent::Image(image) => job_image(&job.id, image),
        JobEvent::Notice {
            reason,
            message,
            field,
        } => json::notice(reason, message, field),
        _ => return None,
    };
    object["job_id"] = json!(job.id);
    object["cursor"] = json!(cursor);
    Some(object)
}

fn fields(job: &Job) -> Value {
    let timings = Timings::from(job.timings.unwrap_or_default());
    let in_flight = job.in_flight.iter().map(|image| {
        json!({
            "image_index": image.image_index,
            "evaluations_done": image.evaluations_done,
            "evaluation_count": image.evaluation_count,
            "evaluations_saved": image.evaluations_saved,
        })
    });
    let images = job.images.iter().map(|image| {
        json!({
            "prompt": image.prompt,
            "negative_prompt": image.negative_prompt,
            "seed": image.seed,
        })
    });
    json!({
        "state": words::state_name(job.state()),
        "pause_reason": match job.pause_reason() {
            PauseReason::Unspecified => None,
            PauseReason::Asked => Some("asked"),
            PauseReason::Held => Some("held"),
            PauseReason::DiskFull => Some("disk_full"),
        },
        "problem": job.problem.as_ref().map(problem),
        "request": job.request.as_ref().map(request),
        "images": images.collect::<Vec<_>>(),
        "hold_after_steps": job.hold_after_steps,
        "image_count": job.image_count,
        "images_done": job.images_done,
        "images_failed": job.images_failed,
        "images_held": job.images_held,
        "images_dropped": job.images_dropped,
        "in_flight": in_flight.collect::<Vec<_>>(),
        "fraction": words::fraction(job),
        "priority": words::priority(job),
        "position": job.position,
        "attached": job.attached,
        "client": job.client,
        "submitted": time(job.submitted.as_ref()),
        "started": time(job.started.as_ref()),
        "finished": time(job.finished.as_ref()),
        "queued_secs": timings.queued.as_secs_f64(),
        "loading_secs": timings.loading.as_secs_f64(),
        "starting_secs": timings.starting.as_secs_f64(),
        "stepping_secs": timings.stepping.as_secs_f64(),
        "finishing_secs": timings.finishing.as_secs_f64(),
        "worker_deaths": job.worker_deaths,
        "cursor": job.cursor,
    })
}

/// What was asked for; null where it was left to the model.
fn request(request: &GenerateRequest) -> Value {
    let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    let secs = |time: &Duration| {
        let nanos = f64::from(time.nanos) / 1e9;
        // Whole seconds of what a person asks for are exact.
        #[expect(clippy::cast_precision_loss, reason = "10,000 years are 2^39 seconds")]
        let secs = time.seconds as f64 + nanos;
        secs
    };
    json!({
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "styles": Some(&request.styles).filter(|styles| !styles.is_empty()),
        "model": named(&request.model),
        "width_px": request.width_px,
        "height_px": request.height_px,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "seed": request.seed,
        "variation_seed": request.variation_seed,
        "variation_strength": request.variation_strength,
        "hires_scale": request.hires.map(|hires| hires.hires_scale),
        "hires_strength": request.hires.and_then(|hires| hires.hires_strength),
        "hires_steps": request.hires.and_then(|hires| hires.hires_steps),
        "upscale": request.upscale.as_ref().map(|upscale| json!({
            "upscaler": upscale.upscaler,
            "scale": upscale.upscale_scale,
        })),
        "num_images": request.num_images,
        "sampler": named(&request.sampler),
        "schedule": named(&request.schedule),
        "clip_skip": request.clip_skip,
        "precision": json::precision_name(request.precision()),
        "format": json::format_name(request.format()),
        "jpeg_quality": request.jpeg_quality,
        "omit_metadata": request.omit_metadata,
        "request_id": named(&request.request_id),
        "keep_alive_secs": request.keep_alive.as_ref().map(secs),
    })
}

fn problem(problem: &Problem) -> Value {
    json!({
        "reason": problem.reason,
        "message": problem.message,
        "field": problem.field,
        "hint": problem.hint,
    })
}

fn image_state(state: ImageState) -> &'static str {
    match state {
        ImageState::Unspecified => "unknown",
        ImageState::Done => "done",
        ImageState::Failed => "failed",
        ImageState::Held => "held",
        ImageState::Dropped => "dropped",
    }
}

/// A time in RFC 3339, in UTC.
fn time(time: Option<&Timestamp>) -> Option<String> {
    let time = words::time(time)?;
    Some(jiff::Timestamp::try_from(time).ok()?.to_string())
}
