//! `imgctl explore`: many pictures a few steps far on one sheet, then the chosen ones finished.

mod choice;
mod exploring;
mod font;
mod sheet;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::Args;
use imgd_client::{
    Client, GenerateRequest, JobRequest, KeepAlive,
    v1::{self, Job, PauseReason},
};
use imgd_proto::limits::{self, validate_generate};

use self::{choice::Choice, exploring::Exploring};
use crate::{
    Context, durations,
    failure::{Failure, exit},
    jobs::{objects, which, words},
    numbers,
    output::{self, Format, Output, Wanted},
    picture_args::{FileArgs, PictureArgs, Priority},
    prompt,
};

/// Pictures when no number is given.
const DEFAULT_COUNT: u32 = 16;
/// A sheet of more cannot be looked through.
const MAX_COUNT: u32 = 400;
/// Before this step no picture shows what it will be.
const LEAST_STEPS: u32 = 3;

#[derive(Debug, Args)]
#[command(
    after_help = "The pictures are numbered from 1 on the sheet. Those that are not chosen are dropped.

Examples:
  imgctl explore \"a fox\" --show
  imgctl explore \"a fox\" -n 36 --finish 3,7-9 -o foxes/
  imgctl explore --continue 4f1c --finish 2"
)]
pub(crate) struct Explore {
    /// What to draw: the text, `-` for standard input, `@FILE` for a file (`@@` begins a text with `@`)
    #[arg(value_name = "PROMPT", required_unless_present = "continue")]
    prompt: Option<String>,
    #[command(flatten)]
    picture: PictureArgs,
    /// Steps that every picture is made before you choose [default: a quarter, 3 at least]
    #[arg(long, value_name = "N", value_parser = numbers::whole(&limits::HOLD_AFTER_STEPS), allow_hyphen_values = true, help_heading = "Choice")]
    hold_after_steps: Option<u32>,
    /// Pictures to finish, by their numbers on the sheet: 1,4,7-9, or all [default: asked for, on a terminal]
    #[arg(long, value_name = "LIST", help_heading = "Choice")]
    finish: Option<Choice>,
    /// Go on with a job whose pictures are waiting to be chosen
    #[arg(long, value_name = "ID", conflicts_with_all = ["prompt", "PictureArgs", "FileArgs", "hold_after_steps"], help_heading = "Choice")]
    r#continue: Option<String>,
    /// File of the contact sheet [default: sheet-JOB.png in the folder of -o]
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    sheet: Option<PathBuf>,
    /// File, folder, or a name with {prompt} {seed} {index} {model} {sampler} {steps} {width} {height} {variation_seed} [default: {prompt}-{seed}.png]
    #[arg(long, short, value_name = "PATH", help_heading = "Output")]
    output: Option<PathBuf>,
    #[command(flatten)]
    files: FileArgs,
    /// Overwrite files of the same name, the sheet's too
    #[arg(long, help_heading = "Output")]
    force: bool,
    /// Show the sheet and the finished pictures in the terminal
    #[arg(long, help_heading = "Output")]
    show: bool,
    /// Keep the model in memory afterwards: 5m, 300 (seconds), 0 unloads at once, -1 never [default: the daemon's]
    #[arg(long, value_name = "TIME", value_parser = durations::keep_alive, allow_hyphen_values = true, help_heading = "Service")]
    keep_alive: Option<KeepAlive>,
    /// How urgent it is
    #[arg(long, value_enum, default_value_t = Priority::Interactive, hide_possible_values = true, value_name = "interactive|batch|background", help_heading = "Service")]
    priority: Priority,
}

impl Explore {
    /// Reads the prompt and checks request and places.
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        if let Some(id) = &self.r#continue {
            self.r#continue = Some(which::id(id)?);
            return Ok(());
        }
        let text = prompt::read(self.prompt.as_deref().unwrap_or_default())?;
        self.prompt = Some(text);
        let request = self.request()?;
        validate_generate(&v1::GenerateRequest::from(request.clone()))?;
        if request.num_images.is_some_and(|count| count > MAX_COUNT) {
            let message = format!("a sheet has room for {MAX_COUNT} pictures");
            return Err(Failure::usage(message).field("num_images"));
        }
        Ok(())
    }

    /// Explores, asks, finishes.
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let job = RefCell::new(None);
        tokio::select! {
            biased;
            outcome = self.go(context, &job) => outcome,
            _ = tokio::signal::ctrl_c() => Err(interrupted(job.borrow().as_deref())),
        }
    }

    async fn go(&self, context: &Context, known: &RefCell<Option<String>>) -> Result<(), Failure> {
        let client = Client::connect(context.connect.clone()).await?;
        let job = match &self.r#continue {
            Some(id) => client.job(id).await?,
            None => self.submit(&client).await?,
        };
        known.replace(Some(job.id.clone()));
        if self.r#continue.is_none() && context.json {
            context.terminal.line(&objects::job(&job).to_string())?;
        }
        let output = self.place(&Named {
            prompt: words::prompt(&job, 0).to_owned(),
            count: job.image_count,
            format: Some(
                job.request
                    .as_ref()
                    .map_or(Format::Png, |request| request.format().into()),
            ),
        })?;
        let shows = self.show && !context.json;
        let mut exploring = Exploring::new(context, client, job, output, shows);
        exploring.follow().await?;
        if exploring.job.pause_reason() == PauseReason::Held {
            let there = exploring
                .sheet(
                    self.sheet.as_deref(),
                    &output::fixed_folder(self.output.as_deref()),
                    self.force,
                )
                .await?;
            let Some(chosen) = self.choose(context, &exploring.job, &there).await? else {
                return Ok(());
            };
            exploring.finish(&chosen).await?;
        }
        exploring.end().await
    }

    fn request(&self) -> Result<GenerateRequest, Failure> {
        let mut request = self
            .picture
            .request(self.prompt.as_deref().unwrap_or_default());
        request.num_images.get_or_insert(DEFAULT_COUNT);
        let output = self.place(&Named {
            prompt: request.prompt.clone(),
            count: request.num_images.unwrap_or(1),
            format: self.files.format,
        })?;
        self.files.fill(&mut request, output.format);
        request.priority = self.priority.into();
        request.keep_alive = self.keep_alive;
        Ok(request)
    }

    fn place(&self, named: &Named) -> Result<Output, Failure> {
        let output = Output::plan(Wanted {
            path: self.output.as_deref(),
            format: named.format,
            overwrites: self.force,
            num_images: named.count,
            prompt: &named.prompt,
        })?;
        if output.is_stdout() {
            return Err(
                Failure::usage("several pictures cannot go to standard output").field("output"),
            );
        }
        Ok(output)
    }

    async fn submit(&self, client: &Client) -> Result<Job, Failure> {
        let generate = self.request()?;
        let steps = match generate.num_inference_steps {
            Some(steps) => steps,
            None => {
                let plan = client.plan(generate.clone()).await?;
                plan.settings.unwrap_or_default().num_inference_steps
            }
        };
        if steps < 2 {
            let message =
                format!("a picture of {steps} step cannot be chosen before it is finished");
            return Err(Failure::usage(message)
                .field("num_inference_steps")
                .hint("draw them all with `imgctl generate -n`"));
        }
        let hold_after_steps = match self.hold_after_steps {
            Some(0) | None => steps.div_ceil(4).max(LEAST_STEPS).min(steps - 1),
            Some(hold) if hold < steps => hold,
            Some(hold) => {
                let message =
                    format!("--hold-after-steps {hold} is not before the last of {steps} steps");
                return Err(Failure::usage(message).field("hold_after_steps"));
            }
        };
        let request = JobRequest {
            generate,
            hold_after_steps,
            ..JobRequest::default()
        };
        Ok(client.submit(request).await?.job)
    }

    /// The pictures to finish, from 0; `None` where nobody says which.
    async fn choose(
        &self,
        context: &Context,
        job: &Job,
        there: &BTreeSet<u32>,
    ) -> Result<Option<Vec<u32>>, Failure> {
        let id = words::short_id(&job.id);
        let is_asked = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let chosen = match &self.finish {
            Some(choice) => choice
                .indices(there)
                .map_err(|why| Failure::usage(why).field("finish"))?,
            None if is_asked && !context.json => ask(context, there).await?,
            None => Vec::new(),
        };
        if chosen.is_empty() {
            let text = format!(
                "{} pictures wait: finish some with `imgctl explore --continue {id} --finish 1,4`, or forget all with \
                 `imgctl jobs rm --force {id}`",
                there.len()
            );
            if !context.json && !context.quiet {
                context.terminal.notice(&text);
            }
            return Ok(None);
        }
        Ok(Some(chosen))
    }
}

/// What names of files are made from.
struct Named {
    prompt: String,
    count: u32,
    format: Option<Format>,
}

/// Asks until there is an answer that can be understood; an empty one is none.
async fn ask(context: &Context, there: &BTreeSet<u32>) -> Result<Vec<u32>, Failure> {
    loop {
        let mut stderr = std::io::stderr();
        // Nobody is left to tell that standard error is closed.
        drop(
            write!(stderr, "finish which? (1 4 7-9, all; Enter: none) ")
                .and_then(|()| stderr.flush()),
        );
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .map(|_bytes| line)
        });
        let line = read
            .await
            .map_err(|error| Failure::new(exit::FAILED, format!("cannot ask: {error}")))?
            .map_err(|error| Failure::usage(format!("cannot read the answer: {error}")))?;
        match line
            .parse::<Choice>()
            .and_then(|choice| choice.indices(there))
        {
            Ok(chosen) => return Ok(chosen),
            Err(why) => context.terminal.warn(&why),
        }
    }
}

fn interrupted(id: Option<&str>) -> Failure {
    let Some(id) = id.map(words::short_id) else {
        return Failure::interrupted("nothing was begun");
    };
    Failure::interrupted("the job goes on in the daemon").hint(format!(
        "go on with `imgctl explore --continue {id}`, or end it with `imgctl jobs cancel {id}`"
    ))
}
