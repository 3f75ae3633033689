//! `imgctl generate`: draws pictures from a prompt.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use imgd_client::{Client, Event, GenerateRequest, Generation, Image, ImageFormat, KeepAlive, v1};
use imgd_proto::limits::{self, validate_generate};

use super::{Precision, model_name};
use crate::{
    Context, durations,
    failure::Failure,
    json,
    numbers::{self, Size},
    output::{Format, Output, Wanted},
    progress::Progress,
    prompt, show,
};

/// Live previews come this often, in steps.
const PREVIEW_EVERY_N_STEPS: u32 = 1;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  imgctl generate \"a red apple\" --show
  imgctl generate \"a blue bird\" -n 4 --seed 7 -o birds/
  imgctl generate @prompt.txt --model ~/models/sdxl --size 1024x768 -o '{model}-{seed}.webp'
  echo \"a green door\" | imgctl generate - --json")]
pub(crate) struct Generate {
    /// What to draw: the text, `-` for standard input, `@FILE` for a file (`@@` begins a text with `@`)
    #[arg(value_name = "PROMPT")]
    prompt: String,
    #[command(flatten)]
    picture: Picture,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    service: Service,
    /// Where the pictures go, once `prepare` has found out.
    #[arg(skip)]
    output: Option<Output>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Picture")]
struct Picture {
    /// Model: a name from `imgctl models`, or a diffusers folder [default: the daemon's]
    #[arg(long, short, value_name = "NAME|PATH")]
    model: Option<String>,
    /// What to avoid; "" is an empty text, which for some models is not the same as none
    #[arg(long, value_name = "TEXT")]
    negative_prompt: Option<String>,
    /// Width in pixels, 8 to 4096, a multiple of 8 [default: the model's]
    #[arg(long, value_name = "PX", value_parser = numbers::whole(&limits::WIDTH_PX), allow_hyphen_values = true)]
    width: Option<u32>,
    /// Height in pixels, 8 to 4096, a multiple of 8 [default: the model's]
    #[arg(long, value_name = "PX", value_parser = numbers::whole(&limits::HEIGHT_PX), allow_hyphen_values = true)]
    height: Option<u32>,
    /// Width and height in pixels at once
    #[arg(long, value_name = "WxH", value_parser = numbers::size, conflicts_with_all = ["width", "height"], allow_hyphen_values = true)]
    size: Option<Size>,
    /// Denoising steps, 1 to 1000 [default: the model's] [alias: --steps]
    #[arg(long, alias = "steps", value_name = "N", value_parser = numbers::whole(&limits::NUM_INFERENCE_STEPS), allow_hyphen_values = true)]
    num_inference_steps: Option<u32>,
    /// Classifier-free guidance, 0 to 100; 1 or less is none [default: the model's] [alias: --cfg]
    #[arg(long, alias = "cfg", value_name = "X", value_parser = numbers::number(&limits::GUIDANCE_SCALE), allow_hyphen_values = true)]
    guidance_scale: Option<f64>,
    /// Seed of the noise, 0 to 2^64-1; further pictures use the next ones [default: random]
    #[arg(long, short, value_name = "N", value_parser = numbers::seed, allow_hyphen_values = true)]
    seed: Option<u64>,
    /// Number of pictures, 1 to 10000
    #[arg(long, short, value_name = "N", default_value = "1", value_parser = numbers::whole(&limits::NUM_IMAGES), allow_hyphen_values = true)]
    num_images: u32,
    /// Solver: a name from `imgctl samplers` [default: the model's]
    #[arg(long, value_name = "NAME")]
    sampler: Option<String>,
    /// Noise levels: a name from `imgctl samplers` [default: the model's]
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Text encoder layer, counted from the last: 1 last, 2 the one before; 1 to 12 [default: the model's]
    #[arg(long, value_name = "N", value_parser = numbers::whole(&limits::CLIP_SKIP), allow_hyphen_values = true)]
    clip_skip: Option<u32>,
    /// Number format of the computation
    #[arg(long, value_enum, default_value_t = Precision::Auto, hide_possible_values = true, value_name = "auto|f32")]
    precision: Precision,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
struct Place {
    /// File, folder, `-` for standard output, or a name with {prompt} {seed} {index} {model} {sampler} {steps} {width} {height} [default: {prompt}-{seed}.png]
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// File format [default: the output's extension, else png]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        hide_possible_values = true,
        value_name = "png|jpeg|webp"
    )]
    format: Option<Format>,
    /// Quality of a JPEG, 1 to 100 [default: 95]
    #[arg(long, value_name = "N", value_parser = numbers::whole(&limits::JPEG_QUALITY), allow_hyphen_values = true)]
    jpeg_quality: Option<u32>,
    /// Leave prompt and settings out of the file
    #[arg(long)]
    no_metadata: bool,
    /// Overwrite a file of the same name, instead of refusing -o FILE or numbering other names
    #[arg(long)]
    force: bool,
    /// Show each picture in the terminal
    #[arg(long)]
    show: bool,
    /// Show previews in the terminal while drawing
    #[arg(long)]
    preview: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Service")]
struct Service {
    /// Give up after this long, waiting included: 90s, 5m, 300 (seconds), up to 24h [default: never]
    #[arg(long, value_name = "TIME", value_parser = durations::timeout, allow_hyphen_values = true)]
    timeout: Option<Duration>,
    /// Keep the model in memory afterwards: 5m, 300 (seconds), 0 unloads at once, -1 never [default: the daemon's]
    #[arg(long, value_name = "TIME", value_parser = durations::keep_alive, allow_hyphen_values = true)]
    keep_alive: Option<KeepAlive>,
    /// How urgent it is
    #[arg(long, value_enum, default_value_t = Priority::Interactive, hide_possible_values = true, value_name = "interactive|batch|background")]
    priority: Priority,
    /// Your own name for the request, up to 64 of A-Z a-z 0-9 _ -
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

/// `--priority`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Priority {
    /// A person is waiting
    Interactive,
    /// A script is waiting
    Batch,
    /// Nobody is waiting
    Background,
}

impl Generate {
    /// Reads the prompt, and checks the request and the place of the output: nothing is drawn in vain.
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        self.prompt = prompt::read(&self.prompt)?;
        let output = Output::plan(Wanted {
            path: self.place.output.as_deref(),
            format: self.place.format,
            overwrites: self.place.force,
            num_images: self.picture.num_images,
            prompt: &self.prompt,
        })?;
        let request = self.request(output.format, false);
        self.output = Some(output);
        validate_generate(&v1::GenerateRequest::from(request))?;
        Ok(())
    }

    /// Draws.
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let Some(output) = &self.output else {
            unreachable!("`prepare` ran before")
        };
        if output.is_stdout() && context.json {
            return Err(Failure::usage("-o - and --json both want standard output"));
        }
        if output.is_stdout() && context.terminal.stdout_is_terminal() {
            return Err(Failure::usage(
                "standard output is a terminal, which cannot take a picture's bytes",
            )
            .hint("send it on with `| program` or `> file`, or see the picture with --show"));
        }
        let draws_previews =
            self.place.preview && context.terminal.draws_pictures() && !context.json;
        let request = self.request(output.format, draws_previews);
        let client = Client::connect(context.connect.clone()).await?;
        let generation = client.generate(request).await?;
        let draws_progress = context.terminal.draws_progress() && !context.quiet && !context.json;
        Drawing {
            context,
            output,
            shows: self.place.show && !context.json && !output.is_stdout(),
            progress: Progress::new(draws_progress),
            preview: draws_previews.then(show::Preview::default),
        }
        .follow(generation)
        .await
    }

    fn request(&self, format: ImageFormat, draws_previews: bool) -> GenerateRequest {
        let picture = &self.picture;
        let size = picture.size;
        GenerateRequest {
            prompt: self.prompt.clone(),
            negative_prompt: picture.negative_prompt.clone(),
            model: picture.model.as_deref().map(model_name),
            width_px: size.map(|size| size.width_px).or(picture.width),
            height_px: size.map(|size| size.height_px).or(picture.height),
            num_inference_steps: picture.num_inference_steps,
            guidance_scale: picture.guidance_scale,
            seed: picture.seed,
            num_images: Some(picture.num_images),
            sampler: picture.sampler.clone(),
            schedule: picture.schedule.clone(),
            clip_skip: picture.clip_skip,
            precision: picture.precision.into(),
            format,
            jpeg_quality: self.place.jpeg_quality,
            omit_metadata: self.place.no_metadata,
            preview_every_n_steps: if draws_previews {
                PREVIEW_EVERY_N_STEPS
            } else {
                0
            },
            priority: match self.service.priority {
                Priority::Interactive => imgd_client::Priority::Interactive,
                Priority::Batch => imgd_client::Priority::Batch,
                Priority::Background => imgd_client::Priority::Background,
            },
            request_id: self.service.request_id.clone(),
            keep_alive: self.service.keep_alive,
            timeout: self.service.timeout,
            private: None,
        }
    }
}

/// A request that is being served, and what is shown of it.
struct Drawing<'a> {
    context: &'a Context,
    output: &'a Output,
    shows: bool,
    progress: Progress,
    preview: Option<show::Preview>,
}

impl Drawing<'_> {
    async fn follow(mut self, mut generation: Generation) -> Result<(), Failure> {
        while let Some(event) = generation.next().await {
            let event = event?;
            if self.context.json
                && let Some(object) = json::event(&event, generation.job_id())
            {
                self.context.terminal.line(&object.to_string())?;
            }
            self.progress.follow(&event);
            match &event {
                Event::Image(image) => self.picture(image, generation.job_id())?,
                Event::Step(step) => {
                    if let (Some(preview), Some(picture)) = (&mut self.preview, &step.preview) {
                        self.progress.suspend(|| preview.draw(&picture.png))?;
                    }
                }
                Event::Notice { message, .. } if !self.context.quiet => {
                    self.progress
                        .suspend(|| self.context.terminal.notice(message));
                }
                Event::Finished(timings) if !self.context.json && !self.context.quiet => {
                    self.progress.clear();
                    let engine = durations::short(timings.engine());
                    let what = match timings.image_count {
                        1 => "drawn".to_owned(),
                        count => format!("{count} pictures drawn"),
                    };
                    self.context.terminal.note(&format!("{what} in {engine}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn picture(&mut self, image: &Image, job_id: &str) -> Result<(), Failure> {
        if let Some(preview) = &mut self.preview {
            self.progress.suspend(|| preview.erase())?;
        }
        let path = self.progress.suspend(|| self.output.write(image))?;
        let terminal = self.context.terminal;
        if self.context.json {
            return terminal.line(&json::image(image, path.as_deref(), job_id).to_string());
        }
        self.progress.suspend(|| {
            if self.shows {
                show::picture(&terminal, &image.bytes)?;
            }
            match &path {
                Some(path) => terminal.line(&path.display().to_string()),
                None => Ok(()),
            }
        })
    }
}
