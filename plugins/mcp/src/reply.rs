//! What a model gets: a sentence with the paths, the pictures, and the same for programs.

use imgd_client::v1::{JobState, Settings};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};

use crate::{
    draw::{Made, Outcome},
    inline::{BUDGET_BYTES, Inline, inline},
    refusal::Refusal,
};

/// A job with its pictures; inline where `with_pictures`.
pub(crate) fn outcome(outcome: &Outcome, with_pictures: bool) -> CallToolResult {
    // Each has as much room as the others.
    let budget = BUDGET_BYTES / outcome.made.len().max(1);
    let inlined: Vec<_> = outcome
        .made
        .iter()
        .map(|made| with_pictures.then(|| inline(&made.image, budget)).flatten())
        .collect();
    let pictures: Vec<_> = outcome
        .made
        .iter()
        .zip(&inlined)
        .map(|(made, inlined)| picture(made, inlined.as_ref()))
        .collect();
    let mut notices = outcome.notices.clone();
    notices.extend(outcome.problem.as_ref().map(Refusal::text));
    let mut content = vec![ContentBlock::text(text(outcome, &notices, &inlined))];
    content.extend(
        inlined
            .into_iter()
            .flatten()
            .map(|inline| ContentBlock::image(inline.base64, inline.mime_type)),
    );
    let mut result = CallToolResult::success(content);
    result.structured_content = Some(json!({
        "job_id": outcome.job_id,
        "state": state(outcome.state),
        "fraction": outcome.fraction,
        "pictures": pictures,
        "notices": notices,
    }));
    result
}

/// What a tool says that has no pictures.
pub(crate) fn said(text: impl Into<String>, object: Value) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(object);
    result
}

/// A tool's error, which the model is to read: no error of the protocol.
pub(crate) fn refusal(refusal: &Refusal) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(refusal.text())]);
    result.structured_content = Some(refusal.object());
    result
}

/// A state's word in replies.
pub(crate) fn state(state: JobState) -> &'static str {
    match state {
        JobState::Unspecified | JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Paused => "paused",
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

fn text(outcome: &Outcome, notices: &[String], inlined: &[Option<Inline>]) -> String {
    let mut lines = Vec::new();
    match outcome.state {
        JobState::Succeeded => {}
        JobState::Failed | JobState::Cancelled => {
            lines.push(format!("Job {} is {}.", outcome.job_id, state(outcome.state)));
        }
        unfinished => lines.push(format!(
            "Job {} is {}, {:.0} % done. It goes on by itself: job_status with this job_id and wait_secs waits for it and returns the \
pictures, cancel_job ends it.",
            outcome.job_id,
            state(unfinished),
            outcome.fraction * 100.0
        )),
    }
    if let Some(first) = outcome.made.first() {
        lines.push(how(&first.image.settings, outcome.made.len()));
    }
    for made in &outcome.made {
        let path = made.path.display();
        lines.push(match &made.image.settings.upscale {
            Some(_) => format!("{path}"),
            None => format!("{path} (seed {})", made.image.settings.seed),
        });
    }
    if inlined.iter().flatten().any(|inline| inline.is_preview) {
        lines.push(
            "Shown is a smaller JPEG; the file on disk has full size and quality.".to_owned(),
        );
    }
    lines.extend(notices.iter().map(|notice| format!("Note: {notice}")));
    lines.join("\n")
}

/// `2 pictures of 256x256 by starter: 14 steps of dpmpp_2m, guidance 3.5.`
fn how(settings: &Settings, count: usize) -> String {
    let number = match count {
        1 => "1 picture".to_owned(),
        count => format!("{count} pictures"),
    };
    let size = format!("{}x{}", settings.width_px, settings.height_px);
    match &settings.upscale {
        Some(upscale) => format!("{number} of {size}, enlarged by {}.", upscale.upscaler),
        None => format!(
            "{number} of {size} by {}: {} steps of {}, guidance {}.",
            settings.model, settings.num_inference_steps, settings.sampler, settings.guidance_scale
        ),
    }
}

fn picture(made: &Made, inlined: Option<&Inline>) -> Value {
    let image = &made.image;
    json!({
        "path": made.path.to_string_lossy(),
        "width_px": image.settings.width_px,
        "height_px": image.settings.height_px,
        "seed": image.settings.seed,
        "sha256": image.sha256,
        "settings": settings(&image.settings),
        "is_preview": inlined.is_some_and(|inline| inline.is_preview),
    })
}

/// What a picture was made with; the prompt is not repeated.
pub(crate) fn settings(settings: &Settings) -> Value {
    json!({
        "model": settings.model,
        "width_px": settings.width_px,
        "height_px": settings.height_px,
        "num_inference_steps": settings.num_inference_steps,
        "guidance_scale": settings.guidance_scale,
        "seed": settings.seed,
        "sampler": settings.sampler,
        "schedule": settings.schedule,
        "strength": settings.strength,
        "upscaler": settings.upscale.as_ref().map(|upscale| &upscale.upscaler),
        "scale": settings.upscale.as_ref().map(|upscale| upscale.scale),
    })
}

#[cfg(test)]
mod tests {
    use imgd_client::{Image, ImageFormat};

    use super::*;

    fn made(bytes: usize) -> Made {
        Made {
            image: Image {
                index: 0,
                bytes: vec![0; bytes],
                format: ImageFormat::Png,
                settings: Settings {
                    model: "starter".into(),
                    width_px: 8,
                    height_px: 8,
                    seed: 7,
                    ..Settings::default()
                },
                model_hash: String::new(),
                sha256: String::new(),
                parameters: String::new(),
            },
            path: "/p/a-7.png".into(),
        }
    }

    fn of(state: JobState, made: Vec<Made>) -> Outcome {
        Outcome {
            job_id: "0123".into(),
            state,
            fraction: 0.5,
            made,
            notices: vec!["the prompt was cut".into()],
            problem: None,
        }
    }

    #[test]
    fn a_reply_has_the_picture_its_path_and_its_settings() {
        let result = outcome(&of(JobState::Succeeded, vec![made(9)]), true);
        let text = &result.content[0].as_text().unwrap().text;
        assert!(text.contains("/p/a-7.png (seed 7)"), "{text}");
        assert!(text.contains("Note: the prompt was cut"), "{text}");
        assert_eq!(result.content[1].as_image().unwrap().mime_type, "image/png");
        let object = result.structured_content.unwrap();
        assert_eq!(object["pictures"][0]["settings"]["seed"], 7);
        assert_eq!(object["pictures"][0]["is_preview"], false);
        assert_eq!(
            outcome(&of(JobState::Succeeded, vec![made(9)]), false)
                .content
                .len(),
            1
        );
    }

    #[test]
    fn an_unfinished_job_says_how_to_go_on() {
        let result = outcome(&of(JobState::Running, Vec::new()), true);
        let text = &result.content[0].as_text().unwrap().text;
        assert!(
            text.starts_with("Job 0123 is running, 50 % done."),
            "{text}"
        );
        assert!(text.contains("job_status"), "{text}");
    }

    #[test]
    fn an_error_is_the_tools_and_not_the_protocols() {
        let result = refusal(&Refusal::field("seed", "seed must be a number"));
        assert_eq!(result.is_error, Some(true));
        assert!(
            result.content[0]
                .as_text()
                .unwrap()
                .text
                .contains("field: seed")
        );
    }
}
