//! How long a person waits while a batch is running, and what the batch loses.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use imgd_client::{Client, Event, GenerateRequest, JobEvent, JobRequest, Priority, v1::JobState};
use imgd_e2e::random::Random;

use crate::{Failure, milliseconds, private_daemon::PrivateDaemon, report};

/// What is measured.
pub(crate) struct Plan {
    /// Pictures of the batch.
    pub(crate) images: u32,
    /// Side of all pictures in pixels.
    pub(crate) size_px: u32,
    /// Denoising steps of all pictures.
    pub(crate) steps: u32,
    /// Requests of the person.
    pub(crate) requests: usize,
    /// Decides when they come.
    pub(crate) seed: u64,
}

/// Runs the batch alone, then with a person's requests at random times, and compares.
#[expect(clippy::print_stdout, reason = "figures are the output")]
pub(crate) fn run(plan: &Plan) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let daemon = PrivateDaemon::start()?;
    runtime.block_on(async {
        let client = daemon.client().await?;
        client.generate_images(picture(plan, 1)).await?;

        let alone = Batch::begin(&client, plan).await?;
        let alone = alone.ended(&client).await?;
        report("batch alone: one tick of steps", alone.ticks.clone());
        let disturbed = Batch::begin(&client, plan).await?;
        let waits = person(&daemon, plan, &disturbed).await?;
        let disturbed = disturbed.ended(&client).await?;
        report("batch with requests: one tick of steps", disturbed.ticks);

        report("request: arrival to begun", waits.begun);
        report("request: arrival to start of its first step", waits.first_step.clone());
        report("request: arrival to picture", waits.picture);
        let one_step = alone.ticks.iter().max().copied().unwrap_or_default();
        let late = waits.first_step.iter().filter(|wait| **wait > one_step);
        println!(
            "first steps that started later than one tick of the batch ({:.1} ms) after arrival: {} of {}",
            milliseconds(one_step),
            late.count(),
            waits.first_step.len()
        );
        println!(
            "batch: {} pictures in {:.2} s, alone {:.2} s; {} differ from those made alone",
            disturbed.pictures.len(),
            disturbed.took.as_secs_f64(),
            alone.took.as_secs_f64(),
            alone.differences(&disturbed.pictures)
        );
        Ok(())
    })
}

fn picture(plan: &Plan, seed: u64) -> GenerateRequest {
    GenerateRequest {
        width_px: Some(plan.size_px),
        height_px: Some(plan.size_px),
        num_inference_steps: Some(plan.steps),
        seed: Some(seed),
        ..GenerateRequest::new("a red apple")
    }
}

/// A batch that is running.
struct Batch {
    id: String,
    began: Instant,
    /// When its evaluations were announced.
    steps: Arc<Mutex<Vec<Instant>>>,
    watcher: tokio::task::JoinHandle<Result<(), imgd_client::Error>>,
}

/// A batch that has ended.
struct Ended {
    took: Duration,
    /// Times between steps that were made one after another.
    ticks: Vec<Duration>,
    /// SHA-256 of each picture.
    pictures: Vec<String>,
}

impl Batch {
    async fn begin(client: &Client, plan: &Plan) -> Result<Self, Failure> {
        let request = JobRequest {
            generate: GenerateRequest {
                num_images: Some(plan.images),
                priority: Priority::Batch,
                ..picture(plan, 1000)
            },
            ..JobRequest::default()
        };
        let began = Instant::now();
        let id = client.submit(request).await?.job.id;
        let steps = Arc::new(Mutex::new(Vec::new()));
        let (mut watch, noted) = (client.watch(&id, 0).await?, steps.clone());
        let watcher = tokio::spawn(async move {
            while let Some(event) = watch.next().await {
                if let JobEvent::Step(_) = event? {
                    let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    noted.push(Instant::now());
                }
            }
            Ok(())
        });
        Ok(Self {
            id,
            began,
            steps,
            watcher,
        })
    }

    fn is_over(&self) -> bool {
        self.watcher.is_finished()
    }

    async fn ended(self, client: &Client) -> Result<Ended, Failure> {
        self.watcher.await??;
        let took = self.began.elapsed();
        let job = client.job(&self.id).await?;
        if job.state() != JobState::Succeeded {
            return Err(format!("the batch did not succeed: {job:?}").into());
        }
        let images = client.images(&self.id).all().await?;
        let sum = |image: imgd_client::v1::JobImage| image.metadata.unwrap_or_default().sha256;
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Ended {
            took,
            ticks: ticks(&steps),
            pictures: images.into_iter().map(sum).collect(),
        })
    }
}

impl Ended {
    fn differences(&self, others: &[String]) -> usize {
        let pairs = self.pictures.iter().zip(others);
        let missing = self.pictures.len().abs_diff(others.len());
        pairs.filter(|(one, other)| one != other).count() + missing
    }
}

/// Times between groups of announcements: pictures that share a tick are announced together.
fn ticks(steps: &[Instant]) -> Vec<Duration> {
    const TOGETHER: Duration = Duration::from_millis(2);
    let pairs = steps.windows(2).map(|pair| pair[1] - pair[0]);
    pairs.filter(|gap| *gap > TOGETHER).collect()
}

/// How long a person waited for what.
#[derive(Default)]
struct Waits {
    begun: Vec<Duration>,
    first_step: Vec<Duration>,
    picture: Vec<Duration>,
}

/// Asks for pictures at random times, one after another, as long as the batch runs.
async fn person(daemon: &PrivateDaemon, plan: &Plan, batch: &Batch) -> Result<Waits, Failure> {
    let client = daemon.client().await?;
    let mut random = Random::new(plan.seed);
    let pause = Duration::from_millis(50)..Duration::from_millis(1500);
    let mut waits = Waits::default();
    for seed in 0..plan.requests as u64 {
        tokio::time::sleep(random.time(&pause)).await;
        if batch.is_over() {
            break;
        }
        let arrival = Instant::now();
        let mut generation = client.generate(picture(plan, seed)).await?;
        let mut steps = Vec::new();
        while let Some(event) = generation.next().await {
            match event? {
                Event::Started(_) => waits.begun.push(arrival.elapsed()),
                Event::Step(_) => steps.push(arrival.elapsed()),
                Event::Image(_) => waits.picture.push(arrival.elapsed()),
                _ => {}
            }
        }
        // the first step's own time is that of the second, which nobody goes before
        if let [first, second, ..] = steps[..] {
            waits.first_step.push(first.saturating_sub(second - first));
        }
    }
    Ok(waits)
}
