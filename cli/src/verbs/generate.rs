//! `imgctl generate`: draws pictures from a prompt.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use imgd_client::{
    Client, Event, GenerateRequest, Generation, Image, ImageFormat, JobRequest, KeepAlive, v1,
};
use imgd_proto::limits::{validate_generate, validate_submit};

use crate::{
    Context, durations,
    failure::Failure,
    jobs::{objects, place, words},
    json,
    output::{Format, Output, Wanted},
    picture_args::{FileArgs, PictureArgs, Priority},
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
  echo \"a green door\" | imgctl generate - --json
  imgctl generate \"a tall ship\" -n 100 --detach --priority background")]
pub(crate) struct Generate {
    /// What to draw: the text, `-` for standard input, `@FILE` for a file (`@@` begins a text with `@`)
    #[arg(value_name = "PROMPT")]
    prompt: String,
    #[command(flatten)]
    picture: PictureArgs,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    service: Service,
    /// Where the pictures go, once `prepare` has found out.
    #[arg(skip)]
    output: Option<Output>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
struct Place {
    /// File, folder, `-` for standard output, or a name with {prompt} {seed} {index} {model} {sampler} {steps} {width} {height} {variation_seed} [default: {prompt}-{seed}.png]
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    #[command(flatten)]
    file: FileArgs,
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
    /// Your own name for the request, up to 64 of A-Z a-z 0-9 _ -; a detached one is made once only
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Print the job's id and leave: it is finished without you, and kept for `imgctl attach` and `imgctl get`
    #[arg(long, short, conflicts_with_all = ["private", "timeout", "output", "force", "show", "preview"])]
    detach: bool,
    /// Keep nothing: neither prompt nor picture reaches the daemon's disk, and no list shows the request
    #[arg(long)]
    private: bool,
}

impl Generate {
    /// Reads the prompt, and checks the request and the place of the output: nothing is drawn in vain.
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        self.prompt = prompt::read(&self.prompt)?;
        if self.service.detach {
            let request = v1::SubmitJobRequest {
                generate: Some(self.request(self.detached_format(), false).into()),
                ..v1::SubmitJobRequest::default()
            };
            return Ok(validate_submit(&request)?);
        }
        let output = Output::plan(Wanted {
            path: self.place.output.as_deref(),
            format: self.place.file.format,
            overwrites: self.place.force,
            num_images: self.picture.num_images.unwrap_or(1),
            prompt: &self.prompt,
        })?;
        let request = self.request(output.format, false);
        self.output = Some(output);
        validate_generate(&v1::GenerateRequest::from(request))?;
        Ok(())
    }

    /// What Ctrl-C means.
    pub(super) fn interrupted(&self) -> Failure {
        if self.service.detach {
            let what = "the job may have been submitted";
            Failure::interrupted(what).hint("`imgctl jobs` lists it then")
        } else {
            Failure::interrupted("the work was cancelled")
        }
    }

    /// Draws, or has it drawn.
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        if self.service.detach {
            return self.submit(context).await;
        }
        let Some(output) = &self.output else {
            unreachable!("`prepare` ran before")
        };
        place::check_stdout(output, context)?;
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

    /// Leaves the work to the daemon.
    async fn submit(&self, context: &Context) -> Result<(), Failure> {
        let client = Client::connect(context.connect.clone()).await?;
        let generate = self.request(self.detached_format(), false);
        let submitted = client
            .submit(JobRequest {
                generate,
                ..JobRequest::default()
            })
            .await?;
        let job = &submitted.job;
        if context.json {
            let mut object = objects::job(job);
            object["existed"] = submitted.existed.into();
            return context.terminal.line(&object.to_string());
        }
        context.terminal.line(&job.id)?;
        let id = words::short_id(&job.id);
        if submitted.existed && !context.quiet {
            let text = format!(
                "this request id has a job already, which is {}",
                words::state(job)
            );
            context.terminal.notice(&text);
        } else if !context.quiet {
            let text =
                format!("`imgctl attach {id}` follows it, `imgctl get {id}` writes its pictures");
            context.terminal.note(&text);
        }
        Ok(())
    }

    fn detached_format(&self) -> ImageFormat {
        self.place.file.format.unwrap_or(Format::Png).into()
    }

    fn request(&self, format: ImageFormat, draws_previews: bool) -> GenerateRequest {
        let mut request = self.picture.request(&self.prompt);
        self.place.file.fill(&mut request, format);
        request.num_images.get_or_insert(1);
        if draws_previews {
            request.preview_every_n_steps = PREVIEW_EVERY_N_STEPS;
        }
        request.priority = self.service.priority.into();
        request.request_id.clone_from(&self.service.request_id);
        request.keep_alive = self.service.keep_alive;
        request.timeout = self.service.timeout;
        request.private = self.service.private.then_some(true);
        request
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
