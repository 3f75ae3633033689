//! A picture made again: with another seed, or with a little of another seed's noise.

use axum::{
    extract::{Path, Request, State as Extract},
    http::StatusCode,
    response::Response,
};
use imgd_client::{Client, GenerateRequest, JobRequest, v1};
use serde_json::json;

use super::{jobs::PREVIEWS, words};
use crate::{
    Shared, body,
    problem::{Problem, answer},
};

/// How far a variation's noise is on the way to another seed's.
const VARIATION_STRENGTH: f64 = 0.2;

/// `POST /api/jobs/ID/again` with `index`, `how` (`again` or `vary`) and `request_id`.
pub(super) async fn again(
    Extract(state): Shared,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let mut fields = body::json(request).await?;
    let index = fields.small("index")?.unwrap_or(0);
    let varies = fields.choice("how", &["again", "vary"])? == Some("vary");
    let request_id = fields.text("request_id")?;
    fields.finish()?;
    let client = state.daemon.shared().await?;
    let job = client.job(&id).await?;
    let mut generate = request_of(&job, index)?;
    if varies {
        generate.seed = Some(seed_of(&client, &job, index).await?);
        generate.variation_strength = Some(VARIATION_STRENGTH);
    }
    generate.request_id = request_id;
    let submitted = client
        .submit(JobRequest {
            generate,
            ..JobRequest::default()
        })
        .await?;
    state.begun.notify_waiters();
    Ok(answer(&json!({ "job": words::job(&submitted.job) })))
}

/// The seed that a picture was made with.
async fn seed_of(client: &Client, job: &v1::Job, index: u32) -> Result<u64, Problem> {
    let images = client.images(&job.id).all().await?;
    images
        .into_iter()
        .find(|image| image.image_index == index)
        .and_then(|image| image.metadata?.settings)
        .map(|settings| settings.seed)
        .ok_or_else(|| Problem::not_found("image_not_found", "the job has no such picture"))
}

/// The request that makes one picture of a job, but for its seed.
///
/// Fails where pictures came with the job's: the daemon does not give them out.
fn request_of(job: &v1::Job, index: u32) -> Result<GenerateRequest, Problem> {
    let asked = job.request.clone().unwrap_or_default();
    if words::needs_pictures(&asked) {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "invalid_request_error",
            "needs_picture",
            "it was made from a picture, which is not kept: use its settings and add the picture again",
        )
        .with_param("image"));
    }
    let own = usize::try_from(index)
        .ok()
        .and_then(|index| job.images.get(index));
    let own = own.cloned().unwrap_or_default();
    let precision = asked.precision();
    let prompt_syntax = asked.prompt_syntax();
    let format = asked.format();
    let filled = |text: String| (!text.is_empty()).then_some(text);
    let mut loras = asked.loras;
    loras.extend(own.loras);
    Ok(GenerateRequest {
        prompt: own.prompt.unwrap_or(asked.prompt),
        negative_prompt: own.negative_prompt.or(asked.negative_prompt),
        model: filled(asked.model),
        model_config: filled(asked.model_config),
        model_parts: asked.model_parts,
        width_px: asked.width_px,
        height_px: asked.height_px,
        num_inference_steps: asked.num_inference_steps,
        guidance_scale: asked.guidance_scale,
        num_images: Some(1),
        sampler: filled(asked.sampler),
        schedule: filled(asked.schedule),
        clip_skip: asked.clip_skip,
        max_sequence_length: asked.max_sequence_length,
        prompt_syntax,
        loras,
        styles: asked.styles,
        prompts_are_final: asked.prompts_are_final,
        hires: asked.hires,
        precision,
        format,
        jpeg_quality: asked.jpeg_quality,
        omit_metadata: asked.omit_metadata,
        preview_every_n_steps: match asked.preview_every_n_steps {
            0 => (asked.num_inference_steps.unwrap_or(PREVIEWS) / PREVIEWS).max(1),
            steps => steps,
        },
        ..GenerateRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_s_own_prompt_goes_before_the_job_s() {
        let job = v1::Job {
            request: Some(v1::GenerateRequest {
                prompt: "all".into(),
                seed: Some(4),
                num_images: Some(9),
                sampler: "euler".into(),
                ..v1::GenerateRequest::default()
            }),
            images: vec![
                v1::ImageVariation::default(),
                v1::ImageVariation {
                    prompt: Some("one".into()),
                    ..v1::ImageVariation::default()
                },
            ],
            ..v1::Job::default()
        };
        let prompts = [0, 1, 2].map(|index| request_of(&job, index).unwrap().prompt);
        assert_eq!(prompts, ["all", "one", "all"]);
        let request = request_of(&job, 0).unwrap();
        assert_eq!((request.seed, request.num_images), (None, Some(1)));
        assert_eq!(
            (request.sampler.as_deref(), request.model),
            (Some("euler"), None)
        );
    }

    #[test]
    fn what_began_from_a_picture_is_refused() {
        let job = v1::Job {
            request: Some(v1::GenerateRequest {
                input: Some(v1::ImageInput::default()),
                ..v1::GenerateRequest::default()
            }),
            ..v1::Job::default()
        };
        assert_eq!(
            request_of(&job, 0).unwrap_err().json()["error"]["param"],
            "image"
        );
    }
}
