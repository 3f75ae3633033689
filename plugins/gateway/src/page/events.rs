//! What happens, for as long as the page listens: every job that is not at its end, over restarts of the daemon.
//!
//! `GET /api/events?after=JOB.CURSOR,JOB.CURSOR`: the jobs that the page knows as unfinished, and the last event that it has of
//! each. They are followed from there, so that nothing is missed while the line was down. One line carries all jobs, since
//! a browser opens few.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    extract::{Request, State as Extract},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use imgd_client::{
    Client, Error, JobEvent, JobFilter, Reason, is_final,
    v1::{Job, JobState},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::words;
use crate::{
    Shared, State,
    problem::Problem,
    sse::{self, Gone, QUIET, Sender},
};

/// Jobs that are followed at once. Later ones are listed, and followed when their turn comes nearer.
const MAX_FOLLOWED: usize = 32;
/// Newest jobs that are looked through for those that began and ended between two looks.
const NEWEST: usize = 50;
/// How often new jobs are looked for; those of the page are looked for at once.
const PERIOD: Duration = Duration::from_secs(1);
/// Cursors that a page may name.
const MAX_CURSORS: usize = 256;

/// Where a job's events were left: its id, the cursor, and whether anything is left to follow.
struct Left {
    id: String,
    cursor: u64,
    is_over: bool,
}

pub(super) async fn events(Extract(state): Shared, request: Request) -> Result<Response, Problem> {
    let query = request.uri().query().unwrap_or_default();
    let cursors = cursors(query.strip_prefix("after=").unwrap_or_default());
    let (sender, response) = sse::channel();
    tokio::spawn(async move {
        let telling = Telling {
            state,
            sender,
            cursors,
            followed: JoinSet::new(),
            names: HashSet::new(),
            ended: HashSet::new(),
            began: SystemTime::now(),
            told: None,
        };
        // the page has gone; what follows jobs ends with it
        telling.tell().await.ok();
    });
    Ok(response)
}

/// Unfinished jobs and their cursors; what is none is left out.
fn cursors(text: &str) -> HashMap<String, u64> {
    text.split(',')
        .filter_map(|part| {
            let (id, cursor) = part.split_once('.')?;
            let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_id.then_some((id.to_owned(), cursor.parse().ok()?))
        })
        .take(MAX_CURSORS)
        .collect()
}

struct Telling {
    state: Arc<State>,
    sender: Sender,
    /// Jobs that are not at their end, as far as they were told, and are not followed now.
    cursors: HashMap<String, u64>,
    followed: JoinSet<Result<Left, Gone>>,
    /// Jobs that are followed.
    names: HashSet<String>,
    /// Those of the newest jobs that have ended since the line began and need not be told again.
    ended: HashSet<String>,
    /// When the line began: what has ended before is in the gallery.
    began: SystemTime,
    /// What the page was told of the daemon.
    told: Option<Value>,
}

impl Telling {
    async fn tell(mut self) -> Result<(), Gone> {
        let mut client: Option<Client> = None;
        let mut last = Instant::now();
        let state = Arc::clone(&self.state);
        loop {
            // from before the look, so that what begins during it is not overheard
            let begun = state.begun.notified();
            if client.is_none() {
                match self.state.daemon.running().await {
                    Ok(there) => client = Some(there),
                    Err(error) => {
                        self.say_daemon(json!({ "is_up": false, "message": message(&error) }))
                            .await?
                    }
                }
            }
            if let Some(there) = client.clone()
                && let Err(error) = self.look(&there).await?
            {
                client = None;
                self.say_daemon(json!({ "is_up": false, "message": message(&error) }))
                    .await?;
            }
            let next = sleep(PERIOD);
            tokio::pin!(next, begun);
            loop {
                tokio::select! {
                    () = &mut next => break,
                    () = &mut begun => break,
                    () = self.sender.closed() => return Err(Gone),
                    Some(ended) = self.followed.join_next() => self.left(ended)?,
                }
            }
            if last.elapsed() > QUIET {
                last = Instant::now();
                self.sender.comment().await?;
            }
        }
    }

    /// Looks which jobs there are, and follows those that are not followed.
    async fn look(&mut self, client: &Client) -> Result<Result<(), Error>, Gone> {
        let status = match client.status().await {
            Ok(status) => status,
            Err(error) => return Ok(Err(error)),
        };
        let filter = JobFilter {
            states: vec![JobState::Queued, JobState::Running, JobState::Paused],
            page_size: Some(100),
            ..JobFilter::default()
        };
        let jobs = match client.jobs(filter).take(100).await {
            Ok(jobs) => jobs,
            Err(error) => return Ok(Err(error)),
        };
        let filter = JobFilter {
            page_size: u32::try_from(NEWEST).ok(),
            ..JobFilter::default()
        };
        let newest = match client.jobs(filter).take(NEWEST).await {
            Ok(newest) => newest,
            Err(error) => return Ok(Err(error)),
        };
        self.note_ended(&newest);
        let queue = status.queue.unwrap_or_default();
        let about = json!({ "is_up": true, "waiting": queue.waiting, "running": queue.running, "pid": status.pid });
        self.say_daemon(about).await?;
        // the oldest is served first
        for job in jobs.iter().rev() {
            if !self.names.contains(&job.id) && !self.cursors.contains_key(&job.id) {
                self.sender
                    .event("job", &json!({ "job": words::job(job) }))
                    .await?;
                self.cursors.insert(job.id.clone(), 0);
            }
        }
        let mut waiting: Vec<_> = self.cursors.keys().cloned().collect();
        // those that are not listed have ended meanwhile: their end is told first
        waiting.sort_by_key(|id| {
            jobs.iter()
                .rev()
                .position(|job| job.id == *id)
                .map_or(0, |place| place + 1)
        });
        for id in waiting {
            if self.names.len() >= MAX_FOLLOWED {
                break;
            }
            let cursor = self.cursors.remove(&id).unwrap_or(0);
            self.names.insert(id.clone());
            self.followed
                .spawn(follow(client.clone(), self.sender.clone(), id, cursor));
        }
        Ok(Ok(()))
    }

    /// Takes the jobs that have ended since the last look, and were not told, among those to follow.
    fn note_ended(&mut self, newest: &[Job]) {
        let is_new = |job: &&Job| {
            let finished = job
                .finished
                .and_then(|time| SystemTime::try_from(time).ok());
            is_final(job.state()) && finished.is_some_and(|finished| finished >= self.began)
        };
        let ended: HashSet<_> = newest
            .iter()
            .filter(is_new)
            .map(|job| job.id.clone())
            .collect();
        for id in ended.difference(&self.ended) {
            if !self.names.contains(id) {
                self.cursors.entry(id.clone()).or_insert(0);
            }
        }
        self.ended = ended;
    }

    /// A job is not followed any more: it has ended, or the line has.
    fn left(
        &mut self,
        ended: Result<Result<Left, Gone>, tokio::task::JoinError>,
    ) -> Result<(), Gone> {
        let left = ended.map_err(|_panicked| Gone)??;
        self.names.remove(&left.id);
        if left.is_over {
            self.ended.insert(left.id);
        } else {
            self.cursors.insert(left.id, left.cursor);
        }
        Ok(())
    }

    /// Tells how the daemon is, where that has changed.
    async fn say_daemon(&mut self, about: Value) -> Result<(), Gone> {
        if self.told.as_ref() != Some(&about) {
            self.sender.event("daemon", &about).await?;
            self.told = Some(about);
        }
        Ok(())
    }
}

/// Tells what happens to one job, until its end or that of the line.
async fn follow(client: Client, sender: Sender, id: String, mut cursor: u64) -> Result<Left, Gone> {
    let left = |cursor, is_over| Left {
        id: id.clone(),
        cursor,
        is_over,
    };
    let mut watch = match client.watch(&id, cursor).await {
        Ok(watch) => watch,
        Err(error) if error.reason() == Reason::JobNotFound => {
            sender.event("gone", &json!({ "job_id": id })).await?;
            return Ok(left(cursor, true));
        }
        Err(_lost) => return Ok(left(cursor, false)),
    };
    while let Some(event) = watch.next().await {
        let Ok(event) = event else {
            return Ok(left(cursor, false));
        };
        cursor = watch.cursor();
        let Some((name, mut data)) = say(&id, event) else {
            continue;
        };
        data["job_id"] = json!(id);
        data["cursor"] = json!(cursor);
        sender.event(name, &data).await?;
    }
    Ok(left(cursor, true))
}

/// An event in the page's words.
fn say(id: &str, event: JobEvent) -> Option<(&'static str, Value)> {
    Some(match event {
        JobEvent::Snapshot(job) | JobEvent::Changed(job) => {
            ("job", json!({ "job": words::job(&job) }))
        }
        JobEvent::Loading { model, fraction } => {
            ("loading", json!({ "model": model, "fraction": fraction }))
        }
        JobEvent::Started(started) => (
            "started",
            json!({
                "index": started.image_index,
                "done": started.evaluations_done,
                "count": started.evaluation_count,
                "settings": words::settings(&started.settings),
            }),
        ),
        JobEvent::Step(step) => (
            "step",
            json!({
                "index": step.image_index,
                "done": step.index,
                "count": step.count,
                "eta_secs": step.eta.map(|eta| eta.as_secs_f64()),
                "preview": step.preview.map(|preview| STANDARD.encode(preview.png)),
            }),
        ),
        JobEvent::Image(image) => ("picture", json!({ "picture": words::picture(id, &image) })),
        JobEvent::Notice {
            reason,
            message,
            field,
        } => (
            "notice",
            json!({ "reason": reason, "message": message, "param": crate::problem::caller_name(&field) }),
        ),
        _ => return None,
    })
}

fn message(error: &Error) -> String {
    match error {
        Error::NotRunning { .. } | Error::Lost(_) => {
            "the daemon does not run; it starts with the next picture".into()
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_and_nonsense_is_left_out() {
        let id = "0123456789abcdef0123456789abcdef";
        let read = cursors(&format!(
            "{id}.17,short.1,{id}x.2,../../../../../../../../../../../..,,{}.x",
            "a".repeat(32)
        ));
        assert_eq!(read, HashMap::from([(id.to_owned(), 17)]));
    }
}
