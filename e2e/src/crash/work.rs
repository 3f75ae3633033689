//! Submits the orders, once undisturbed and once through kills, and waits for their end.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use imgd_proto::{
    Failure,
    v1::{JobState, SubmitJobRequest, SubmitJobResponse},
};
use tokio::{task::JoinSet, time};
use tonic::{Code, Status};

use super::{Plan, Progress, watcher};
use crate::{
    Daemon, library,
    line::{Line, patiently},
};

/// What each picture is: by request_id and index, the SHA-256 of its file and of its thumbnail.
pub(super) type Reference = BTreeMap<(String, u32), [String; 2]>;

/// What became of the submissions.
#[derive(Debug, Default)]
pub(super) struct Submitted {
    /// Ids of jobs by request_id.
    pub(super) ids: BTreeMap<String, String>,
    pub(super) submissions: Submissions,
    pub(super) violations: Vec<String>,
}

/// Answers to submissions.
#[derive(Debug, Default, Clone, Copy)]
pub struct Submissions {
    /// Accepted.
    pub accepted: usize,
    /// Asked a second time on purpose, or because the answer was lost, and found there.
    pub existed: usize,
    /// Refused for a while, with RetryInfo.
    pub refused: usize,
}

/// Makes all pictures with a daemon that nobody disturbs.
pub(super) async fn undisturbed(
    daemon: &Daemon,
    orders: &[SubmitJobRequest],
    patience: Duration,
) -> Result<Reference, String> {
    let line = Line::to(daemon.socket());
    let mut ids = BTreeMap::new();
    for order in orders {
        let answer = submit(&line, order, patience, &mut Submissions::default())
            .await
            .map_err(|status| format!("{:?}: {status}", request_id(order)))?;
        ids.insert(request_id(order), answer.job.unwrap_or_default().id);
    }
    let mut reference = Reference::new();
    for (name, id) in &ids {
        let job = line
            .ended(id, patience)
            .await
            .map_err(|status| words(&status))?;
        if job.state() != JobState::Succeeded {
            return Err(format!("undisturbed, and yet: {job:?}"));
        }
        for index in 0..job.image_count {
            let file = line
                .picture(id, index, false)
                .await
                .map_err(|status| words(&status))?;
            let thumbnail = line
                .picture(id, index, true)
                .await
                .map_err(|status| words(&status))?;
            let sums = [&file.bytes, &thumbnail.bytes].map(|bytes| library::sha256(bytes));
            reference.insert((name.clone(), index), sums);
        }
    }
    Ok(reference)
}

/// Submits the orders evenly over the kills, follows each, and returns when all have ended.
pub(super) async fn through_kills(
    line: &Line,
    orders: &[SubmitJobRequest],
    plan: &Plan,
    progress: &Arc<Progress>,
) -> Submitted {
    let mut tasks = JoinSet::new();
    for (index, order) in orders.iter().enumerate() {
        // the last order comes after the last kill: until then there is work left to interrupt, however fast it is done
        let due = index * plan.kills / orders.len().saturating_sub(1).max(1);
        let (line, order) = (line.clone(), order.clone());
        let (progress, patience) = (progress.clone(), plan.patience);
        tasks.spawn(async move {
            while progress.kills.load(Ordering::SeqCst) < due {
                time::sleep(Duration::from_millis(10)).await;
            }
            let mut counts = Submissions::default();
            let outcome = submit_twice(&line, &order, patience, &mut counts).await;
            if let Ok(id) = &outcome {
                watcher::follow(&line, id, &progress.seen).await;
            }
            (request_id(&order), outcome, counts)
        });
    }
    let mut submitted = Submitted::default();
    let gather = async {
        while let Some(task) = tasks.join_next().await {
            match task {
                Ok((name, outcome, counts)) => submitted.take(name, outcome, counts),
                Err(panic) => submitted.violations.push(panic.to_string()),
            }
        }
    };
    if time::timeout(plan.patience, gather).await.is_err() {
        let what = unfinished(line)
            .await
            .unwrap_or_else(|status| words(&status));
        let what = format!("not over after {:?}: {what}", plan.patience);
        submitted.violations.push(what);
    }
    submitted
}

impl Submitted {
    fn take(&mut self, name: String, outcome: Result<String, String>, counts: Submissions) {
        self.submissions.accepted += counts.accepted;
        self.submissions.existed += counts.existed;
        self.submissions.refused += counts.refused;
        match outcome {
            Ok(id) => drop(self.ids.insert(name, id)),
            Err(what) => self.violations.push(format!("submit {name}: {what}")),
        }
    }
}

/// Submits an order until it is accepted, then once more: that must give the same job. Returns its id.
async fn submit_twice(
    line: &Line,
    order: &SubmitJobRequest,
    patience: Duration,
    counts: &mut Submissions,
) -> Result<String, String> {
    let first = submit(line, order, patience, counts)
        .await
        .map_err(|status| words(&status))?;
    counts.accepted += 1;
    // the answer to an earlier attempt was lost with its daemon
    counts.existed += usize::from(first.existed);
    let again = submit(line, order, patience, counts)
        .await
        .map_err(|status| words(&status))?;
    let id = |answer: &SubmitJobResponse| answer.job.clone().unwrap_or_default().id;
    if !again.existed || id(&first) != id(&again) || id(&first).is_empty() {
        return Err(format!("job {} became {}", id(&first), id(&again)));
    }
    Ok(id(&first))
}

/// Submits over deaths of daemons and while the queue is full.
async fn submit(
    line: &Line,
    order: &SubmitJobRequest,
    patience: Duration,
    counts: &mut Submissions,
) -> Result<SubmitJobResponse, Status> {
    let start = Instant::now();
    loop {
        let status = match patiently(patience, || line.submit(order.clone())).await {
            Ok(answer) => return Ok(answer),
            Err(status) => status,
        };
        let wait = Failure::from_status(&status).retry_after;
        let (Code::ResourceExhausted, Some(wait)) = (status.code(), wait) else {
            return Err(status);
        };
        if start.elapsed() > patience {
            return Err(status);
        }
        counts.refused += 1;
        time::sleep(wait.min(Duration::from_millis(500))).await;
    }
}

/// The jobs that have not come to their end, in words.
async fn unfinished(line: &Line) -> Result<String, Status> {
    let states = [JobState::Queued, JobState::Running, JobState::Paused];
    let jobs = line.list(&states).await?;
    let words = jobs.iter().map(|job| {
        let (done, count, state) = (job.images_done, job.image_count, job.state());
        format!(
            "{} {state:?} {done} of {count}, {:?}",
            job.id, job.in_flight
        )
    });
    Ok(words.collect::<Vec<_>>().join("; "))
}

fn request_id(order: &SubmitJobRequest) -> String {
    let generate = order.generate.as_ref();
    generate.map_or_else(String::new, |generate| generate.request_id.clone())
}

fn words(status: &Status) -> String {
    status.to_string()
}
