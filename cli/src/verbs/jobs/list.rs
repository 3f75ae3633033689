//! `imgctl jobs ls`: jobs in a table.

use clap::{Args, ValueEnum};
use imgd_client::{
    Client, JobFilter,
    v1::{Job, JobState},
};
use imgd_proto::limits::{PAGE_SIZE, Range};

use crate::{
    Context,
    failure::Failure,
    jobs::{objects, words},
    table,
};

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Jobs that have ended too
    #[arg(long, short)]
    all: bool,
    /// Only jobs in these states: queued, running, paused, succeeded, failed, cancelled
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        hide_possible_values = true,
        value_name = "STATE,…",
        conflicts_with = "all"
    )]
    state: Vec<State>,
    /// Most jobs to list, newest first; 0 lists all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Whole ids and prompts
    #[arg(long)]
    no_trunc: bool,
}

/// `--state`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Queued,
    Running,
    Paused,
    Succeeded,
    Failed,
    Cancelled,
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Running => Self::Running,
            State::Paused => Self::Paused,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

impl List {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = Client::connect(context.connect.clone()).await?;
        let limit = if self.limit == 0 {
            usize::MAX
        } else {
            self.limit
        };
        // One more, to know whether there are more.
        let mut jobs = client
            .jobs(self.filter())
            .take(limit.saturating_add(1))
            .await?;
        let has_more = jobs.len() > limit;
        jobs.truncate(limit);
        let terminal = context.terminal;
        if context.json {
            return jobs
                .iter()
                .try_for_each(|job| terminal.line(&objects::job(job).to_string()));
        }
        if context.quiet {
            return jobs.iter().try_for_each(|job| terminal.line(&job.id));
        }
        let columns = terminal.columns().filter(|_| !self.no_trunc);
        let lines = table::fitted(&rows(&jobs, self.no_trunc), columns);
        terminal.line(&lines.join("\n"))?;
        if jobs.is_empty() {
            terminal.note(self.nothing());
        } else if has_more {
            terminal.note("older jobs are not shown; -n 0 lists all");
        }
        Ok(())
    }

    fn filter(&self) -> JobFilter {
        let states = match (self.all, &self.state[..]) {
            (true, _) => Vec::new(),
            (false, []) => vec![JobState::Queued, JobState::Running, JobState::Paused],
            (false, states) => states.iter().map(|&state| state.into()).collect(),
        };
        let Range::Integer { max, .. } = PAGE_SIZE.range else {
            unreachable!("a page has a whole number of jobs")
        };
        let page_size = u32::try_from(self.limit.saturating_add(1)).ok();
        JobFilter {
            states,
            page_size: page_size.filter(|&size| size > 1 && u64::from(size) <= max),
            ..JobFilter::default()
        }
    }

    fn nothing(&self) -> &'static str {
        if self.all {
            "there are no jobs; `imgctl generate PROMPT --detach` begins one"
        } else if self.state.is_empty() {
            "no job waits or runs; `imgctl jobs --all` lists those that have ended"
        } else {
            "no job is in that state; `imgctl jobs --all` lists all"
        }
    }
}

fn rows(jobs: &[Job], is_whole: bool) -> Vec<Vec<String>> {
    let headings = [
        "ID", "STATE", "PROGRESS", "IMAGES", "PRIORITY", "AGE", "PROMPT",
    ];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    rows.extend(jobs.iter().map(|job| {
        let id = if is_whole {
            &job.id
        } else {
            words::short_id(&job.id)
        };
        vec![
            id.to_owned(),
            words::state(job).to_owned(),
            words::progress(job),
            images(job),
            words::priority(job).to_owned(),
            words::age(job.submitted.as_ref()),
            words::title(job),
        ]
    }));
    rows
}

/// `3/8`, `3/8 1 failed`: what is held is in the state already.
fn images(job: &Job) -> String {
    let done = format!("{}/{}", job.images_done, job.image_count);
    match job.images_failed {
        0 => done,
        failed => format!("{done} {failed} failed"),
    }
}
