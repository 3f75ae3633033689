//! How a job is said to a person.

use std::time::{Duration, SystemTime};

use imgd_client::{
    Failure, Priority, Reason, is_final,
    v1::{GenerateRequest, Job, JobState, PauseReason, Problem},
};
use prost_types::Timestamp;

use crate::{durations, terminal::printable};

/// Digits of an id that are shown, as docker shows them.
const SHORT_ID: usize = 12;

/// An id as lists show it: enough digits to name it by.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(..SHORT_ID).unwrap_or(id)
}

/// A state as the command line names it.
pub(crate) fn state_name(state: JobState) -> &'static str {
    match state {
        JobState::Unspecified => "unknown",
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Paused => "paused",
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}

/// A state in one word where it can be, with what a paused job waits for.
pub(crate) fn state(job: &Job) -> &'static str {
    match (job.state(), job.pause_reason()) {
        (JobState::Paused, PauseReason::Held) => "held",
        (JobState::Paused, PauseReason::DiskFull) => "disk full",
        (state, _) => state_name(state),
    }
}

/// A class as the command line names it.
pub(crate) fn priority(job: &Job) -> &'static str {
    match job.request.as_ref().map(GenerateRequest::priority) {
        None | Some(Priority::Unspecified | Priority::Interactive) => "interactive",
        Some(Priority::Batch) => "batch",
        Some(Priority::Background) => "background",
    }
}

/// Share of a job's work that is done, 0 to 1; evaluations of pictures in flight count.
pub(crate) fn fraction(job: &Job) -> f64 {
    let settled = job.images_done + job.images_failed + job.images_dropped;
    let in_flight: f64 = job
        .in_flight
        .iter()
        .filter(|image| image.evaluation_count > 0)
        .map(|image| f64::from(image.evaluations_done) / f64::from(image.evaluation_count))
        .sum();
    (f64::from(settled) + in_flight) / f64::from(job.image_count.max(1))
}

/// `35%`; of a job that has not begun, its place.
pub(crate) fn progress(job: &Job) -> String {
    let fraction = fraction(job);
    if job.state() == JobState::Queued && fraction == 0.0 {
        return match job.position {
            0 => "next".into(),
            ahead => format!("{ahead} ahead"),
        };
    }
    format!("{:.0}%", (fraction * 100.0).floor())
}

/// `3/8`, `3/8 1 failed`.
pub(crate) fn images(job: &Job) -> String {
    let mut text = format!("{}/{}", job.images_done, job.image_count);
    for (count, word) in [
        (job.images_failed, "failed"),
        (job.images_held, "held"),
        (job.images_dropped, "dropped"),
    ] {
        if count > 0 {
            text = format!("{text} {count} {word}");
        }
    }
    text
}

/// The prompt of one picture of a job.
pub(crate) fn prompt(job: &Job, index: u32) -> &str {
    let own = usize::try_from(index)
        .ok()
        .and_then(|index| job.images.get(index))
        .and_then(|image| image.prompt.as_deref());
    let of_all = job.request.as_ref().map(|request| request.prompt.as_str());
    own.or(of_all).unwrap_or_default()
}

/// The prompt of a job in one line, with a word on how many others it has.
pub(crate) fn title(job: &Job) -> String {
    let request = job.request.as_ref();
    if let Some(upscale) = request.and_then(|request| request.upscale.as_ref()) {
        let by = match upscale.upscaler.as_str() {
            "" => "the only upscaler",
            name => name,
        };
        return format!("(a picture enlarged by {})", one_line(by));
    }
    let first = prompt(job, 0);
    let others = (1..job.image_count)
        .take(job.images.len())
        .filter(|&index| prompt(job, index) != first)
        .count();
    let mut title = one_line(first);
    if others > 0 {
        title = format!("{title} (and {others} more)");
    }
    title
}

/// Text in one line that cannot steer the terminal.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    printable(&words.join(" "))
}

/// A time of the contract.
pub(crate) fn time(time: Option<&Timestamp>) -> Option<SystemTime> {
    time.and_then(|time| SystemTime::try_from(*time).ok())
}

/// How long ago; nothing for the future of another clock.
pub(crate) fn since(time: Option<&Timestamp>) -> Option<Duration> {
    self::time(time).map(|time| time.elapsed().unwrap_or_default())
}

/// `12s`, `5m`, `3h`, `2d` ago.
pub(crate) fn age(time: Option<&Timestamp>) -> String {
    since(time).map(durations::age).unwrap_or_default()
}

/// A time as this place's clocks show it, to the minute.
pub(crate) fn date(time: SystemTime) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(time) => time
            .to_zoned(jiff::tz::TimeZone::system())
            .strftime("%Y-%m-%d %H:%M")
            .to_string(),
        Err(_) => String::new(),
    }
}

/// How long the engine worked for it.
pub(crate) fn worked(job: &Job) -> Duration {
    let timings = job.timings.unwrap_or_default();
    imgd_client::Timings::from(timings).engine()
}

/// The failure of a job that failed or was cancelled; none of another.
pub(crate) fn failure(job: &Job) -> Option<imgd_client::Error> {
    if !is_final(job.state()) || job.state() == JobState::Succeeded {
        return None;
    }
    let problem = job.problem.clone().unwrap_or_else(|| Problem {
        reason: match job.state() {
            JobState::Cancelled => Reason::Cancelled.as_str().into(),
            _ => Reason::Internal.as_str().into(),
        },
        message: format!("job {} was {}", short_id(&job.id), state(job)),
        ..Problem::default()
    });
    Some(imgd_client::Error::Refused(Box::new(of_problem(&problem))))
}

/// A problem as the failure it was.
pub(crate) fn of_problem(problem: &Problem) -> Failure {
    let reason = Reason::parse(&problem.reason).unwrap_or(Reason::Internal);
    let mut failure = Failure::new(reason, problem.message.clone());
    if !problem.field.is_empty() {
        failure = failure.with_field(problem.field.clone());
    }
    if !problem.hint.is_empty() {
        failure = failure.with_hint(problem.hint.clone());
    }
    failure
}

#[cfg(test)]
mod tests {
    use imgd_client::v1::{ImageInFlight, ImageVariation};

    use super::*;

    fn job(state: JobState) -> Job {
        Job {
            state: state.into(),
            image_count: 4,
            request: Some(GenerateRequest {
                prompt: "a red\n\tapple \x1b[2J".into(),
                ..GenerateRequest::default()
            }),
            ..Job::default()
        }
    }

    #[test]
    fn evaluations_in_flight_count_as_progress() {
        let mut job = job(JobState::Running);
        job.images_done = 1;
        job.in_flight = vec![
            ImageInFlight {
                evaluations_done: 5,
                evaluation_count: 20,
                ..ImageInFlight::default()
            },
            ImageInFlight::default(),
        ];
        assert_eq!(progress(&job), "31%");
        job.images_failed = 1;
        assert_eq!(images(&job), "1/4 1 failed");
    }

    #[test]
    fn what_has_not_begun_says_its_place() {
        let mut job = job(JobState::Queued);
        assert_eq!(progress(&job), "next");
        job.position = 3;
        assert_eq!(progress(&job), "3 ahead");
    }

    #[test]
    fn pictures_have_their_own_prompt_or_the_jobs() {
        let mut job = job(JobState::Queued);
        assert_eq!(title(&job), "a red apple [2J");
        let own = |prompt: Option<&str>| ImageVariation {
            prompt: prompt.map(str::to_owned),
            ..ImageVariation::default()
        };
        job.images = vec![own(Some("x")), own(None), own(Some("x")), own(Some("y"))];
        assert_eq!(prompt(&job, 1), "a red\n\tapple \x1b[2J");
        assert_eq!(title(&job), "x (and 2 more)");
    }

    #[test]
    fn a_job_that_failed_gives_the_exit_status_of_its_problem() {
        let mut job = job(JobState::Failed);
        job.problem = Some(Problem {
            reason: "WORKER_DIED".into(),
            message: "the worker died".into(),
            ..Problem::default()
        });
        assert_eq!(failure(&job).unwrap().exit_code(), 1);
        let cancelled = self::job(JobState::Cancelled);
        assert_eq!(failure(&cancelled).unwrap().exit_code(), 130);
        assert!(failure(&self::job(JobState::Succeeded)).is_none());
        assert!(failure(&self::job(JobState::Running)).is_none());
    }
}
