//! `imgctl jobs watch`: jobs as they go, in a live table.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use imgd_client::{
    Client, Error, JobEvent, JobFilter, is_final, update,
    v1::{ImageState, Job, JobState},
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Context,
    failure::Failure,
    jobs::{
        objects,
        watchers::{Told, Watchers},
        which, words,
    },
    live::{Live, Row},
    table,
};

/// Jobs that are watched at once where none is named.
const MAX_JOBS: usize = 64;
/// How often new ones are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// One picture of a job's row, or one job of the last row, in parts of it.
const PARTS: u32 = 1000;

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Jobs: their ids, or the first digits of them; `-` reads them from standard input [default: all that wait or run]
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

impl Watch {
    pub(super) fn prepare(&mut self) -> Result<(), Failure> {
        self.ids = which::read(&self.ids)?;
        Ok(())
    }

    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let client = Client::connect(context.connect.clone()).await?;
        let follows_new = self.ids.is_empty();
        let jobs = match follows_new {
            true => active(&client).await?,
            false => named(&client, &self.ids).await?,
        };
        if jobs.is_empty() && !context.quiet {
            context
                .terminal
                .note("no job waits or runs; `imgctl jobs --all` lists those that have ended");
        }
        let mut watchers = Watchers::new(context, client);
        let mut board = Board {
            context,
            live: Live::new(context),
            is_one: jobs.len() == 1 && !follows_new,
            jobs: BTreeMap::new(),
        };
        board.add(&mut watchers, jobs);
        let mut last_failure = None;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset();
        while !watchers.is_empty() {
            let outcome = tokio::select! {
                told = watchers.next() => match told {
                    Ok(told) => {
                        last_failure = board.tell(told)?.or(last_failure);
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                _ = look.tick(), if follows_new => match active(watchers.client()).await {
                    Ok(jobs) => {
                        board.add(&mut watchers, jobs);
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = outcome {
                // What is said meanwhile would stand in the table.
                board.live = Live::new(context);
                watchers.recover(error).await?;
            }
        }
        // Only who names a job asks how it ended.
        match last_failure {
            Some(failure) if !follows_new => Err(failure),
            _ => Ok(()),
        }
    }
}

/// The jobs that wait or run, the oldest first.
async fn active(client: &Client) -> Result<Vec<Job>, Error> {
    let filter = JobFilter {
        states: vec![JobState::Queued, JobState::Running, JobState::Paused],
        page_size: u32::try_from(MAX_JOBS).ok(),
        ..JobFilter::default()
    };
    let mut jobs = client.jobs(filter).take(MAX_JOBS).await?;
    jobs.reverse();
    Ok(jobs)
}

async fn named(client: &Client, ids: &[String]) -> Result<Vec<Job>, Error> {
    let mut jobs = Vec::new();
    for id in ids {
        jobs.push(client.job(id).await?);
    }
    Ok(jobs)
}

/// The jobs as they are shown.
struct Board<'a> {
    context: &'a Context,
    live: Live,
    /// All there were, by id.
    jobs: BTreeMap<String, Entry>,
    /// One job is shown by its pictures, several by a row each.
    is_one: bool,
}

/// A job and its pictures in flight, by index.
#[derive(Debug, Default)]
struct Entry {
    key: u64,
    job: Job,
    in_flight: BTreeMap<u32, Drawn>,
    loading: Option<f64>,
}

/// Evaluations of a picture, and the time that is left.
#[derive(Debug, Clone, Copy, Default)]
struct Drawn {
    done: u32,
    count: u32,
    left: Option<Duration>,
}

impl Board<'_> {
    /// Watches those of `jobs` that are new.
    fn add(&mut self, watchers: &mut Watchers<'_>, jobs: Vec<Job>) {
        for job in jobs {
            let key = self.jobs.len() as u64;
            let id = job.id.clone();
            self.jobs.entry(id.clone()).or_insert_with(|| {
                watchers.add(&id);
                Entry {
                    key,
                    job,
                    ..Entry::default()
                }
            });
        }
    }

    /// Shows what a job says; gives the failure of one that has ended with one.
    fn tell(&mut self, told: Told) -> Result<Option<Failure>, Failure> {
        let Told { id, cursor, event } = told;
        let Some(event) = event else {
            return self.end(&id);
        };
        let Some(entry) = self.jobs.get_mut(&id) else {
            return Ok(None);
        };
        let terminal = self.context.terminal;
        entry.take(&event);
        if self.context.json
            && let Some(object) = objects::event(&event, &entry.job, cursor)
        {
            terminal.line(&object.to_string())?;
        }
        if let JobEvent::Notice { message, .. } = &event
            && !self.context.quiet
            && !self.context.json
        {
            let text = format!("{}: {message}", words::short_id(&id));
            self.live.suspend(|| terminal.notice(&text));
        }
        if self.is_one {
            show_pictures(&mut self.live, entry);
        } else {
            self.live.show(entry.key, entry.row());
            self.show_total();
        }
        Ok(None)
    }

    fn end(&mut self, id: &str) -> Result<Option<Failure>, Failure> {
        let Some(entry) = self.jobs.get_mut(id) else {
            return Ok(None);
        };
        entry.in_flight.clear();
        if self.is_one {
            self.live.retain(|_| false);
        } else {
            self.live.hide(entry.key);
        }
        if !self.context.json {
            let line = ending(&entry.job, self.context.quiet);
            let terminal = self.context.terminal;
            let line = match terminal.columns() {
                Some(columns) => table::fit(&line, columns),
                None => line,
            };
            self.live.suspend(|| terminal.line(&line))?;
        }
        let failure = words::failure(&entry.job).map(Failure::from);
        if !self.is_one {
            self.show_total();
        }
        Ok(failure)
    }

    fn show_total(&mut self) {
        // Each job counts as much as another.
        let parts = |row: Row| f64::from(row.done) / f64::from(row.of.max(1)) * f64::from(PARTS);
        let sum: f64 = self.jobs.values().map(|entry| parts(entry.row())).sum();
        let ended = self
            .jobs
            .values()
            .filter(|entry| is_final(entry.job.state()));
        let text = format!("{}/{} jobs ended", ended.count(), self.jobs.len());
        self.live.total(Row {
            label: "all".into(),
            done: whole_number(sum),
            of: u32::try_from(self.jobs.len())
                .unwrap_or(u32::MAX)
                .saturating_mul(PARTS),
            text,
        });
    }
}

impl Entry {
    fn take(&mut self, event: &JobEvent) {
        match event {
            JobEvent::Snapshot(job) => {
                self.in_flight = job
                    .in_flight
                    .iter()
                    .map(|image| {
                        let drawn = Drawn {
                            done: image.evaluations_done,
                            count: image.evaluation_count,
                            left: None,
                        };
                        (image.image_index, drawn)
                    })
                    .collect();
                self.job = (**job).clone();
            }
            JobEvent::Changed(job) => {
                if job.state() != JobState::Running {
                    self.in_flight.clear();
                }
                update(&mut self.job, (**job).clone());
            }
            JobEvent::Loading { fraction, .. } => self.loading = Some(*fraction),
            JobEvent::Started(started) => {
                self.loading = None;
                let drawn = Drawn {
                    done: started.evaluations_done,
                    count: started.evaluation_count,
                    left: None,
                };
                self.in_flight.insert(started.image_index, drawn);
            }
            JobEvent::Step(step) => {
                let drawn = Drawn {
                    done: step.index,
                    count: step.count,
                    left: step.eta,
                };
                self.in_flight.insert(step.image_index, drawn);
            }
            JobEvent::Image(image) => {
                // One that a snapshot counts already is not in flight.
                let was_in_flight = self.in_flight.remove(&image.image_index).is_some();
                if was_in_flight && image.state() == ImageState::Done {
                    self.job.images_done += 1;
                }
            }
            _ => {}
        }
    }

    /// The whole job in one row.
    fn row(&self) -> Row {
        let job = &self.job;
        let label = format!("{} {}", words::short_id(&job.id), words::title(job));
        let in_flight = self.in_flight.values().filter(|drawn| drawn.count > 0);
        let share: f64 = in_flight
            .map(|drawn| f64::from(drawn.done) / f64::from(drawn.count))
            .sum();
        let settled = job.images_done + job.images_failed + job.images_dropped;
        let parts = (f64::from(settled) + share) * f64::from(PARTS);
        Row {
            label,
            done: whole_number(parts),
            of: job.image_count.saturating_mul(PARTS),
            text: self.text(),
        }
    }

    fn text(&self) -> String {
        let job = &self.job;
        let images = words::images(job);
        if let Some(fraction) = self.loading {
            return format!("{images}  loading {:.0} %", (fraction * 100.0).floor());
        }
        match (job.state(), self.in_flight.len()) {
            (JobState::Queued, _) if job.position > 0 => {
                format!("{images}  {} ahead", job.position)
            }
            (JobState::Running, 0) => images,
            (JobState::Running, 1) => {
                let drawn = self.in_flight.values().next().copied().unwrap_or_default();
                format!("{images}  {}/{}", drawn.done, drawn.count)
            }
            (JobState::Running, at_once) => format!("{images}  {at_once} at once"),
            _ => format!("{images}  {}", words::state(job)),
        }
    }
}

fn show_pictures(live: &mut Live, entry: &Entry) {
    live.retain(|key| u32::try_from(key).is_ok_and(|index| entry.in_flight.contains_key(&index)));
    for (&index, drawn) in &entry.in_flight {
        let prompt = words::one_line(words::prompt(&entry.job, index));
        let label = format!("{index} {prompt}");
        let row = Row::drawing(label, drawn.done, drawn.count, drawn.left);
        live.show(u64::from(index), row);
    }
    live.total(entry.row());
}

/// The line that stays of a job.
fn ending(job: &Job, is_quiet: bool) -> String {
    if is_quiet {
        return job.id.clone();
    }
    format!(
        "{}  {}  {}  {}",
        words::short_id(&job.id),
        words::state(job),
        words::images(job),
        words::title(job)
    )
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is clamped"
)]
fn whole_number(number: f64) -> u32 {
    number.clamp(0.0, f64::from(u32::MAX)) as u32
}
