//! `imgctl jobs show`: all that is known of a job.

use std::time::Duration;

use clap::Args;
use imgd_client::{
    Client, Timings,
    v1::{GenerateRequest, ImageState, Job, JobImage, JobState},
};
use prost_types::Timestamp;

use crate::{
    Context, durations,
    failure::Failure,
    jobs::{objects, which, words},
    table,
};

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Job: its id, or the first digits of it
    #[arg(value_name = "ID")]
    id: String,
    /// List its pictures too
    #[arg(long, short)]
    images: bool,
}

impl Show {
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        self.id = which::id(&self.id)?;
        Ok(())
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = Client::connect(context.connect.clone()).await?;
        let job = client.job(&self.id).await?;
        let images = match self.images {
            true => client.images(&job.id).all().await?,
            false => Vec::new(),
        };
        let terminal = context.terminal;
        if context.json {
            terminal.line(&objects::job(&job).to_string())?;
            return images.iter().try_for_each(|image| {
                terminal.line(&objects::job_image(&job.id, image).to_string())
            });
        }
        let rows: Vec<_> = facts(&job)
            .into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect();
        terminal.line(&table::lines(&rows).join("\n"))?;
        if self.images {
            let lines = table::fitted(&pictures(&images), terminal.columns());
            terminal.line(&format!("\n{}", lines.join("\n")))?;
        }
        Ok(())
    }
}

/// What there is to say, each with its name.
fn facts(job: &Job) -> Vec<(&'static str, String)> {
    let request = job.request.clone().unwrap_or_default();
    let mut facts = vec![
        ("id", job.id.clone()),
        ("state", state(job)),
        ("progress", progress(job)),
    ];
    if let Some(problem) = &job.problem {
        facts.push((
            "problem",
            format!("{} ({})", problem.message, problem.reason),
        ));
        if !problem.hint.is_empty() {
            facts.push(("hint", problem.hint.clone()));
        }
    }
    facts.push(("prompt", words::title(job)));
    if let Some(negative) = &request.negative_prompt {
        facts.push(("negative", words::one_line(negative)));
    }
    facts.push(("asked for", asked_for(&request)));
    if job.hold_after_steps > 0 {
        facts.push((
            "holds",
            format!("each picture after step {}", job.hold_after_steps),
        ));
    }
    for image in &job.in_flight {
        facts.push((
            "drawing",
            format!(
                "picture {}: evaluation {} of {}, {} safe on disk",
                image.image_index,
                image.evaluations_done,
                image.evaluation_count,
                image.evaluations_saved
            ),
        ));
    }
    facts.push(("priority", words::priority(job).to_owned()));
    facts.push(("client", words::one_line(&job.client)));
    if !request.request_id.is_empty() {
        facts.push(("request id", request.request_id.clone()));
    }
    for (name, time) in [
        ("submitted", &job.submitted),
        ("started", &job.started),
        ("finished", &job.finished),
    ] {
        facts.extend(when(time.as_ref()).map(|text| (name, text)));
    }
    facts.extend(took(job).map(|text| ("took", text)));
    if job.worker_deaths > 0 {
        facts.push((
            "deaths",
            format!("{} of workers at this job", job.worker_deaths),
        ));
    }
    facts
}

fn state(job: &Job) -> String {
    let id = words::short_id(&job.id);
    let lifetime = if job.attached {
        ", ends with its client"
    } else {
        ""
    };
    let state = words::state(job);
    match (job.state(), state) {
        (JobState::Queued, _) if job.position == 0 => format!("queued, next{lifetime}"),
        (JobState::Queued, _) => format!("queued, {} ahead{lifetime}", job.position),
        (_, "held") => format!("held: `imgctl jobs resume {id} --images 0,3` finishes some"),
        (_, "paused") => format!("paused: `imgctl jobs resume {id}` lets it go on"),
        (_, "disk full") => "paused: the disk is full; it goes on by itself".into(),
        _ => format!("{state}{lifetime}"),
    }
}

fn progress(job: &Job) -> String {
    let percent = (words::fraction(job) * 100.0).floor();
    format!("{percent:.0}%, pictures {}", words::images(job))
}

/// The settings that were named; the others are the model's.
fn asked_for(request: &GenerateRequest) -> String {
    let mut named = Vec::new();
    let mut name = |name: &str, value: Option<String>| {
        named.extend(value.map(|value| format!("{name} {value}")));
    };
    let text = |text: &str| (!text.is_empty()).then(|| words::one_line(text));
    name("model", text(&request.model));
    name("width", request.width_px.map(|px| px.to_string()));
    name("height", request.height_px.map(|px| px.to_string()));
    name(
        "steps",
        request.num_inference_steps.map(|steps| steps.to_string()),
    );
    name(
        "guidance",
        request.guidance_scale.map(|scale| scale.to_string()),
    );
    name(
        "hires scale",
        request.hires.map(|hires| hires.hires_scale.to_string()),
    );
    let scale = request.upscale.as_ref();
    name(
        "upscale",
        scale.and_then(|upscale| upscale.upscale_scale.map(|scale| format!("{scale} times"))),
    );
    name("seed", request.seed.map(|seed| seed.to_string()));
    name("sampler", text(&request.sampler));
    name("schedule", text(&request.schedule));
    name("clip skip", request.clip_skip.map(|skip| skip.to_string()));
    name(
        "format",
        Some(crate::json::format_name(request.format()).to_owned()),
    );
    named.join(", ")
}

/// `2026-11-22 20:15 (5 minutes ago)`.
fn when(time: Option<&Timestamp>) -> Option<String> {
    let date = words::date(words::time(time)?);
    let since = words::since(time)?;
    let ago = match since.as_secs() {
        0 => "now".into(),
        _ => format!("{} ago", durations::rough(since)),
    };
    Some(format!("{date} ({ago})"))
}

/// Where the time went, as far as it went anywhere.
fn took(job: &Job) -> Option<String> {
    let timings = Timings::from(job.timings?);
    let parts = [
        ("waiting", timings.queued),
        ("loading", timings.loading),
        ("starting", timings.starting),
        ("steps", timings.stepping),
        ("decoding", timings.finishing),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(_, time)| *time >= Duration::from_millis(50))
        .map(|(name, time)| format!("{name} {}", durations::short(time)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn pictures(images: &[JobImage]) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["INDEX", "STATE", "SEED", "SIZE", "SHA256"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(images.iter().map(|image| {
        let metadata = image.metadata.as_ref();
        let seed = metadata.and_then(|metadata| Some(metadata.settings.as_ref()?.seed));
        let state = match image.state() {
            ImageState::Unspecified => "",
            ImageState::Done => "done",
            ImageState::Failed => "failed",
            ImageState::Held => "held",
            ImageState::Dropped => "dropped",
        };
        let last = match (&image.problem, metadata) {
            (Some(problem), _) => words::one_line(&problem.message),
            (None, Some(metadata)) => metadata.sha256.clone(),
            (None, None) => String::new(),
        };
        vec![
            image.image_index.to_string(),
            state.to_owned(),
            seed.map(|seed| seed.to_string()).unwrap_or_default(),
            metadata
                .map(|_| table::size(image.size_bytes))
                .unwrap_or_default(),
            last,
        ]
    }));
    rows
}
