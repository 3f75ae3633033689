//! A worker that fails in every way there is: the daemon answers throughout, the job is tried once more from its last
//! step and then fails with the reason, and nobody else notices.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]
#![expect(clippy::print_stdout, reason = "what was measured is worth telling")]

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use imgd_e2e::{
    Daemon, Home,
    line::{self, Line},
    program, repository,
};
use imgd_proto::{
    Failure, Reason,
    v1::{GenerateRequest, Job, JobState, Priority, SubmitJobRequest, generate_response::Event},
};
use tokio::task::JoinHandle;

/// Two deaths, and for the one that hangs the daemon's patience with it.
const SOON: Duration = Duration::from_secs(180);

/// A daemon whose worker fails when a prompt asks for it, and that saves every evaluation.
fn faulty() -> Daemon {
    let starter = repository().join("models/starter");
    Daemon::start_by(Home::new(), move |home| {
        let mut command = home.command(program("imgd-faulty"));
        command.arg("--starter-dir").arg(&starter);
        command.args(["--save-interval", "0s"]);
        command
    })
}

fn request(prompt: &str, images: u32) -> GenerateRequest {
    GenerateRequest {
        prompt: prompt.into(),
        width_px: Some(128),
        height_px: Some(128),
        num_inference_steps: Some(6),
        num_images: Some(images),
        seed: Some(7),
        ..GenerateRequest::default()
    }
}

async fn submit(line: &Line, prompt: &str, images: u32) -> String {
    let request = SubmitJobRequest {
        generate: Some(request(prompt, images)),
        ..SubmitJobRequest::default()
    };
    line.submit(request).await.unwrap().job.unwrap().id
}

/// What a sound daemon makes of a request.
async fn undisturbed(prompt: &str, images: u32) -> Vec<Vec<u8>> {
    let daemon = Daemon::start();
    let line = Line::to(daemon.socket());
    let pictures = line.generate(request(prompt, images)).await.unwrap();
    pictures.into_iter().map(|picture| picture.bytes).collect()
}

async fn pictures(line: &Line, job: &Job) -> Vec<Vec<u8>> {
    let mut pictures = Vec::new();
    for index in 0..job.image_count {
        pictures.push(line.picture(&job.id, index, false).await.unwrap().bytes);
    }
    pictures
}

/// Asks the daemon how it is, again and again; how long the answers took.
fn ask_again_and_again(line: Line, is_over: Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    tokio::spawn(async move {
        let mut times = Vec::new();
        while !is_over.load(Ordering::SeqCst) {
            let at = Instant::now();
            line.status().await.unwrap();
            times.push(at.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        times
    })
}

/// What the stream of a request told before it ended.
#[derive(Debug, Default)]
struct Told {
    job: String,
    /// Evaluations that were done when its pictures were begun or gone on with.
    begun: Vec<u32>,
    notices: Vec<String>,
}

/// Draws pictures and listens to the request's stream to its end, however it ends. It misses nothing: it begins with the
/// request.
async fn told(line: &Line, prompt: &str, images: u32) -> Told {
    let request = GenerateRequest {
        priority: Priority::Batch.into(),
        ..request(prompt, images)
    };
    let mut stream = line.images().generate(request).await.unwrap().into_inner();
    let mut told = Told::default();
    while let Ok(Some(message)) = stream.message().await {
        told.job = message.job_id;
        match message.event {
            Some(Event::Started(started)) => told.begun.push(started.evaluations_done),
            Some(Event::Notice(notice)) => told.notices.push(notice.reason),
            _ => {}
        }
    }
    told
}

/// Runs a job that meets `fault` at its fourth evaluation beside a sound one.
async fn meet(fault: &str) {
    let sound = undisturbed("a red apple", 2).await;
    let daemon = faulty();
    let line = Line::to(daemon.socket());
    line.generate(request("a warm worker", 1)).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let answers = ask_again_and_again(Line::to(daemon.socket()), is_over.clone());

    let bad = {
        let (line, prompt) = (line.clone(), format!("a fox [[fault:{fault}@4]]"));
        tokio::spawn(async move { told(&line, &prompt, 1).await })
    };
    let good = submit(&line, "a red apple", 2).await;
    let told = bad.await.unwrap();
    let bad = line.ended(&told.job, SOON).await.unwrap();
    let good = line.ended(&good, SOON).await.unwrap();
    let later = submit(&line, "a red apple", 2).await;
    let later = line.ended(&later, SOON).await.unwrap();
    is_over.store(true, Ordering::SeqCst);

    assert_eq!(bad.state(), JobState::Failed, "{fault}: {bad:?}");
    let problem = bad.problem.clone().unwrap_or_default();
    assert_eq!(problem.reason, "WORKER_DIED", "{fault}: {problem:?}");
    assert_eq!(bad.worker_deaths, 2, "{fault}: retried once");
    assert_eq!(told.begun, [0, 3], "{fault}: retried from its last step");
    assert_eq!(told.notices, ["worker_died"], "{fault}");
    for job in [good, later] {
        assert_eq!(job.state(), JobState::Succeeded, "{fault}: {job:?}");
        assert!(pictures(&line, &job).await == sound, "{fault}: other bytes");
    }

    let mut times = answers.await.unwrap();
    times.sort_unstable();
    let (most, usual) = (times[times.len() - 1], times[times.len() * 95 / 100]);
    println!(
        "{fault}: {} answers, 95 % within {usual:?}, all within {most:?}",
        times.len()
    );
    assert!(usual < Duration::from_millis(100), "{fault}: {usual:?}");
    assert!(most < Duration::from_secs(2), "{fault}: {most:?}");
}

#[test]
fn a_defect_fails_its_job_alone() {
    line::runtime().block_on(meet("panic"));
}

#[test]
fn a_segmentation_fault_fails_its_job_alone() {
    line::runtime().block_on(meet("segv"));
}

#[test]
fn a_refused_allocation_fails_its_job_alone() {
    line::runtime().block_on(meet("abort"));
}

#[test]
fn a_worker_that_hangs_is_ended_and_fails_its_job_alone() {
    line::runtime().block_on(meet("hang"));
}

/// Processes the kernel has ended for lack of memory.
fn oom_kills() -> Option<u64> {
    let counters = fs::read_to_string("/proc/vmstat").ok()?;
    let line = counters
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}

#[test]
fn a_worker_that_runs_out_of_memory_fails_its_job_alone() {
    line::runtime().block_on(async {
        // where no control group can be made the worker ends itself, which is nobody's fault: then once is enough
        let before = oom_kills();
        let daemon = faulty();
        let line = Line::to(daemon.socket());
        let job = submit(&line, "a fox [[fault:oom@4,once]]", 1).await;
        let job = line.ended(&job, SOON).await.unwrap();
        assert_eq!(job.state(), JobState::Succeeded, "{job:?}");
        assert_eq!(job.worker_deaths, 1);
        if before.is_none() || oom_kills() == before {
            println!("skipped: the kernel ends nobody here, as no control group can be made");
            return;
        }
        drop(daemon);
        meet("oom").await;
    });
}

#[test]
fn a_fault_that_does_not_come_again_costs_nothing_but_time() {
    line::runtime().block_on(async {
        let prompt = "a fox [[fault:segv@4,once]]";
        let expected = undisturbed(prompt, 2).await;
        let daemon = faulty();
        let line = Line::to(daemon.socket());
        let told = told(&line, prompt, 2).await;
        let job = line.ended(&told.job, SOON).await.unwrap();
        assert_eq!(job.state(), JobState::Succeeded, "{job:?}");
        assert!(job.worker_deaths >= 1);
        assert!(told.begun.contains(&3), "{told:?}");
        assert!(told.notices.contains(&"worker_died".to_owned()), "{told:?}");
        assert!(pictures(&line, &job).await == expected, "other bytes");
    });
}

#[test]
fn a_failed_job_is_tried_again_on_request() {
    line::runtime().block_on(async {
        let daemon = faulty();
        let line = Line::to(daemon.socket());
        let job = submit(&line, "a fox [[fault:segv@4]]", 1).await;
        let failed = line.ended(&job, SOON).await.unwrap();
        assert_eq!(failed.state(), JobState::Failed, "{failed:?}");
        let request = imgd_proto::v1::RetryJobRequest {
            job_id: job.clone(),
        };
        let retried = line.jobs().retry_job(request).await.unwrap().into_inner();
        assert!(!line::is_final(retried.job.unwrap().state()));
        let failed = line.ended(&job, SOON).await.unwrap();
        assert_eq!(failed.state(), JobState::Failed, "{failed:?}");
        assert!(failed.worker_deaths > 2, "{failed:?}");
    });
}

#[test]
fn a_request_with_a_stream_fails_with_the_reason() {
    line::runtime().block_on(async {
        let daemon = faulty();
        let line = Line::to(daemon.socket());
        let drawn = line.generate(request("a fox [[fault:segv@4]]", 1)).await;
        let failure = Failure::from_status(&drawn.unwrap_err());
        assert_eq!(failure.reason, Reason::WorkerDied, "{failure:?}");
        line.generate(request("a red apple", 1)).await.unwrap();
    });
}
