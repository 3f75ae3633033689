//! One call of the engine on its way: what was asked, since when, and what comes back.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use imgd_proto::v1;
use tokio::sync::watch;

use super::{hooks::Which, inspection};
use crate::{
    engine::{
        Begun, Engine, EngineFactory, FileRequest, GenerationId, Loaded, ModelKey, Picture,
        PictureRequest, Stepped,
    },
    failure::Failure,
    queue::{Fingerprint, JobId, Tick},
};

/// What came back.
pub(super) enum Outcome {
    WorkerStarted(Result<Arc<dyn Engine>, Failure>),
    WorkerEnded,
    Forgot(GenerationId, Result<(), Failure>),
    Inspected(ModelKey, Result<(Fingerprint, v1::Model), Failure>),
    Looked(JobId, Fingerprint),
    Unloaded(ModelKey, Result<(), Failure>),
    Loaded(JobId, Result<Loaded, Failure>),
    Begun(Which, Result<Begun, Failure>),
    Stepped(GenerationId, Result<Evaluation, Failure>),
    Finished(GenerationId, Result<Picture, Failure>),
}

/// An evaluation with the preview that may follow it.
pub(super) struct Evaluation {
    pub(super) step: Stepped,
    pub(super) preview: Option<v1::Preview>,
}

pub(super) type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A call on its way.
pub(super) struct Operation {
    pub(super) tick: Tick,
    pub(super) since: Instant,
    /// When the engine is taken for hung.
    pub(super) deadline: Instant,
    pub(super) patience: Duration,
    /// The share of a load that is done.
    progress: Option<watch::Receiver<f64>>,
    running: Running,
}

impl Operation {
    fn new(tick: Tick, now: Instant, patience: Duration, running: Running) -> Self {
        Self {
            tick,
            since: now,
            deadline: now + patience,
            patience,
            progress: None,
            running,
        }
    }

    /// The call, and its progress.
    pub(super) fn parts(&mut self) -> (&mut Running, &mut Option<watch::Receiver<f64>>) {
        (&mut self.running, &mut self.progress)
    }

    /// The engine showed that it lives.
    pub(super) fn is_alive(&mut self, now: Instant) {
        self.deadline = now + self.patience;
    }
}

/// Waits until more is loaded; for ever where nothing is.
pub(super) async fn progressed(progress: &mut Option<watch::Receiver<f64>>) -> f64 {
    if let Some(progress) = progress
        && progress.changed().await.is_ok()
    {
        return *progress.borrow_and_update();
    }
    std::future::pending().await
}

pub(super) fn start_worker(
    engines: &dyn EngineFactory,
    now: Instant,
    patience: Duration,
) -> Operation {
    let answer = engines.start();
    Operation::new(
        Tick::StartWorker,
        now,
        patience,
        Box::pin(async move { Outcome::WorkerStarted(answer.await) }),
    )
}

pub(super) fn end_worker(engine: &dyn Engine, now: Instant, patience: Duration) -> Operation {
    let ended = engine.end();
    Operation::new(
        Tick::EndWorker,
        now,
        patience,
        Box::pin(async move {
            ended.await;
            Outcome::WorkerEnded
        }),
    )
}

pub(super) fn forget(
    engine: &dyn Engine,
    id: GenerationId,
    now: Instant,
    patience: Duration,
) -> Operation {
    let answer = engine.forget(id);
    let running = Box::pin(async move { Outcome::Forgot(id, answer.await) });
    Operation::new(Tick::Forget(id), now, patience, running)
}

/// Describes a model, with the state its files were in before.
pub(super) fn inspect(
    engine: &Arc<dyn Engine>,
    key: ModelKey,
    now: Instant,
    patience: Duration,
) -> Operation {
    let tick = Tick::Inspect(key.clone());
    let engine = Arc::clone(engine);
    Operation::new(
        tick,
        now,
        patience,
        Box::pin(async move {
            let fingerprint = inspection::look(key.place.clone()).await;
            let model = engine.inspect(&key).await;
            Outcome::Inspected(key, model.map(|model| (fingerprint, model)))
        }),
    )
}

pub(super) fn look(job: JobId, key: &ModelKey, now: Instant, patience: Duration) -> Operation {
    let place = key.place.clone();
    let running = Box::pin(async move { Outcome::Looked(job, inspection::look(place).await) });
    Operation::new(Tick::Look(job), now, patience, running)
}

pub(super) fn unload(
    engine: &dyn Engine,
    key: ModelKey,
    now: Instant,
    patience: Duration,
) -> Operation {
    let answer = engine.unload(&key);
    let tick = Tick::Unload(key.clone());
    Operation::new(
        tick,
        now,
        patience,
        Box::pin(async move { Outcome::Unloaded(key, answer.await) }),
    )
}

pub(super) fn load(
    engine: &dyn Engine,
    job: JobId,
    key: &ModelKey,
    now: Instant,
    patience: Duration,
) -> Operation {
    let (sender, progress) = watch::channel(0.0);
    let answer = engine.load(key, sender);
    let running = Box::pin(async move { Outcome::Loaded(job, answer.await) });
    let mut operation = Operation::new(Tick::Load(job), now, patience, running);
    operation.progress = Some(progress);
    operation
}

pub(super) fn begin(
    engine: &dyn Engine,
    which: Which,
    key: &ModelKey,
    picture: PictureRequest,
    now: Instant,
    patience: Duration,
) -> Operation {
    let answer = engine.begin(which.generation, key, picture);
    let running = Box::pin(async move { Outcome::Begun(which, answer.await) });
    Operation::new(Tick::Begin(which.job), now, patience, running)
}

/// One evaluation, and a preview after it where one is wanted.
pub(super) fn step(
    engine: &Arc<dyn Engine>,
    id: GenerationId,
    wants_preview: bool,
    now: Instant,
    patience: Duration,
) -> Operation {
    let answer = engine.step(&[id]);
    let engine = Arc::clone(engine);
    Operation::new(
        Tick::Step(vec![id]),
        now,
        patience,
        Box::pin(async move {
            let evaluated = async {
                let step = answer.await?.pop().unwrap_or_else(|| Err(no_result()))?;
                let preview = if wants_preview {
                    Some(engine.preview(id).await?)
                } else {
                    None
                };
                Ok(Evaluation { step, preview })
            };
            Outcome::Stepped(id, evaluated.await)
        }),
    )
}

pub(super) fn finish(
    engine: &dyn Engine,
    id: GenerationId,
    file: FileRequest,
    now: Instant,
    patience: Duration,
) -> Operation {
    let answer = engine.finish(id, file);
    let running = Box::pin(async move { Outcome::Finished(id, answer.await) });
    Operation::new(Tick::Finish(id), now, patience, running)
}

fn no_result() -> Failure {
    Failure::new(
        crate::failure::Reason::Internal,
        "the worker gave no result for a step",
    )
}
