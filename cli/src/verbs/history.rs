//! `imgctl history`: the jobs that have ended, with what their pictures were made with.

use clap::Args;
use imgd_client::{
    Client, JobFilter,
    v1::{Job, JobState, Settings},
};
use imgd_proto::limits::PAGE_SIZE;

use crate::{
    Context, durations,
    failure::Failure,
    jobs::{objects, words},
    json, table,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  imgctl history --search lighthouse
  imgctl history -n 0 --json | jq -r '.request.prompt'")]
pub(crate) struct History {
    /// Only jobs in whose prompts, model, request id or id this text is, in capitals or not
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Most jobs to list, newest first; 0 lists all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,
}

impl History {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = Client::connect(context.connect.clone()).await?;
        let wanted = self.search.as_deref().map(str::to_lowercase);
        let mut jobs = client.jobs(JobFilter {
            states: vec![JobState::Succeeded, JobState::Failed, JobState::Cancelled],
            page_size: self.page_size(wanted.is_some()),
            ..JobFilter::default()
        });
        let mut listed = 0;
        while self.limit == 0 || listed < self.limit {
            let Some(job) = jobs.next().await else {
                break;
            };
            let job = job?;
            if wanted.as_deref().is_none_or(|text| has(&job, text)) {
                if listed > 0 && !context.json && !context.quiet {
                    context.terminal.line("")?;
                }
                print(context, &client, &job).await?;
                listed += 1;
            }
        }
        if listed == 0 && !context.json && !context.quiet {
            context.terminal.note(match self.search {
                Some(_) => "no job that has ended matches; `imgctl jobs --all` lists all",
                None => "no job has ended yet; `imgctl generate PROMPT` makes a picture",
            });
        }
        Ok(())
    }

    /// No more than are wanted, where every one of them is.
    fn page_size(&self, searches: bool) -> Option<u32> {
        let imgd_proto::limits::Range::Integer { max, .. } = PAGE_SIZE.range else {
            return None;
        };
        let limit = u32::try_from(self.limit).ok()?;
        (!searches && limit > 0 && u64::from(limit) <= max).then_some(limit)
    }
}

/// Whether `text`, in small letters, is somewhere in what was asked for.
fn has(job: &Job, text: &str) -> bool {
    let request = job.request.clone().unwrap_or_default();
    let own = job
        .images
        .iter()
        .flat_map(|image| [&image.prompt, &image.negative_prompt]);
    let mut texts = own
        .flatten()
        .chain([
            &request.prompt,
            &request.model,
            &request.request_id,
            &job.id,
        ])
        .chain(&request.negative_prompt);
    texts.any(|has| has.to_lowercase().contains(text))
}

async fn print(context: &Context, client: &Client, job: &Job) -> Result<(), Failure> {
    let terminal = context.terminal;
    if context.quiet && !context.json {
        return terminal.line(&job.id);
    }
    let settings = settings(client, job).await?;
    if context.json {
        let mut object = objects::job(job);
        object["settings"] = settings.as_ref().map(json::settings).into();
        return terminal.line(&object.to_string());
    }
    let columns = terminal.columns();
    let fit = |text: String| match columns {
        Some(columns) => table::fit(&text, columns),
        None => text,
    };
    for line in entry(job, settings.as_ref()) {
        terminal.line(&fit(line))?;
    }
    Ok(())
}

/// The settings of the first finished picture; every default is filled in.
async fn settings(client: &Client, job: &Job) -> Result<Option<Settings>, Failure> {
    if job.images_done == 0 {
        return Ok(None);
    }
    let mut images = client.images(&job.id);
    while let Some(image) = images.next().await {
        let settings = image?.metadata.and_then(|metadata| metadata.settings);
        if settings.is_some() {
            return Ok(settings);
        }
    }
    Ok(None)
}

/// A job in a few lines, after the manner of `git log`.
fn entry(job: &Job, settings: Option<&Settings>) -> Vec<String> {
    let finished = words::time(job.finished.as_ref());
    let date = finished.map(words::date).unwrap_or_default();
    let mut lines = vec![
        format!("{}  {date}  {}", words::short_id(&job.id), outcome(job)),
        format!("    {}", words::title(job)),
    ];
    if let Some(settings) = settings {
        lines.push(format!("    {}", made_with(settings)));
    }
    if let Some(problem) = &job.problem {
        lines.push(format!("    {}", words::one_line(&problem.message)));
    }
    lines
}

/// `4 pictures in 12 s`, `failed, 3/4 1 failed`.
fn outcome(job: &Job) -> String {
    let worked = durations::short(words::worked(job));
    match (job.state(), job.images_done) {
        (JobState::Succeeded, 1) => format!("1 picture in {worked}"),
        (JobState::Succeeded, count) => format!("{count} pictures in {worked}"),
        (state, 0) => words::state_name(state).to_owned(),
        (state, _) => format!(
            "{} with {} in {worked}",
            words::state_name(state),
            words::images(job)
        ),
    }
}

fn made_with(settings: &Settings) -> String {
    if let Some(upscale) = &settings.upscale {
        return format!(
            "{}x{}  {} times as long  {}",
            settings.width_px, settings.height_px, upscale.scale, upscale.upscaler
        );
    }
    let schedule = match settings.schedule.as_str() {
        "" => String::new(),
        name => format!(" {name}"),
    };
    let steps = match settings.num_inference_steps {
        1 => "1 step".to_owned(),
        steps => format!("{steps} steps"),
    };
    let (width_px, height_px) = json::size_px(settings);
    format!(
        "seed {}  {width_px}x{height_px}  {} of {}{schedule}  guidance {}  {}",
        settings.seed,
        steps,
        settings.sampler,
        settings.guidance_scale,
        words::one_line(&settings.model),
    )
}
