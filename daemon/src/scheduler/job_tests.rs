//! Jobs with a fake engine and a real journal.

mod limits;
mod pictures;
mod recovery;
mod unused;
mod verbs;
mod watching;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use imgd_proto::v1::{self, JobState};
use tokio::{task::JoinHandle, time::sleep};

use super::{Lifetime, Options, Order, Scheduler, Work};
use crate::{
    fake_engine::{FakeFactory, Record, model},
    journal::{Journal, Limits, OpenError},
    keep_alive::KeepAlive,
    submission::Submission,
};

/// More than anything takes that is not stuck, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A scheduler over a folder that outlives it.
struct House {
    scheduler: Scheduler,
    journal: Journal,
    record: Arc<Record>,
    task: JoinHandle<()>,
}

impl House {
    fn open(data: &Path) -> Self {
        Self::with(data, |_| {})
    }

    fn with(data: &Path, change: impl FnOnce(&mut Options)) -> Self {
        let start = Instant::now();
        let (journal, recovered) = loop {
            match Journal::open(data, Limits::default()) {
                Err(OpenError::Busy { .. }) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                opened => break opened.unwrap(),
            }
        };
        let engines = FakeFactory::new(Duration::from_millis(5));
        let record = Arc::clone(&engines.record);
        let mut options = Options {
            engines: Arc::new(engines),
            journal: journal.clone(),
            queue_capacity: 100,
            capacity_per_client: 100,
            keep_alive: KeepAlive::Forever,
            max_memory_bytes: None,
            available_bytes: || 1 << 30,
            background: crate::courtesy::Rules::default(),
            build_id: "build".to_owned(),
            watchdog: None,
            save_interval: Duration::ZERO,
            patience: Duration::from_secs(60),
        };
        change(&mut options);
        let (scheduler, task) = Scheduler::start(options, recovered);
        Self {
            scheduler,
            journal,
            record,
            task,
        }
    }

    /// Ends as a crash does: nothing is finished, nothing is saved.
    async fn crash(self) {
        self.task.abort();
        drop(self.task.await);
        self.scheduler.close().await;
    }

    async fn submit(&self, order: Order) -> v1::Job {
        self.scheduler.submit(order).await.unwrap().job.unwrap()
    }

    /// Waits until the job is as wanted.
    async fn until(&self, id: &str, wanted: impl Fn(&v1::Job) -> bool) -> v1::Job {
        let start = Instant::now();
        loop {
            let job = self.scheduler.job(id).await.unwrap();
            if wanted(&job) {
                return job;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{:?} {:?}",
                job.state(),
                job.problem
            );
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn until_state(&self, id: &str, state: JobState) -> v1::Job {
        self.until(id, |job| job.state() == state).await
    }

    /// The files of the job's pictures; none for one that is not done.
    async fn files(&self, id: &str) -> Vec<Option<String>> {
        let count = self.scheduler.job(id).await.unwrap().image_count;
        let mut files = Vec::new();
        for index in 0..count {
            let picture = self.scheduler.picture(id, index, false).await.ok();
            files.push(picture.map(|(bytes, _)| String::from_utf8(bytes.to_vec()).unwrap()));
        }
        files
    }
}

/// A job that outlives its client.
fn job(prompt: &str, images: u32) -> Order {
    order(request(prompt, images, 3))
}

fn request(prompt: &str, images: u32, steps: u32) -> v1::SubmitJobRequest {
    v1::SubmitJobRequest {
        generate: Some(v1::GenerateRequest {
            prompt: prompt.to_owned(),
            num_inference_steps: Some(steps),
            seed: Some(40),
            num_images: Some(images),
            ..v1::GenerateRequest::default()
        }),
        ..v1::SubmitJobRequest::default()
    }
}

fn order(request: v1::SubmitJobRequest) -> Order {
    let submission = Submission::new(request, || 7);
    Order {
        model: model("m"),
        keep_alive: None,
        priority: submission.priority(),
        request_id: submission.generate().request_id.clone(),
        work: Work::Draw(submission),
        lifetime: Lifetime::Detached,
        is_private: false,
        client: "test".to_owned(),
    }
}

/// The same work, tied to a stream.
fn attached(order: Order, is_private: bool) -> Order {
    Order {
        lifetime: Lifetime::Attached,
        is_private,
        ..order
    }
}

/// Whether any file below the folder has the word in it.
fn holds(directory: &Path, word: &str) -> bool {
    std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .any(|entry| {
            let path = entry.path();
            if path.is_dir() {
                return holds(&path, word);
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            bytes
                .windows(word.len())
                .any(|bytes| bytes == word.as_bytes())
        })
}
