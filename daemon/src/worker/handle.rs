//! The supervisor's side of a worker: its connection and its end. One method for each verb is in `verbs`.
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

use imgd_proto::{Failure, Reason};
use prost::{Message as _, bytes::Bytes};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
};

use super::{
    ending::{Ending, Observer},
    wire::{self, Call, Outcome, Reply, Verb},
};
use crate::{
    engine::Death,
    spawner::{Exit, Spawned, Spawner},
};

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
    ending: watch::Receiver<Option<Ending>>,
    kill: mpsc::Sender<()>,
    observer: Arc<Observer>,
}

/// Calls that wait for their answers.
#[derive(Debug, Default)]
struct Waiting {
    calls: BTreeMap<u64, Caller>,
    /// How the worker ended; no call can be added any more.
    ending: Option<Ending>,
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
        let (ended, ending) = watch::channel(None);
        let observer = Arc::new(Observer::new());
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        tokio::spawn(write(writer, outbox));
        let attendant = Attendant {
            process,
            waiting: Arc::clone(&waiting),
            observer: Arc::clone(&observer),
            ended,
        };
        tokio::spawn(attendant.attend(reader, killed));
        let inner = Inner {
            pid,
            next_call: AtomicU64::new(0),
            frames,
            waiting,
            ending,
            kill,
            observer,
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
        self.ended().await.exit
    }

    /// Waits until the process has ended, and says how and whose doing it was.
    pub(crate) async fn death(&self) -> Death {
        self.ended().await.death()
    }

    async fn ended(&self) -> Ending {
        let mut ending = self.inner.ending.clone();
        let ending = ending
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|ending| *ending);
        ending.unwrap_or(Ending::UNKNOWN)
    }

    /// Ends the process, whatever it does, and waits for its end.
    pub(crate) async fn kill(&self) -> Exit {
        // Full: it was killed already. Closed: it has ended already.
        self.inner.kill.try_send(()).ok();
        self.exited().await
    }

    /// Asks, and waits for the answer. `expected` takes out the one that fits the question.
    pub(super) async fn ask<T>(
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
            if let Some(ending) = waiting.ending {
                return Err(died(ending));
            }
            waiting.calls.insert(id, Caller { answer, progress });
        }
        self.inner.observer.look();
        // If the writer is gone the worker is, and the reader answers.
        drop(self.inner.frames.send(frame).await);
        let reply = match answered.await {
            Ok(reply) => reply?,
            Err(_) => return Err(died(Ending::UNKNOWN)),
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
fn died(ending: Ending) -> Failure {
    Failure::new(Reason::WorkerDied, format!("the worker {ending} while it worked on this request"))
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

/// Hears a worker out.
struct Attendant {
    process: Option<(Spawner, u64)>,
    waiting: Arc<Mutex<Waiting>>,
    observer: Arc<Observer>,
    ended: watch::Sender<Option<Ending>>,
}

impl Attendant {
    /// Hands replies to their callers until the worker ends or is to end; then makes sure that it has.
    async fn attend(self, mut reader: OwnedReadHalf, mut killed: mpsc::Receiver<()>) {
        let replies = async {
            loop {
                match read(&mut reader).await {
                    Ok(reply) => deliver(&self.waiting, reply),
                    // A worker is only listened to while it makes sense.
                    Err(error) => break error.kind() == io::ErrorKind::InvalidData,
                }
            }
        };
        let was_asked = tokio::select! {
            makes_no_sense = replies => makes_no_sense,
            _ = killed.recv() => true,
        };
        let exit = match self.process {
            Some((spawner, worker)) => spawner.end(worker).await.unwrap_or_else(|error| {
                tracing::error!("end the worker: {error}");
                Exit::UNKNOWN
            }),
            None => Exit::UNKNOWN,
        };
        let ending = self.observer.ending(exit, was_asked);
        let calls = {
            let mut waiting = lock(&self.waiting);
            waiting.ending = Some(ending);
            std::mem::take(&mut waiting.calls)
        };
        // Known before any call fails: who hears of the end by a call can ask for more.
        self.ended.send_replace(Some(ending));
        for caller in calls.into_values() {
            // A caller that has gone wants no answer.
            drop(caller.answer.send(Err(died(ending))));
        }
    }
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
