//! Following a job: its events from a cursor on, and a snapshot wherever some of them are no longer there.

use std::collections::BTreeMap;

use imgd_proto::{
    limits,
    v1::{self, JobState, watch_job_response::Event as Wire},
};
use tokio::{sync::mpsc, time::Instant};
use tonic::{Request, Status};

use super::JobApi;
use crate::{
    events::{Event, Next, Watcher},
    failure::{Failure, draining},
    scheduler::Scheduler,
    services::{
        deadline,
        pump::{self, Closed, Stream},
    },
};

/// Pictures that are asked of the journal at once.
const PAGE: u32 = 200;

/// WatchJob.
pub(super) async fn watch(
    api: &JobApi,
    request: Request<v1::WatchJobRequest>,
) -> Result<Stream<v1::WatchJobResponse>, Failure> {
    let time = deadline::from_headers(request.metadata().as_ref());
    let deadline = time.and_then(|time| Instant::now().checked_add(time));
    let v1::WatchJobRequest { job_id, cursor } = request.into_inner();
    limits::validate_job_id(&job_id)?;
    let (job_id, watcher) = api.scheduler.watch(&job_id, cursor).await?;
    // What a watcher does not take stays in the job's log, not here.
    let (sender, receiver) = mpsc::channel(1);
    let mut line = Line {
        scheduler: api.scheduler.clone(),
        sender,
        job_id,
        known: BTreeMap::new(),
        asked: None,
    };
    tokio::spawn(async move {
        let time_is_over = async {
            match deadline {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        let closed = line.sender.clone();
        let ended = tokio::select! {
            biased;
            () = closed.closed() => return,
            ended = line.follow(watcher) => ended,
            () = time_is_over => Err(End::Failed(deadline::exceeded())),
        };
        if let Err(End::Failed(failure)) = ended {
            pump::end(&closed, &failure).await;
        }
    });
    Ok(Stream::new(receiver))
}

/// Why the stream ends before the job.
enum End {
    /// The client has gone, or takes nothing.
    Closed,
    /// The client is told why.
    Failed(Failure),
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

struct Line {
    scheduler: Scheduler,
    sender: mpsc::Sender<Result<v1::WatchJobResponse, Status>>,
    job_id: String,
    /// What the client was told of pictures.
    known: BTreeMap<u32, v1::ImageState>,
    /// What the job makes: it never changes, and is not in the log.
    asked: Option<v1::GenerateRequest>,
}

impl Line {
    async fn follow(&mut self, watcher: Option<Watcher>) -> Result<(), End> {
        let Some(mut watcher) = watcher else {
            self.catch_up().await?;
            return Ok(());
        };
        loop {
            match watcher.next().await {
                Next::Missed => match self.catch_up().await? {
                    Some(cursor) => watcher.seek(cursor),
                    None => return Ok(()),
                },
                Next::Event(cursor, event) => self.tell(cursor, *event).await?,
                Next::Ended => return Ok(()),
                Next::Draining => return Err(draining().into()),
            }
        }
    }

    /// Tells how the job is, and every picture that the client does not know of. Returns the cursor to go on from;
    /// `None` where the job is over.
    async fn catch_up(&mut self) -> Result<Option<u64>, End> {
        let job = self.scheduler.job(&self.job_id).await?;
        let (cursor, state) = (job.cursor, job.state());
        let count = |state: v1::ImageState| {
            let known = self.known.values().filter(|known| **known == state);
            u32::try_from(known.count()).unwrap_or(u32::MAX)
        };
        let knows_all = job.images_done == count(v1::ImageState::Done)
            && job.images_failed == count(v1::ImageState::Failed)
            && job.images_held == count(v1::ImageState::Held)
            && job.images_dropped == count(v1::ImageState::Dropped);
        self.asked.clone_from(&job.request);
        self.put(cursor, Wire::Snapshot(job)).await?;
        if !knows_all {
            self.tell_pictures(cursor).await?;
        }
        let is_over = matches!(
            state,
            JobState::Succeeded | JobState::Failed | JobState::Cancelled
        );
        Ok((!is_over).then_some(cursor))
    }

    async fn tell_pictures(&mut self, cursor: u64) -> Result<(), End> {
        let mut token = String::new();
        loop {
            let (images, next) = self.scheduler.images(&self.job_id, PAGE, &token).await?;
            for image in images {
                if self.is_news(&image) {
                    self.put(cursor, Wire::Image(image)).await?;
                }
            }
            if next.is_empty() {
                return Ok(());
            }
            token = next;
        }
    }

    async fn tell(&mut self, cursor: u64, event: Event) -> Result<(), End> {
        let wire = match event {
            Event::Changed(job) => {
                if self.asked.is_none() {
                    self.asked = self.scheduler.job(&self.job_id).await?.request;
                }
                let request = self.asked.clone();
                Wire::Changed(v1::Job { request, ..*job })
            }
            Event::Loading(loading) => Wire::Loading(loading),
            Event::Started(started) => Wire::Started(*started),
            Event::Step(step) => Wire::Step(step),
            Event::Image(image) if self.is_news(&image) => Wire::Image(*image),
            Event::Notice(notice) => Wire::Notice(notice),
            // Told already, with a snapshot; or for owners.
            _ => return Ok(()),
        };
        self.put(cursor, wire).await
    }

    /// Whether the client does not know this of the picture. It does from here on.
    fn is_news(&mut self, image: &v1::JobImage) -> bool {
        self.known.insert(image.image_index, image.state()) != Some(image.state())
    }

    async fn put(&self, cursor: u64, event: Wire) -> Result<(), End> {
        let message = v1::WatchJobResponse {
            job_id: self.job_id.clone(),
            cursor,
            event: Some(event),
        };
        Ok(pump::deliver(&self.sender, message).await?)
    }
}
