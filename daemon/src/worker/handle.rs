//! The supervisor's side of a worker: one async method for each verb.
//!
//! One task writes calls, one reads replies and, when the worker ends, learns how and fails every call that waits with
//! [`Reason::WorkerDied`]. Dropping the last clone ends the process.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use imgd_proto::{Failure, Reason, v1};
use prost::{Message as _, bytes::Bytes};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
};

use super::wire::{
    self, Call, Empty, Finish, Finished, Generations, Loaded, ModelKey, Outcome, Reply, Restore,
    Start, Started, Stats, Stepped, Verb,
};
use crate::spawner::{Exit, Spawned, Spawner};

/// An answer and the time it took in the worker.
#[derive(Debug)]
pub(crate) struct Timed<T> {
    /// The answer.
    pub(crate) value: T,
    /// Time in the worker, waiting not included.
    pub(crate) took: Duration,
}

/// A worker process. Clones are the same worker.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pid: u32,
    next_call: AtomicU64,
    frames: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
    exit: watch::Receiver<Option<Exit>>,
    kill: mpsc::Sender<()>,
}

/// Calls that wait for their answers.
#[derive(Debug, Default)]
struct Waiting {
    calls: BTreeMap<u64, Caller>,
    /// How the worker ended; no call can be added any more.
    exit: Option<Exit>,
}

#[derive(Debug)]
struct Caller {
    answer: oneshot::Sender<Result<Reply, Failure>>,
    progress: Option<watch::Sender<f64>>,
}

impl Worker {
    /// Starts a worker process.
    pub(crate) async fn spawn(spawner: &Spawner) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::new(Reason::Internal, format!("start the worker: {error}"))
                .with_hint("start the daemon again: `imgctl shutdown`, then any command")
        };
        let Spawned {
            worker,
            pid,
            stream,
        } = spawner.spawn().await.map_err(failed)?;
        let ended = Some((spawner.clone(), worker));
        Self::over(stream, pid, ended).map_err(failed)
    }

    /// A worker at the other end of a socket. `process` names it to the spawner that can end it; a worker without one
    /// is a thread of a test.
    pub(crate) fn over(
        stream: std::os::unix::net::UnixStream,
        pid: u32,
        process: Option<(Spawner, u64)>,
    ) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        let (frames, outbox) = mpsc::channel(16);
        let (kill, killed) = mpsc::channel(1);
        let (ended, exit) = watch::channel(None);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        tokio::spawn(write(writer, outbox));
        tokio::spawn(attend(reader, killed, process, Arc::clone(&waiting), ended));
        let inner = Inner {
            pid,
            next_call: AtomicU64::new(0),
            frames,
            waiting,
            exit,
            kill,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.inner.pid
    }

    /// Waits until the process has ended, and says how.
    pub(crate) async fn exited(&self) -> Exit {
        let mut exit = self.inner.exit.clone();
        let exit = exit
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|exit| *exit);
        exit.unwrap_or(Exit::UNKNOWN)
    }

    /// Ends the process, whatever it does, and waits for its end.
    pub(crate) async fn kill(&self) -> Exit {
        // Full: it was killed already. Closed: it has ended already.
        self.inner.kill.try_send(()).ok();
        self.exited().await
    }

    /// Loads a model. `progress` follows the share that is read.
    pub(crate) async fn load(
        &self,
        model: ModelKey,
        progress: watch::Sender<f64>,
    ) -> Result<Timed<Loaded>, Failure> {
        self.ask(Verb::Load(model), Some(progress), |outcome| match outcome {
            Outcome::Loaded(loaded) => Some(loaded),
            _ => None,
        })
        .await
    }

    /// Describes a model from its configuration and headers.
    pub(crate) async fn inspect(&self, model: ModelKey) -> Result<Timed<v1::Model>, Failure> {
        self.ask(Verb::Inspect(model), None, |outcome| match outcome {
            Outcome::Inspected(model) => Some(model),
            _ => None,
        })
        .await
    }

    /// Begins a picture.
    pub(crate) async fn start(&self, start: Start) -> Result<Timed<Started>, Failure> {
        self.ask(Verb::Start(start), None, |outcome| match outcome {
            Outcome::Started(started) => Some(started),
            _ => None,
        })
        .await
    }

    /// One network evaluation for each of the generations; one result for each, in order.
    pub(crate) async fn step(&self, ids: Vec<u64>) -> Result<Timed<Stepped>, Failure> {
        let count = ids.len();
        self.ask(
            Verb::Step(Generations { ids }),
            None,
            |outcome| match outcome {
                Outcome::Stepped(stepped) if stepped.results.len() == count => Some(stepped),
                _ => None,
            },
        )
        .await
    }

    /// A small picture of a generation's state.
    pub(crate) async fn preview(&self, generation: u64) -> Result<Timed<v1::Preview>, Failure> {
        self.ask(Verb::Preview(generation), None, |outcome| match outcome {
            Outcome::Previewed(preview) => Some(preview),
            _ => None,
        })
        .await
    }

    /// Makes the picture's file and forgets the generation.
    pub(crate) async fn finish(&self, finish: Finish) -> Result<Timed<Finished>, Failure> {
        self.ask(Verb::Finish(finish), None, |outcome| match outcome {
            Outcome::Finished(finished) => Some(finished),
            _ => None,
        })
        .await
    }

    /// A generation's state as bytes.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "durable jobs will save and restore")
    )]
    pub(crate) async fn save(&self, generation: u64) -> Result<Timed<Bytes>, Failure> {
        self.ask(Verb::Save(generation), None, |outcome| match outcome {
            Outcome::Saved(bytes) => Some(bytes),
            _ => None,
        })
        .await
    }

    /// Goes on with a saved generation.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "durable jobs will save and restore")
    )]
    pub(crate) async fn restore(&self, restore: Restore) -> Result<Timed<Started>, Failure> {
        self.ask(Verb::Restore(restore), None, |outcome| match outcome {
            Outcome::Started(started) => Some(started),
            _ => None,
        })
        .await
    }

    /// Forgets a generation.
    pub(crate) async fn drop_generation(&self, generation: u64) -> Result<Timed<()>, Failure> {
        self.ask(Verb::Drop(generation), None, |outcome| match outcome {
            Outcome::Done(Empty {}) => Some(()),
            _ => None,
        })
        .await
    }

    /// Frees a model.
    pub(crate) async fn unload(&self, model: ModelKey) -> Result<Timed<()>, Failure> {
        self.ask(Verb::Unload(model), None, |outcome| match outcome {
            Outcome::Done(Empty {}) => Some(()),
            _ => None,
        })
        .await
    }

    /// What it holds.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests' view into a worker"))]
    pub(crate) async fn stats(&self) -> Result<Timed<Stats>, Failure> {
        self.ask(Verb::Stats(Empty {}), None, |outcome| match outcome {
            Outcome::Stats(stats) => Some(stats),
            _ => None,
        })
        .await
    }

    async fn ask<T>(
        &self,
        verb: Verb,
        progress: Option<watch::Sender<f64>>,
        expected: impl FnOnce(Outcome) -> Option<T>,
    ) -> Result<Timed<T>, Failure> {
        let internal = |message: &str| Failure::new(Reason::Internal, message);
        let id = self.inner.next_call.fetch_add(1, Ordering::Relaxed);
        let frame = wire::frame(&Call {
            id,
            verb: Some(verb),
        })
        .map_err(|error| internal(&error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = lock(&self.inner.waiting);
            if let Some(exit) = waiting.exit {
                return Err(died(exit));
            }
            waiting.calls.insert(id, Caller { answer, progress });
        }
        // If the writer is gone the worker is, and the reader answers.
        drop(self.inner.frames.send(frame).await);
        let reply = match answered.await {
            Ok(reply) => reply?,
            Err(_) => return Err(died(Exit::UNKNOWN)),
        };
        let took = Duration::from_micros(reply.elapsed_micros);
        match reply.outcome {
            Some(Outcome::Failed(failed)) => Err(failed.into()),
            Some(outcome) => match expected(outcome) {
                Some(value) => Ok(Timed { value, took }),
                None => Err(internal("the worker gave the answer to another question")),
            },
            None => Err(internal("the worker gave an empty answer")),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Full or closed: it ends already.
        self.kill.try_send(()).ok();
    }
}

/// What every call gets that waits for a worker that has ended.
fn died(exit: Exit) -> Failure {
    Failure::new(Reason::WorkerDied, format!("the worker {exit} while it worked on this request"))
        .with_hint("try again: the daemon starts another worker; if it happens again, look at the daemon's log")
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(mut writer: OwnedWriteHalf, mut outbox: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = outbox.recv().await {
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Hands replies to their callers until the worker ends or is to end; then makes sure that it has.
async fn attend(
    mut reader: OwnedReadHalf,
    mut killed: mpsc::Receiver<()>,
    process: Option<(Spawner, u64)>,
    waiting: Arc<Mutex<Waiting>>,
    ended: watch::Sender<Option<Exit>>,
) {
    let replies = async {
        // End of file, a broken message, a reply to nothing: a worker is only listened to while it makes sense.
        while let Ok(reply) = read(&mut reader).await {
            deliver(&waiting, reply);
        }
    };
    tokio::select! {
        () = replies => {}
        _ = killed.recv() => {}
    }
    let exit = match process {
        Some((spawner, worker)) => spawner.end(worker).await.unwrap_or_else(|error| {
            tracing::error!("end the worker: {error}");
            Exit::UNKNOWN
        }),
        None => Exit::UNKNOWN,
    };
    let calls = {
        let mut waiting = lock(&waiting);
        waiting.exit = Some(exit);
        std::mem::take(&mut waiting.calls)
    };
    for caller in calls.into_values() {
        // A caller that has gone wants no answer.
        drop(caller.answer.send(Err(died(exit))));
    }
    ended.send_replace(Some(exit));
}

fn deliver(waiting: &Mutex<Waiting>, reply: Reply) {
    let mut waiting = lock(waiting);
    if let Some(Outcome::Progress(fraction)) = reply.outcome {
        if let Some(progress) = waiting
            .calls
            .get(&reply.id)
            .and_then(|caller| caller.progress.as_ref())
        {
            progress.send_replace(fraction);
        }
    } else if let Some(caller) = waiting.calls.remove(&reply.id) {
        // A caller that has gone wants no answer.
        drop(caller.answer.send(Ok(reply)));
    }
}

async fn read(reader: &mut OwnedReadHalf) -> io::Result<Reply> {
    let mut prefix = [0; 4];
    reader.read_exact(&mut prefix).await?;
    let length = wire::checked_length(prefix)?;
    let mut bytes = Vec::new();
    if reader.take(length.into()).read_to_end(&mut bytes).await? as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Reply::decode(Bytes::from(bytes))?)
}
