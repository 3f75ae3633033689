//! Ten thousand submissions as fast as they can be made: how each is answered, and what the daemon grows to meanwhile.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use imgd_client::{
    Client, Error, GenerateRequest, JobFilter, JobRequest, Priority, is_final, v1::JobState,
};
use imgd_e2e::{library, processes};
use tokio::task::{JoinHandle, JoinSet};

use crate::{Failure, private_daemon::PrivateDaemon, report};

/// Clients that submit at once.
const CLIENTS: usize = 8;

/// What became of the submissions.
#[derive(Default)]
struct Answers {
    accepted: Vec<String>,
    /// Refusals by reason; each said when to try again.
    refused: BTreeMap<String, usize>,
    /// Everything else.
    wrong: Vec<String>,
}

/// What the daemon was at most.
#[derive(Default)]
struct Peaks {
    supervisor_bytes: u64,
    data_bytes: u64,
    status: Vec<Duration>,
}

/// Floods a daemon of its own. With `insists` what is refused is submitted again until it is accepted.
#[expect(clippy::print_stdout, reason = "figures are the output")]
pub(crate) fn run(submissions: usize, insists: bool) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let daemon = PrivateDaemon::start()?;
    runtime.block_on(async {
        let client = daemon.client().await?;
        client.generate_images(tiny(0)).await?;
        let before = processes::resident_bytes(daemon.pid());
        let is_over = Arc::new(AtomicBool::new(false));
        let peaks = observe(&daemon, client.clone(), is_over.clone());
        let start = Instant::now();
        let answers = flood(&daemon, submissions, insists).await?;
        println!(
            "{submissions} submissions in {:.2} s: {} accepted, refused {:?}, wrong {}",
            start.elapsed().as_secs_f64(),
            answers.accepted.len(),
            answers.refused,
            answers.wrong.len()
        );
        for wrong in answers.wrong.iter().take(5) {
            println!("wrong: {wrong}");
        }
        let states = until_all_ended(&client).await?;
        is_over.store(true, Ordering::SeqCst);
        println!(
            "all ended after {:.2} s: {states:?}",
            start.elapsed().as_secs_f64()
        );
        let unaccounted = unaccounted(&client, &answers.accepted).await?;
        println!("accepted and unaccounted for: {unaccounted}");
        let peaks = peaks.await?;
        println!(
            "supervisor: {:.1} MiB before, {:.1} MiB at most; data folder {:.1} MiB at most",
            mebibytes(before),
            mebibytes(peaks.supervisor_bytes),
            mebibytes(peaks.data_bytes)
        );
        report("GetStatus meanwhile", peaks.status);
        Ok(())
    })
}

fn tiny(seed: u64) -> GenerateRequest {
    GenerateRequest {
        width_px: Some(64),
        height_px: Some(64),
        num_inference_steps: Some(1),
        guidance_scale: Some(1.0),
        seed: Some(seed),
        priority: Priority::Batch,
        ..GenerateRequest::new("a red apple")
    }
}

async fn flood(
    daemon: &PrivateDaemon,
    submissions: usize,
    insists: bool,
) -> Result<Answers, Failure> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (client, next) = (daemon.client().await?, next.clone());
        clients.spawn(async move {
            let mut answers = Answers::default();
            loop {
                let index = next.fetch_add(1, Ordering::SeqCst);
                if index >= submissions {
                    return answers;
                }
                while let Some(wait) = one(&client, index, &mut answers).await {
                    if !insists {
                        break;
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        });
    }
    let mut all = Answers::default();
    while let Some(answers) = clients.join_next().await {
        let answers = answers?;
        all.accepted.extend(answers.accepted);
        all.wrong.extend(answers.wrong);
        for (reason, count) in answers.refused {
            *all.refused.entry(reason).or_default() += count;
        }
    }
    Ok(all)
}

/// Submits once; `Some` is how long to wait before the next attempt.
async fn one(client: &Client, index: usize, answers: &mut Answers) -> Option<Duration> {
    let request = JobRequest {
        generate: GenerateRequest {
            request_id: Some(format!("flood-{index}")),
            ..tiny(index as u64)
        },
        ..JobRequest::default()
    };
    match client.submit(request).await {
        Ok(submitted) => {
            answers.accepted.push(submitted.job.id);
            None
        }
        Err(Error::Refused(failure)) if failure.retry_after.is_some() => {
            let reason = failure.reason.to_string();
            *answers.refused.entry(reason).or_default() += 1;
            failure.retry_after
        }
        Err(error) => {
            answers.wrong.push(error.to_string());
            None
        }
    }
}

/// Looks at the daemon from outside until it is told to stop.
fn observe(daemon: &PrivateDaemon, client: Client, is_over: Arc<AtomicBool>) -> JoinHandle<Peaks> {
    let (pid, data) = (daemon.pid(), daemon.data());
    tokio::spawn(async move {
        let mut peaks = Peaks::default();
        while !is_over.load(Ordering::SeqCst) {
            let at = Instant::now();
            if client.status().await.is_ok() {
                peaks.status.push(at.elapsed());
            }
            let supervisor = processes::resident_bytes(pid);
            peaks.supervisor_bytes = peaks.supervisor_bytes.max(supervisor);
            peaks.data_bytes = peaks.data_bytes.max(library::size_bytes(&data));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        peaks
    })
}

/// Waits until no job is left to do; how many ended how.
async fn until_all_ended(client: &Client) -> Result<BTreeMap<&'static str, usize>, Failure> {
    loop {
        let queue = client.status().await?.queue.unwrap_or_default();
        if queue.waiting + queue.running + queue.paused == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut states = BTreeMap::new();
    for job in client.jobs(all()).all().await? {
        *states.entry(job.state().as_str_name()).or_default() += 1;
    }
    Ok(states)
}

/// Jobs that were accepted and have not ended well.
async fn unaccounted(client: &Client, accepted: &[String]) -> Result<usize, Failure> {
    let jobs = client.jobs(all()).all().await?;
    let ended: std::collections::BTreeSet<_> = jobs
        .into_iter()
        .filter(|job| is_final(job.state()) && job.state() == JobState::Succeeded)
        .map(|job| job.id)
        .collect();
    Ok(accepted.iter().filter(|id| !ended.contains(*id)).count())
}

fn all() -> JobFilter {
    JobFilter {
        page_size: Some(1000),
        ..JobFilter::default()
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
