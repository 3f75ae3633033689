//! A hundred watchers of one job, half of whom stop reading: what the job's steps take with and without them.

use std::time::{Duration, Instant};

use imgd_client::{Client, GenerateRequest, JobEvent, JobRequest, Watch};
use imgd_e2e::processes;

use crate::{Failure, private_daemon::PrivateDaemon, report};

/// Who watches besides the one that measures.
struct Watchers {
    reading: usize,
    /// They open the stream and never read it.
    stopped: usize,
}

/// Runs the same job with no, with `count` reading, and with half of `count` stopped watchers.
#[expect(clippy::print_stdout, reason = "figures are the output")]
pub(crate) fn run(count: usize, steps: u32, size_px: u32) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let daemon = PrivateDaemon::start()?;
    runtime.block_on(async {
        let client = daemon.client().await?;
        let rounds = [
            ("nobody else", 0, 0),
            ("all watchers read", count, 0),
            ("half of the watchers stopped", count - count / 2, count / 2),
            ("nobody else, again", 0, 0),
        ];
        job(
            &daemon,
            &client,
            2,
            size_px,
            &Watchers {
                reading: 0,
                stopped: 0,
            },
        )
        .await?;
        for (name, reading, stopped) in rounds {
            let watchers = Watchers { reading, stopped };
            let times = job(&daemon, &client, steps, size_px, &watchers).await?;
            report(&format!("step, {name}"), times);
            let resident = processes::resident_bytes(daemon.pid());
            println!("supervisor: {} KiB", resident / 1024);
        }
        Ok(())
    })
}

/// Runs a job and returns the times between its steps.
async fn job(
    daemon: &PrivateDaemon,
    client: &Client,
    steps: u32,
    size_px: u32,
    watchers: &Watchers,
) -> Result<Vec<Duration>, Failure> {
    let request = JobRequest {
        generate: GenerateRequest {
            width_px: Some(size_px),
            height_px: Some(size_px),
            num_inference_steps: Some(steps),
            num_images: Some(4),
            // each step with a picture in it, so that events are large
            preview_every_n_steps: 1,
            seed: Some(7),
            ..GenerateRequest::new("a red apple")
        },
        ..JobRequest::default()
    };
    // all are connected before the job begins
    let mut lines = Vec::new();
    for _ in 0..watchers.reading + watchers.stopped {
        lines.push(daemon.client().await?);
    }
    let id = client.submit(request).await?.job.id;
    let mut reading = Vec::new();
    let mut stopped = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let watch = line.watch(&id, 0).await?;
        if index < watchers.reading {
            reading.push(tokio::spawn(drain(watch)));
        } else {
            stopped.push(watch);
        }
    }
    let mut times = Vec::new();
    let mut last = None;
    let mut watch = client.watch(&id, 0).await?;
    while let Some(event) = watch.next().await {
        match event? {
            JobEvent::Step(step) if step.index > 1 => {
                let now = Instant::now();
                times.extend(last.replace(now).map(|last| now - last));
            }
            // the gap to the first step of the next picture is no step
            JobEvent::Step(_) => last = Some(Instant::now()),
            _ => {}
        }
    }
    for watcher in reading {
        watcher.await??;
    }
    drop(stopped);
    Ok(times)
}

async fn drain(mut watch: Watch) -> Result<(), imgd_client::Error> {
    while let Some(event) = watch.next().await {
        event?;
    }
    Ok(())
}
