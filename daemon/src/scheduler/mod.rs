//! One task that owns queue and residency and tells the engine what to do next.
//!
//! What to do is decided by [`crate::queue::pick`]; here it is carried out. The task never waits for the engine: it
//! waits for whatever happens next, so it answers at once, whatever the engine does.

mod actor;
mod admission;
mod background;
mod carry_out;
mod commands;
mod controls;
mod curves;
mod deaths;
mod desk;
mod hooks;
mod images;
mod inspection;
mod jobs;
mod library;
mod models;
mod operation;
mod outcome;
mod pace;
mod papers;
mod planning;
mod records;
mod recovery;
mod saving;
mod status_text;
mod unused;
mod verbs;
mod writing;

use std::{sync::Arc, time::Duration};

use imgd_proto::v1;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
};

use self::papers::Reply;
use crate::{
    courtesy,
    engine::{EngineFactory, Hardening, ModelKey},
    events::{Events, Watcher},
    failure::{Failure, Reason, draining},
    journal::{Journal, Record, Recovered},
    keep_alive::KeepAlive,
    submission::Submission,
};

/// The least time after which a worker that does not answer is ended.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Calls that may wait for the task.
const MAX_COMMANDS: usize = 1024;

/// The scheduler as the services see it.
#[derive(Debug, Clone)]
pub struct Scheduler {
    commands: mpsc::Sender<Command>,
    journal: Journal,
}

/// What the scheduler needs to know from the start.
pub struct Options {
    /// Starts engines.
    pub engines: Arc<dyn EngineFactory>,
    /// Where jobs are written down.
    pub journal: Journal,
    /// Requests that may wait at once.
    pub queue_capacity: usize,
    /// Requests of one client that may wait at once.
    pub capacity_per_client: usize,
    /// How long a model stays when the request does not say.
    pub keep_alive: KeepAlive,
    /// Memory that all models together may take, in bytes.
    pub max_memory_bytes: Option<u64>,
    /// Memory that the system has to give, in bytes.
    pub available_bytes: fn() -> u64,
    /// The least time between two saves of a picture in flight; nothing: after every evaluation.
    pub save_interval: Duration,
    /// When background jobs may run.
    pub background: courtesy::Rules,
    /// Which build this is: what it measures says nothing of others.
    pub build_id: String,
    /// How often the service manager wants to hear that the task is alive.
    pub watchdog: Option<Duration>,
    /// The least time after which an engine that does not answer is ended.
    pub patience: Duration,
}

/// A job to do.
#[derive(Debug)]
pub struct Order {
    /// The model it needs.
    pub model: ModelKey,
    /// What to do with it.
    pub work: Work,
    /// How long the model stays afterwards.
    pub keep_alive: Option<KeepAlive>,
    /// Never unspecified.
    pub priority: v1::Priority,
    /// The client's own name for the request.
    pub request_id: String,
    /// What its life is tied to.
    pub lifetime: Lifetime,
    /// Whether neither prompt nor picture may reach the disk.
    pub is_private: bool,
    /// Who asked.
    pub client: String,
}

/// What to do with a model.
#[derive(Debug)]
pub enum Work {
    /// Only load it.
    Load,
    /// Make pictures.
    Draw(Submission),
}

/// What a job's life is tied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// The stream that asked for it.
    Attached,
    /// Nothing: it outlives every client.
    Detached,
}

/// A job that was accepted.
#[derive(Debug)]
pub struct Receipt {
    /// Its name on the wire.
    pub job_id: String,
    /// What happens to it, where its life is its stream's. Dropping this cancels the job.
    pub events: Option<Events>,
    /// How it is, where clients may know.
    pub job: Option<v1::Job>,
    /// Whether it was there already.
    pub existed: bool,
}

impl Receipt {
    /// What happens to a job whose life is its stream's.
    pub fn own(self) -> Result<(String, Events), Failure> {
        match self.events {
            Some(events) => Ok((self.job_id, events)),
            None => Err(Failure::new(
                Reason::Internal,
                "the job has no stream of its own",
            )),
        }
    }
}

/// What the scheduler says of itself.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Models in memory.
    pub models: Vec<v1::LoadedModel>,
    /// Jobs that wait.
    pub waiting: u32,
    /// Jobs at work.
    pub running: u32,
    /// Jobs that wait for something else than their turn.
    pub paused: u32,
    /// Why the background jobs that wait do not run, in words; empty when they may, and when there are none.
    pub background_blocked: String,
    /// Whether no more work is taken.
    pub is_draining: bool,
    /// The process that computes.
    pub worker_pid: Option<u32>,
    /// Threads it computes with, once it has loaded a model.
    pub worker_threads: Option<u32>,
    /// What it has given up, once it has loaded a model.
    pub worker_hardening: Option<Hardening>,
}

/// How to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Take no more work; finish what runs.
    Drain,
    /// As [`Ending::Drain`], but only if nothing waits or runs.
    IfIdle,
    /// At once.
    Now,
}

#[derive(Debug)]
enum Command {
    Submit {
        order: Box<Order>,
        reply: oneshot::Sender<Result<Receipt, Failure>>,
    },
    /// Nobody answers for a job that is over.
    Do {
        job: String,
        verb: Verb,
        reply: Reply,
    },
    Retry {
        record: Box<Record>,
        reply: Reply,
    },
    Tell {
        jobs: Vec<String>,
        reply: oneshot::Sender<Vec<Option<v1::Job>>>,
    },
    Watch {
        job: String,
        cursor: u64,
        reply: oneshot::Sender<Option<Watcher>>,
    },
    Plan {
        order: Box<Order>,
        reply: planning::PlanReply,
    },
    Describe {
        model: ModelKey,
        reply: oneshot::Sender<Result<v1::Model, Failure>>,
    },
    Unload {
        model: ModelKey,
        reply: oneshot::Sender<bool>,
    },
    Snapshot {
        reply: oneshot::Sender<Snapshot>,
    },
    End {
        ending: Ending,
        reply: oneshot::Sender<Result<(), Failure>>,
    },
    EndIfUnused {
        least: Duration,
        reply: oneshot::Sender<Option<Duration>>,
    },
}

/// What is done to a job that is not over.
#[derive(Debug)]
enum Verb {
    Cancel,
    Pause,
    Resume(Vec<u32>),
    Delete {
        is_forced: bool,
    },
    /// Nothing; answered once what is to be written of a job that came to its end is.
    Await,
}

impl Scheduler {
    /// Starts the task, which takes up what the journal had. It ends after [`Ending::Now`], or when a drain is through.
    pub fn start(options: Options, recovered: Recovered) -> (Self, JoinHandle<()>) {
        let (commands, received) = mpsc::channel(MAX_COMMANDS);
        let journal = options.journal.clone();
        let actor = actor::Actor::new(options, recovered, received, Arc::new(Notify::new()));
        (Self { commands, journal }, tokio::spawn(actor.run()))
    }

    /// Describes a model without loading it.
    pub async fn describe(&self, model: ModelKey) -> Result<v1::Model, Failure> {
        self.ask(|reply| Command::Describe { model, reply }).await?
    }

    /// Frees every copy of a model once no job needs it. Returns whether there was one.
    pub async fn unload(&self, model: ModelKey) -> Result<bool, Failure> {
        self.ask(|reply| Command::Unload { model, reply }).await
    }

    /// Says how things stand.
    pub async fn snapshot(&self) -> Result<Snapshot, Failure> {
        self.ask(|reply| Command::Snapshot { reply }).await
    }

    /// Begins to end; fails with [`crate::failure::Reason::NotIdle`] where [`Ending::IfIdle`] finds work.
    pub async fn end(&self, ending: Ending) -> Result<(), Failure> {
        self.ask(|reply| Command::End { ending, reply }).await?
    }

    /// Begins to end where nothing was to be done and nothing was in memory for `least`; else says how much longer that
    /// takes at the least.
    pub async fn end_if_unused(&self, least: Duration) -> Result<Option<Duration>, Failure> {
        self.ask(|reply| Command::EndIfUnused { least, reply })
            .await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        // The task is gone: the daemon is about to be.
        if self.commands.send(command(reply)).await.is_err() {
            return Err(draining());
        }
        match answer.await {
            Ok(answer) => Ok(answer),
            Err(_) => Err(draining()),
        }
    }
}

#[cfg(test)]
mod job_tests;
#[cfg(test)]
mod tests;
