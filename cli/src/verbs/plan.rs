//! `imgctl plan`: what a request would do, without doing it.

use std::time::Duration;

use clap::Args;
use imgd_client::{Client, GenerateRequest, v1};
use imgd_proto::limits::validate_generate;
use serde_json::{Value, json};

use crate::{
    Context, durations,
    failure::Failure,
    json,
    picture_args::{FileArgs, PictureArgs, Priority},
    prompt, table,
};

#[derive(Debug, Args)]
#[command(
    after_help = "Takes the flags of `imgctl generate`; nothing is loaded and nothing drawn.

Example:
  imgctl plan \"a red apple\" --model ~/models/sdxl --size 1024x1024 -n 8"
)]
pub(crate) struct Plan {
    /// What to draw: the text, `-` for standard input, `@FILE` for a file (`@@` begins a text with `@`)
    #[arg(value_name = "PROMPT")]
    prompt: String,
    #[command(flatten)]
    picture: PictureArgs,
    #[command(flatten)]
    files: FileArgs,
    /// How urgent it is
    #[arg(long, value_enum, default_value_t = Priority::Interactive, hide_possible_values = true, value_name = "interactive|batch|background", help_heading = "Service")]
    priority: Priority,
}

impl Plan {
    /// Reads the prompt and checks the request.
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        self.prompt = prompt::read(&self.prompt)?;
        validate_generate(&v1::GenerateRequest::from(self.request()))?;
        Ok(())
    }

    /// Asks the daemon and tells.
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = Client::connect(context.connect.clone()).await?;
        let plan = client.plan(self.request()).await?;
        if context.json {
            let object = json::object("plan", fields(&plan));
            return context.terminal.line(&object.to_string());
        }
        context
            .terminal
            .line(&table::lines(&rows(&plan)).join("\n"))
    }

    fn request(&self) -> GenerateRequest {
        let mut request = self.picture.request(&self.prompt);
        let format = self
            .files
            .format
            .map_or(imgd_client::ImageFormat::Png, Into::into);
        self.files.fill(&mut request, format);
        request.num_images.get_or_insert(1);
        request.priority = self.priority.into();
        request
    }
}

fn time(time: Option<&prost_types::Duration>) -> Option<Duration> {
    time.and_then(|time| Duration::try_from(*time).ok())
}

fn rows(plan: &v1::PlanJobResponse) -> Vec<Vec<String>> {
    let settings = plan.settings.clone().unwrap_or_default();
    let mut rows = Vec::new();
    let mut row = |name: &str, text: String| rows.push(vec![name.to_owned(), text]);
    let state = if plan.is_loaded {
        "in memory"
    } else {
        "on disk"
    };
    row("model", format!("{}, {state}", settings.model));
    row("device", plan.device.clone());
    let schedule = match settings.schedule.as_str() {
        "" => String::new(),
        schedule => format!(" {schedule}"),
    };
    let (width_px, height_px) = json::size_px(&settings);
    row(
        "pictures",
        format!(
            "{} of {width_px}x{height_px}, {} steps of {}{schedule}, guidance {}, seed {}",
            plan.image_count,
            settings.num_inference_steps,
            settings.sampler,
            settings.guidance_scale,
            settings.seed,
        ),
    );
    let needs = format!(
        "{} for the weights and {} for a picture",
        table::size(plan.weights_bytes),
        table::size(plan.working_bytes)
    );
    let fits = match plan.fits {
        true => "fits",
        false => "DOES NOT FIT",
    };
    row(
        "memory",
        format!(
            "{needs}; {} available: {fits}",
            table::size(plan.available_bytes)
        ),
    );
    if !plan.evictions.is_empty() {
        row("unloads", plan.evictions.join(", "));
    }
    let queue = match plan.position {
        0 => "next".to_owned(),
        1 => "1 job before it".to_owned(),
        ahead => format!("{ahead} jobs before it"),
    };
    row("queue", queue);
    row(
        "together",
        match plan.batch_size {
            0 | 1 => "one picture at a time".to_owned(),
            size => format!("{size} pictures at a time"),
        },
    );
    let shown = |duration: Option<&prost_types::Duration>| match time(duration) {
        Some(time) => durations::short(time),
        None => "not measured yet".to_owned(),
    };
    if !plan.is_loaded {
        row("loading", shown(plan.loading.as_ref()));
    }
    row(
        "drawing",
        match time(plan.evaluation.as_ref()) {
            Some(each) => format!(
                "{} a picture: {} evaluations of {}",
                durations::short(each * plan.evaluation_count),
                plan.evaluation_count,
                milliseconds(each)
            ),
            None => format!(
                "not measured yet: {} evaluations a picture",
                plan.evaluation_count
            ),
        },
    );
    row(
        "decoding",
        match time(plan.decoding.as_ref()) {
            Some(each) => format!("{} a picture", durations::short(each)),
            None => "not measured yet".to_owned(),
        },
    );
    row(
        "in all",
        match time(plan.total.as_ref()) {
            Some(total) => format!("{}, waiting not included", durations::short(total)),
            None => "not known before something is measured".to_owned(),
        },
    );
    if !plan.basis.is_empty() {
        row("basis", plan.basis.clone());
    }
    rows
}

/// `123 ms`, `1.2 s`.
fn milliseconds(time: Duration) -> String {
    match time.as_millis() {
        0..1000 => format!("{} ms", time.as_millis()),
        _ => durations::short(time),
    }
}

fn fields(plan: &v1::PlanJobResponse) -> Value {
    let secs =
        |duration: Option<&prost_types::Duration>| time(duration).map(|time| time.as_secs_f64());
    json!({
        "settings": plan.settings.as_ref().map(json::settings),
        "image_count": plan.image_count,
        "evaluation_count": plan.evaluation_count,
        "device": plan.device,
        "is_loaded": plan.is_loaded,
        "weights_bytes": plan.weights_bytes,
        "working_bytes": plan.working_bytes,
        "available_bytes": plan.available_bytes,
        "fits": plan.fits,
        "evictions": plan.evictions,
        "position": plan.position,
        "batch_size": plan.batch_size,
        "loading_secs": secs(plan.loading.as_ref()),
        "evaluation_secs": secs(plan.evaluation.as_ref()),
        "decoding_secs": secs(plan.decoding.as_ref()),
        "total_secs": secs(plan.total.as_ref()),
        "basis": plan.basis,
    })
}
