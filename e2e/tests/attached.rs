//! Whose end ends a job, and whose does not.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{process::Stdio, thread, time::Duration};

use imgd_e2e::{
    Daemon,
    line::{self, Line},
    processes,
};
use imgd_proto::v1::{GenerateRequest, Job, JobState, SubmitJobRequest};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(120);

/// Jobs whose request has this name, newest first.
async fn named(line: &Line, name: &str) -> Vec<Job> {
    let mut jobs = line.list(&[]).await.unwrap();
    jobs.retain(|job| {
        job.request
            .as_ref()
            .is_some_and(|request| request.prompt == name)
    });
    jobs
}

/// The one job of this name, once it is in the history: an attached job is there from its beginning.
async fn is_there(line: &Line, name: &str) -> Job {
    for _ in 0..500 {
        if let [job] = &named(line, name).await[..] {
            return job.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no job of {name:?} came into the history");
}

#[test]
fn a_killed_client_cancels_its_own_job_and_no_other() {
    let daemon = Daemon::start();
    daemon.run(["load", "starter"]).ok();
    let mut command = daemon.imgctl();
    command.args(["generate", "attached", "--steps", "1000", "-o", "never.png"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    line::runtime().block_on(async {
        let line = Line::to(daemon.socket());
        let request = SubmitJobRequest {
            generate: Some(GenerateRequest {
                prompt: "detached".into(),
                width_px: Some(128),
                height_px: Some(128),
                num_inference_steps: Some(6),
                num_images: Some(3),
                seed: Some(7),
                ..GenerateRequest::default()
            }),
            ..SubmitJobRequest::default()
        };
        let submitting = Line::to(daemon.socket());
        let detached = submitting.submit(request).await.unwrap().job.unwrap();
        drop(submitting);

        let attached = is_there(&line, "attached").await;
        assert!(attached.attached && !detached.attached);
        let begun = line
            .job_when(&attached.id, SOON, |job| job.started.is_some())
            .await
            .unwrap();
        assert_eq!(begun.state(), JobState::Running);

        processes::signal(child.id(), Signal::KILL);
        child.wait().unwrap();
        let ended = line
            .ended(&attached.id, Duration::from_secs(30))
            .await
            .unwrap();
        assert_eq!(ended.state(), JobState::Cancelled, "{ended:?}");
        assert_eq!(ended.images_done, 0);
        let other = line.ended(&detached.id, SOON).await.unwrap();
        assert_eq!(other.state(), JobState::Succeeded, "{other:?}");
        assert_eq!(other.images_done, 3);
    });
}

#[test]
fn an_attached_job_of_a_killed_daemon_is_cancelled_and_a_detached_one_goes_on() {
    let mut daemon = Daemon::start();
    daemon.run(["load", "starter"]).ok();
    let runtime = line::runtime();
    let socket = daemon.socket();
    let (attached, detached) = runtime.block_on(async {
        let line = Line::to(&socket);
        // Of the attached one there is more than can be drawn before the daemon is killed.
        let request = |prompt: &str, steps: u32, images: u32| GenerateRequest {
            prompt: prompt.into(),
            width_px: Some(128),
            height_px: Some(128),
            num_inference_steps: Some(steps),
            num_images: Some(images),
            seed: Some(7),
            ..GenerateRequest::default()
        };
        let submit = SubmitJobRequest {
            generate: Some(request("detached", 100, 3)),
            ..SubmitJobRequest::default()
        };
        let has_started = |job: &Job| job.started.is_some();
        let detached = line.submit(submit).await.unwrap().job.unwrap().id;
        line.job_when(&detached, SOON, has_started).await.unwrap();
        let other = Line::to(&socket);
        tokio::spawn(async move { other.generate(request("attached", 1000, 4)).await });
        let attached = is_there(&line, "attached").await.id;
        line.job_when(&attached, SOON, has_started).await.unwrap();
        (attached, detached)
    });
    thread::sleep(Duration::from_millis(300));
    daemon.kill();
    daemon.start_again();
    daemon.wait_until_it_listens();
    runtime.block_on(async {
        let line = Line::to(&socket);
        let job = line.job(&attached).await.unwrap();
        assert_eq!(job.state(), JobState::Cancelled, "{job:?}");
        assert!(job.problem.is_some(), "{job:?}");
        let job = line.ended(&detached, SOON).await.unwrap();
        assert_eq!(job.state(), JobState::Succeeded, "{job:?}");
    });
}
