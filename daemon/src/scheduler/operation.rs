//! One call of the engine on its way: what was asked, since when, and what comes back.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use imgd_proto::v1;
use tokio::sync::watch;
use tracing::warn;

use super::{
    hooks::{Next, Which},
    inspection,
};
use crate::{
    engine::{
        Begun, Decoded, Engine, EngineFactory, FileRequest, GenerationId, Loaded, ModelKey,
        Picture, Saved, Stepped,
    },
    failure::{Failure, is_worker_died},
    queue::{Fingerprint, JobId, Tick},
};

/// How long a process that is gone takes to be collected, at most.
const DEATH_PATIENCE: Duration = Duration::from_secs(5);

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
    Stepped(Vec<GenerationId>, Result<Vec<Evaluated>, Failure>),
    Decoded(GenerationId, Result<Decoded, Failure>),
    Finished(GenerationId, Result<Picture, Failure>),
    Saved(GenerationId, Purpose, Result<State, Failure>),
}

/// What one generation of an evaluation came to, with the preview that may follow it.
pub(super) type Evaluated = Result<(Stepped, Option<v1::Preview>), Failure>;

/// What a save is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The generation goes on.
    GoOn,
    /// Its picture waits again.
    Park,
    /// Its picture is held.
    Hold,
}

/// A saved state. That of a generation that does not go on may be missing: it was forgotten all the same.
pub(super) struct State {
    pub(super) saved: Result<Saved, Failure>,
    /// What a held picture looks like.
    pub(super) preview: Option<v1::Preview>,
}

impl Outcome {
    /// The failure that says that the worker is gone, if this is one.
    pub(super) fn death(&self) -> Option<&Failure> {
        let failure = match self {
            Self::WorkerStarted(_) | Self::WorkerEnded | Self::Looked(..) => None,
            Self::Forgot(_, result) | Self::Unloaded(_, result) => result.as_ref().err(),
            Self::Inspected(_, result) => result.as_ref().err(),
            Self::Loaded(_, result) => result.as_ref().err(),
            Self::Begun(_, result) => result.as_ref().err(),
            Self::Stepped(_, result) => result.as_ref().err(),
            Self::Decoded(_, result) => result.as_ref().err(),
            Self::Finished(_, result) => result.as_ref().err(),
            Self::Saved(_, _, result) => result.as_ref().err(),
        };
        failure.filter(|failure| is_worker_died(failure))
    }
}

pub(super) type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A call on its way.
pub(super) struct Operation {
    pub(super) tick: Tick,
    pub(super) since: Instant,
    /// When the engine is taken for hung.
    pub(super) deadline: Instant,
    pub(super) patience: Duration,
    /// The picture that is being begun.
    pub(super) begins: Option<Which>,
    /// How the worker died, as far as the call's answer says.
    death: Option<String>,
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
            begins: None,
            death: None,
            progress: None,
            running,
        }
    }

    /// The call, and its progress.
    pub(super) fn parts(&mut self) -> (&mut Running, &mut Option<watch::Receiver<f64>>) {
        (&mut self.running, &mut self.progress)
    }

    /// Its answer was that the worker is gone: what the process's end has to say is waited for.
    pub(super) fn await_death(&mut self, how: String, now: Instant) {
        self.death = Some(how);
        self.deadline = now + DEATH_PATIENCE;
        self.running = Box::pin(std::future::pending());
    }

    /// Why the worker is to be ended, now that the deadline has passed.
    pub(super) fn overdue(&self) -> String {
        let secs = self.patience.as_secs();
        let silent = || format!("gave no answer for {secs} s and was ended");
        self.death.clone().unwrap_or_else(silent)
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

/// Begins a picture, or restores it where it was saved.
pub(super) fn begin(
    engine: &dyn Engine,
    which: Which,
    key: &ModelKey,
    next: Next,
    now: Instant,
    patience: Duration,
) -> Operation {
    let answer = match next.saved {
        Some(saved) => engine.restore(which.generation, key, saved),
        None => engine.begin(which.generation, key, next.picture),
    };
    let running = Box::pin(async move { Outcome::Begun(which, answer.await) });
    let mut operation = Operation::new(Tick::Begin(which.job), now, patience, running);
    operation.begins = Some(which);
    operation
}

/// One evaluation of several generations, and previews after it of those that want one.
pub(super) fn step(
    engine: &Arc<dyn Engine>,
    generations: Vec<GenerationId>,
    wants_preview: BTreeSet<GenerationId>,
    now: Instant,
    patience: Duration,
) -> Operation {
    let answer = engine.step(&generations);
    let engine = Arc::clone(engine);
    let tick = Tick::Step(generations.clone());
    let running = Box::pin(async move {
        let evaluated = async {
            let mut results = answer.await?.into_iter();
            let mut evaluated = Vec::new();
            for generation in &generations {
                evaluated.push(match results.next() {
                    Some(Ok(step)) if wants_preview.contains(generation) => {
                        Ok((step, preview(&engine, *generation).await?))
                    }
                    Some(Ok(step)) => Ok((step, None)),
                    Some(Err(failure)) if is_worker_died(&failure) => return Err(failure),
                    Some(Err(failure)) => Err(failure),
                    None => Err(no_result()),
                });
            }
            Ok(evaluated)
        };
        let evaluated = evaluated.await;
        Outcome::Stepped(generations, evaluated)
    });
    Operation::new(tick, now, patience, running)
}

pub(super) fn decode(
    engine: &dyn Engine,
    id: GenerationId,
    now: Instant,
    patience: Duration,
) -> Operation {
    let answer = engine.decode(id);
    let running = Box::pin(async move { Outcome::Decoded(id, answer.await) });
    Operation::new(Tick::Decode(id), now, patience, running)
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

/// Saves a generation, and forgets it unless it goes on.
pub(super) fn save(
    engine: &Arc<dyn Engine>,
    id: GenerationId,
    purpose: Purpose,
    now: Instant,
    patience: Duration,
) -> Operation {
    let engine = Arc::clone(engine);
    let tick = match purpose {
        Purpose::GoOn => Tick::Save(id),
        Purpose::Park => Tick::Park(id),
        Purpose::Hold => Tick::Hold(id),
    };
    let running = Box::pin(async move {
        let state = async {
            let saved = alive(engine.save(id).await)?;
            let mut shown = None;
            if purpose == Purpose::Hold {
                shown = preview(&engine, id).await?;
            }
            if purpose != Purpose::GoOn
                && let Err(failure) = alive(engine.forget(id).await)?
            {
                warn!("the worker did not forget a picture: {failure}");
            }
            Ok(State {
                saved,
                preview: shown,
            })
        };
        let state = state.await;
        Outcome::Saved(id, purpose, state)
    });
    Operation::new(tick, now, patience, running)
}

/// A preview; one that cannot be made is missing.
async fn preview(
    engine: &Arc<dyn Engine>,
    id: GenerationId,
) -> Result<Option<v1::Preview>, Failure> {
    let preview = alive(engine.preview(id).await)?;
    Ok(preview
        .inspect_err(|failure| warn!("no preview: {failure}"))
        .ok())
}

/// The result of a call, unless it is that the worker is gone.
fn alive<T>(result: Result<T, Failure>) -> Result<Result<T, Failure>, Failure> {
    match result {
        Err(failure) if is_worker_died(&failure) => Err(failure),
        result => Ok(result),
    }
}

fn no_result() -> Failure {
    Failure::new(
        crate::failure::Reason::Internal,
        "the worker gave no result for a step",
    )
}
