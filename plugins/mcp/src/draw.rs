//! From a request to pictures: a job is submitted, followed and looked at.
//!
//! The daemon has the job on disk before anything is waited for, so that a client that gives up early loses nothing: `job_status`
//! finds it again. A private request is a stream instead, and ends with it.

use std::{path::PathBuf, time::Duration};

use imgd_client::{
    Client, Error, Event, GenerateRequest, Image, JobEvent, JobRequest, Reason, is_final,
    v1::{ImageState, Job, JobState},
};
use rmcp::{RoleServer, service::RequestContext};
use tokio::time::{Instant, sleep_until};

use crate::{
    progress::Progress,
    refusal::{Refusal, Result},
    server::State,
};

/// A picture that is written.
pub(crate) struct Made {
    pub(crate) image: Image,
    pub(crate) path: PathBuf,
}

/// What became of a request so far.
pub(crate) struct Outcome {
    /// Empty for a private one.
    pub(crate) job_id: String,
    pub(crate) state: JobState,
    /// Share that is done, 0 to 1.
    pub(crate) fraction: f64,
    pub(crate) made: Vec<Made>,
    /// What the user should know that is no error.
    pub(crate) notices: Vec<String>,
    /// Why it failed or was cancelled.
    pub(crate) problem: Option<Refusal>,
}

/// A request as it was called.
pub(crate) type Call = RequestContext<RoleServer>;

/// Has it drawn, and waits so long for it.
pub(crate) async fn draw(
    state: &State,
    request: GenerateRequest,
    wait: Duration,
    call: &Call,
) -> Result<Outcome> {
    let client = state.connect().await?;
    let outcome = if state.options.private {
        stream(state, &client, request, call).await?
    } else {
        let submitted = client
            .submit(JobRequest {
                generate: request,
                ..JobRequest::default()
            })
            .await?;
        let id = submitted.job.id;
        let notices = {
            let _waiting = (!wait.is_zero()).then(|| state.wait_for(&id));
            follow(&client, &id, wait, call).await?
        };
        let job = client.job(&id).await?;
        Outcome {
            notices,
            ..outcome(state, &client, &job).await?
        }
    };
    match outcome.problem {
        Some(problem) if outcome.made.is_empty() => Err(problem),
        _ => Ok(outcome),
    }
}

/// Follows a job as [`watch`] does, and ends it where the client cancels the call.
async fn follow(client: &Client, id: &str, wait: Duration, call: &Call) -> Result<Vec<String>> {
    tokio::select! {
        biased;
        () = call.ct.cancelled() => {
            client.cancel(id).await?;
            Err(cancelled())
        }
        followed = watch(client, id, wait, call) => followed,
    }
}

/// Follows a job until its end, or so long. Returns what was noticed.
pub(crate) async fn watch(
    client: &Client,
    id: &str,
    wait: Duration,
    call: &Call,
) -> Result<Vec<String>> {
    let mut notices = Vec::new();
    let deadline = Instant::now() + wait;
    let mut progress = Progress::of(call);
    let mut images = 1;
    let mut watch = client.watch(id, 0).await?;
    loop {
        let event = tokio::select! {
            biased;
            () = sleep_until(deadline) => return Ok(notices),
            event = watch.next() => event,
        };
        let event = match event {
            None => return Ok(notices),
            Some(Ok(event)) => event,
            Some(Err(error @ Error::Lost(_))) => {
                let hint =
                    format!("the job is safe on disk: job_status with job_id {id} goes on with it");
                return Err(Refusal::from(error).hint(hint));
            }
            Some(Err(error)) => return Err(error.into()),
        };
        match event {
            JobEvent::Snapshot(job) | JobEvent::Changed(job) => {
                images = job.image_count;
                if job.state() == JobState::Queued {
                    progress.queued(job.position).await;
                }
            }
            JobEvent::Loading { model, fraction } => progress.loading(&model, fraction).await,
            JobEvent::Started(started) => images = started.image_count,
            JobEvent::Step(step) => {
                let evaluations = (step.index, step.count);
                progress
                    .step(step.image_index, images, evaluations, step.eta)
                    .await;
            }
            JobEvent::Notice { message, .. } => notices.push(message),
            _ => {}
        }
    }
}

/// How a job is, with its finished pictures written.
pub(crate) async fn outcome(state: &State, client: &Client, job: &Job) -> Result<Outcome> {
    let words = job
        .request
        .as_ref()
        .map_or("", |request| request.prompt.as_str());
    let mut made = Vec::new();
    let mut images = client.images(&job.id);
    while let Some(found) = images.next().await {
        let found = found?;
        if found.state() == ImageState::Done {
            let image = client.image(&job.id, found.image_index).await?;
            let path = state.shelf.put(words, &image)?;
            made.push(Made { image, path });
        }
    }
    Ok(Outcome {
        job_id: job.id.clone(),
        state: job.state(),
        fraction: fraction(job),
        made,
        notices: Vec::new(),
        problem: problem(job),
    })
}

fn problem(job: &Job) -> Option<Refusal> {
    if let Some(problem) = &job.problem {
        let reason = Reason::parse(&problem.reason).unwrap_or(Reason::Internal);
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        return Some(Refusal {
            field: given(&problem.field),
            hint: given(&problem.hint),
            ..Refusal::new(reason, problem.message.clone())
        });
    }
    (job.state() == JobState::Cancelled).then(cancelled)
}

fn cancelled() -> Refusal {
    Refusal::new(Reason::Cancelled, "the work was cancelled")
}

/// Share of a job that is done: pictures, and evaluations of those in flight.
fn fraction(job: &Job) -> f64 {
    if is_final(job.state()) {
        return 1.0;
    }
    let in_flight: f64 = job
        .in_flight
        .iter()
        .filter(|image| image.evaluation_count > 0)
        .map(|image| f64::from(image.evaluations_done) / f64::from(image.evaluation_count))
        .sum();
    let done = f64::from(job.images_done + job.images_failed) + in_flight;
    (done / f64::from(job.image_count.max(1))).min(1.0)
}

/// Draws while the client waits; the daemon keeps nothing, and dropping the stream ends it.
async fn stream(
    state: &State,
    client: &Client,
    request: GenerateRequest,
    call: &Call,
) -> Result<Outcome> {
    let words = request.prompt.clone();
    let mut generation = client
        .generate(GenerateRequest {
            private: Some(true),
            ..request
        })
        .await?;
    let mut progress = Progress::of(call);
    let (mut images, mut made, mut notices) = (1, Vec::new(), Vec::new());
    loop {
        let event = tokio::select! {
            biased;
            () = call.ct.cancelled() => return Err(cancelled()),
            event = generation.next() => event,
        };
        match event.transpose()? {
            None => break,
            Some(Event::Queued { position, .. }) => progress.queued(position).await,
            Some(Event::Loading { model, fraction }) => progress.loading(&model, fraction).await,
            Some(Event::Started(started)) => images = started.image_count,
            Some(Event::Step(step)) => {
                let evaluations = (step.index, step.count);
                progress
                    .step(step.image_index, images, evaluations, step.eta)
                    .await;
            }
            Some(Event::Image(image)) => {
                let path = state.shelf.put(&words, &image)?;
                made.push(Made { image, path });
            }
            Some(Event::Notice { message, .. }) => notices.push(message),
            Some(_) => {}
        }
    }
    Ok(Outcome {
        job_id: String::new(),
        state: JobState::Succeeded,
        fraction: 1.0,
        made,
        notices,
        problem: None,
    })
}

#[cfg(test)]
mod tests {
    use imgd_client::v1::{ImageInFlight, Problem};

    use super::*;

    #[test]
    fn pictures_in_flight_count_as_far_as_they_are() {
        let job = Job {
            image_count: 4,
            images_done: 1,
            state: JobState::Running.into(),
            in_flight: vec![ImageInFlight {
                evaluations_done: 5,
                evaluation_count: 10,
                ..ImageInFlight::default()
            }],
            ..Job::default()
        };
        assert!((fraction(&job) - 0.375).abs() < 1e-9);
        assert!(problem(&job).is_none());
    }

    #[test]
    fn a_job_that_failed_says_why_and_what_to_do() {
        let job = Job {
            state: JobState::Failed.into(),
            problem: Some(Problem {
                reason: "OUT_OF_MEMORY".into(),
                message: "it does not fit".into(),
                hint: "a smaller size".into(),
                field: String::new(),
            }),
            ..Job::default()
        };
        let refusal = problem(&job).unwrap();
        assert_eq!((refusal.reason, refusal.field), ("OUT_OF_MEMORY", None));
        assert_eq!(refusal.hint.as_deref(), Some("a smaller size"));
    }
}
