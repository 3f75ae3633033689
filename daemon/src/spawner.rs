//! The only process that executes programs, and the supervisor's link to it.
//!
//! A process with threads, or in a sandbox, can neither fork nor execute safely. So `imgd` forks the spawner before it
//! has either, and asks it for workers over a socketpair. The spawner knows one program: its own. What it does is in
//! [`process`]; this file is the supervisor's side.
//!
//! Nobody watches the workers but the supervisor: a worker's end shows as end of file on its socket, and then (or to
//! kill it) the supervisor asks the spawner to end it, which gives the exit status. So the spawner needs no signal
//! handler and no timer: it waits for a request, and end of file from the supervisor ends it with all its workers.

mod exit;
mod process;

use std::{
    ffi::OsString,
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::exit::Exit;
use crate::{
    sandbox::Report,
    sys::{self, Forked},
    worker::wire::{read_message, write_message},
};

/// Variables of the environment that a worker may see. Everything else, tokens and proxies above all, ends here.
pub(crate) const ENVIRONMENT: &[&str] = &[
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "NO_COLOR",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "TMPDIR",
    "TZ",
];

/// Read by rayon and by candle's matrix products, which have no other setting.
pub(crate) const THREADS: &str = "RAYON_NUM_THREADS";

/// What the spawner executes.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The file.
    pub(crate) path: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Its whole environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

impl Program {
    /// `imgd worker`: this program as it was when it started, even if its file is replaced meanwhile (Linux).
    ///
    /// Of `environment`, what [`ENVIRONMENT`] lists is kept. `threads` is how many the engine computes with, by
    /// default one a physical core: hyper-threads share the units that inference keeps busy. `vae_approx_dir`: where tiny
    /// autoencoders lie that make previews.
    pub(crate) fn worker(
        environment: impl Iterator<Item = (OsString, OsString)>,
        threads: Option<u32>,
        vae_approx_dir: &Path,
    ) -> io::Result<Self> {
        let path = if cfg!(target_os = "linux") {
            "/proc/self/exe".into()
        } else {
            std::env::current_exe()?
        };
        let allowed = |name: &OsString| ENVIRONMENT.iter().any(|allowed| name == allowed);
        let mut environment: Vec<_> = environment.filter(|(name, _)| allowed(name)).collect();
        let threads = threads.unwrap_or_else(default_threads).to_string();
        environment.push((THREADS.into(), threads.into()));
        Ok(Self {
            path,
            arguments: vec![
                "worker".into(),
                "--vae-approx-dir".into(),
                vae_approx_dir.into(),
            ],
            environment,
        })
    }
}

/// Threads to compute with: physical cores, no more than this process may use at once.
pub(crate) fn default_threads() -> u32 {
    let available = thread::available_parallelism().map_or(1, usize::from);
    let cores = sys::physical_cores().unwrap_or(available).min(available);
    u32::try_from(cores).unwrap_or(1)
}

#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(uint64, tag = "1")]
    worker: u64,
    #[prost(enumeration = "Verb", tag = "2")]
    verb: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
enum Verb {
    /// Starts a worker. Answered by its process id, then one byte that carries its socket.
    Spawn = 0,
    /// Kills a worker unless it has ended already. Answered by its exit status.
    End = 1,
    /// Tries what the spawner's sandbox forbids. Answered by what it found.
    Look = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Reply {
    /// Why it could not be done; empty when it was.
    #[prost(string, tag = "1")]
    error: String,
    #[prost(uint32, tag = "2")]
    pid: u32,
    #[prost(int32, optional, tag = "3")]
    code: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    signal: Option<i32>,
    #[prost(message, optional, tag = "5")]
    report: Option<Report>,
}

/// A spawner that runs, before the supervisor has threads.
#[derive(Debug)]
pub(crate) struct Spawning {
    stream: UnixStream,
    pid: Option<rustix::process::Pid>,
}

/// Forks the spawner. Call it before anything starts a thread; it returns in the supervisor alone.
pub(crate) fn fork(program: &Program) -> io::Result<Spawning> {
    let (ours, theirs) = UnixStream::pair()?;
    match sys::fork()? {
        Forked::Parent(pid) => Ok(Spawning {
            stream: ours,
            pid: Some(pid),
        }),
        Forked::Child => process::main(theirs, program),
    }
}

/// A worker that was started.
#[derive(Debug)]
pub(crate) struct Spawned {
    /// Names it to the spawner.
    pub(crate) worker: u64,
    /// Its process id.
    pub(crate) pid: u32,
    /// The other end of its socket.
    pub(crate) stream: UnixStream,
}

/// The supervisor's link to the spawner: one thread that asks and waits. Clones share it; when the last is gone the
/// spawner ends with all its workers.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Spawn(oneshot::Sender<io::Result<Spawned>>),
    End(u64, oneshot::Sender<io::Result<Exit>>),
    Look(oneshot::Sender<io::Result<Report>>),
}

impl Spawner {
    /// Takes the link over into a thread of its own.
    pub(crate) fn start(spawning: Spawning) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel(16);
        thread::Builder::new()
            .name("spawner-link".into())
            .spawn(move || Link { spawning, count: 0 }.run(inbox))?;
        Ok(Self { orders })
    }

    /// Starts a worker. If nobody waits for the answer any more, it is ended again.
    pub(crate) async fn spawn(&self) -> io::Result<Spawned> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Spawn(answer)).await?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Kills a worker unless it has ended, and says how it ended.
    pub(crate) async fn end(&self, worker: u64) -> io::Result<Exit> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::End(worker, answer)).await?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Has it try what its sandbox forbids.
    pub(crate) async fn look(&self) -> io::Result<Report> {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Look(answer)).await?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn order(&self, order: Order) -> io::Result<()> {
        self.orders
            .send(order)
            .await
            .map_err(|mpsc::error::SendError(_)| gone())
    }
}

fn gone() -> io::Error {
    io::Error::new(
        io::ErrorKind::BrokenPipe,
        "the spawner process is gone: the daemon must be started again",
    )
}

/// The thread's state.
struct Link {
    spawning: Spawning,
    count: u64,
}

impl Link {
    fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        while let Some(order) = inbox.blocking_recv() {
            match order {
                Order::Spawn(answer) => {
                    if let Err(Ok(unwanted)) = answer.send(self.spawn()) {
                        drop(self.end(unwanted.worker));
                    }
                }
                // Ended is ended, whether or not anyone still wants to know how.
                Order::End(worker, answer) => drop(answer.send(self.end(worker))),
                // Who asked may have lost patience.
                Order::Look(answer) => drop(answer.send(self.look())),
            }
        }
        let Self {
            spawning: Spawning { stream, pid },
            ..
        } = self;
        drop(stream);
        if let Some(pid) = pid {
            // It ends at once; without this it would stay as a zombie.
            rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).ok();
        }
    }

    fn ask(&mut self, worker: u64, verb: Verb) -> io::Result<Reply> {
        let stream = &mut self.spawning.stream;
        write_message(
            stream,
            &Request {
                worker,
                verb: verb.into(),
            },
        )?;
        let reply: Reply = read_message(stream)?.ok_or_else(gone)?;
        if reply.error.is_empty() {
            Ok(reply)
        } else {
            Err(io::Error::other(reply.error))
        }
    }

    fn spawn(&mut self) -> io::Result<Spawned> {
        self.count += 1;
        let worker = self.count;
        let pid = self.ask(worker, Verb::Spawn)?.pid;
        let stream = UnixStream::from(receive_descriptor(&self.spawning.stream)?);
        Ok(Spawned {
            worker,
            pid,
            stream,
        })
    }

    fn look(&mut self) -> io::Result<Report> {
        let report = self.ask(0, Verb::Look)?.report;
        report.ok_or_else(|| io::Error::other("the spawner says nothing of its sandbox"))
    }

    fn end(&mut self, worker: u64) -> io::Result<Exit> {
        let reply = self.ask(worker, Verb::End)?;
        Ok(Exit {
            code: reply.code,
            signal: reply.signal,
        })
    }
}

/// Receives the one byte that carries a descriptor.
fn receive_descriptor(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::empty(),
    )?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match descriptor {
        Some(descriptor) if received.bytes == 1 => {
            // Not by a flag of recvmsg, which macOS lacks; this process executes nothing meanwhile or ever.
            fcntl_setfd(&descriptor, FdFlags::CLOEXEC)?;
            Ok(descriptor)
        }
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the spawner sent no descriptor",
        )),
    }
}

#[cfg(test)]
pub(crate) mod tests;
