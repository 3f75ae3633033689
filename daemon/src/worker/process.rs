//! The worker's life: `imgd worker` takes calls from its socket, one after another, until the socket closes.

use std::{
    fs::File,
    io,
    os::{fd::AsFd as _, unix::net::UnixStream},
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use imgd_engine::checkpoint::EmbeddedFile;
use imgd_proto::{Failure, Reason};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    EXIT_PANIC,
    backend::Models,
    wire::{Call, Outcome, Reply, Verb, read_message, write_message},
};
use crate::{
    sandbox::{Confined, Role},
    sys,
};

/// What answers calls.
pub(crate) trait Backend {
    /// Answers one call. `progress` may be called from any thread until this returns.
    fn answer(&mut self, verb: Verb, progress: Progress) -> Result<Outcome, Failure>;
}

/// Told the share of a call that is done, 0 to 1.
pub(crate) type Progress = Arc<dyn Fn(f64) + Send + Sync>;

/// `imgd worker`: serves on the socket that is its standard input. `starter` is the model inside the program, empty where it has none;
/// `vae_approx_dir` the folder of tiny autoencoders for previews.
///
/// Run by the spawner alone: started by hand it finds no socket and says so.
pub(crate) fn main(starter: &'static [EmbeddedFile], vae_approx_dir: Option<PathBuf>) -> ExitCode {
    match take_socket() {
        Ok(stream) => {
            harden();
            let confined = Confined::confine(Role::Worker);
            #[cfg(feature = "faults")]
            tracing::warn!("this program was built for tests: prompts can make it fail");
            let models = Models::new(starter).with_vae_approx(vae_approx_dir);
            serve(stream, models.within(confined))
        }
        Err(error) => {
            tracing::error!("the worker is started by the daemon alone: {error}");
            ExitCode::from(2)
        }
    }
}

/// Takes the socket from standard input and puts /dev/null there.
pub(crate) fn take_socket() -> io::Result<UnixStream> {
    let stdin = io::stdin();
    rustix::net::sockopt::socket_type(&stdin)?;
    let stream = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
    // Closed by the end of the process and no earlier: end of file tells the supervisor that the exit status is
    // decided, and that killing changes nothing.
    std::mem::forget(stream.try_clone()?);
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(stream)
}

/// What a worker adds to its score, of 1000 for all memory, by which the kernel chooses what to end when memory runs
/// out: enough to go before any process of the user's with less than half of the memory.
#[cfg(target_os = "linux")]
const OOM_SCORE: i32 = 500;

/// Gives up what a worker does not need. What the system refuses is left as it is: the daemon's status says which
/// layers hold.
pub(crate) fn harden() {
    #[cfg(target_os = "linux")]
    {
        // Dies with the spawner, even in the middle of a computation.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).ok();
        rustix::thread::set_name(c"imgd-worker").ok();
        // When memory runs out, the worker goes and the supervisor stays. Written before the next line, which gives
        // the file to root.
        let path = "/proc/self/oom_score_adj";
        let now = std::fs::read_to_string(path)
            .ok()
            .and_then(|text| text.trim().parse::<i32>().ok())
            .unwrap_or(0);
        std::fs::write(path, (now + OOM_SCORE).min(1000).to_string()).ok();
    }
    // Prompts and weights stay out of core files.
    sys::forbid_core_dumps();
    // A panic's message may quote what it stumbled over, and that may be a prompt: the place alone is told.
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!("defect in the engine at {place}");
    }));
}

/// Answers calls until the supervisor's end closes, or until a panic: the call that met it is answered by the end of
/// the process alone, as any other death is.
pub(crate) fn serve(mut stream: UnixStream, mut backend: impl Backend) -> ExitCode {
    let writer = match stream.try_clone() {
        Ok(writer) => Arc::new(Mutex::new(writer)),
        Err(_) => return ExitCode::FAILURE,
    };
    loop {
        if !is_readable(&stream, REST) {
            imgd_engine::kernels::cpu::release();
        }
        let call: Call = match read_message(&mut stream) {
            Ok(Some(call)) => call,
            Ok(None) => return ExitCode::SUCCESS,
            Err(_) => return ExitCode::FAILURE,
        };
        let Some(reply) = answer(&mut backend, call, &writer) else {
            return ExitCode::from(EXIT_PANIC);
        };
        if send(&writer, &reply).is_err() {
            return ExitCode::FAILURE;
        }
    }
}

/// How long a worker keeps working memory for the next call.
const REST: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// Whether something can be read, or will not change that any more, within `limit`.
fn is_readable(stream: &UnixStream, limit: Timespec) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::IN)];
    // An error shows at the read that follows.
    poll(&mut fds, Some(&limit)).map_or(true, |ready| ready > 0)
}

/// The reply; `None` after a panic, when the backend is not to be asked again.
fn answer(
    backend: &mut impl Backend,
    call: Call,
    writer: &Arc<Mutex<UnixStream>>,
) -> Option<Reply> {
    let Call { id, verb } = call;
    let start = Instant::now();
    let progress = progress(id, Arc::clone(writer));
    let result = panic::catch_unwind(AssertUnwindSafe(|| match verb {
        Some(verb) => backend.answer(verb, progress),
        None => Err(Failure::new(Reason::Internal, "a call without a verb")),
    }));
    let outcome = result
        .ok()?
        .unwrap_or_else(|failure| Outcome::Failed(failure.into()));
    let elapsed_micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    Some(Reply {
        id,
        elapsed_micros,
        outcome: Some(outcome),
    })
}

/// Sends progress at most every 30 ms: a person sees no more, and loading is not to wait for it.
fn progress(id: u64, writer: Arc<Mutex<UnixStream>>) -> Progress {
    let last: Mutex<Option<Instant>> = Mutex::new(None);
    Arc::new(move |fraction| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < Duration::from_millis(30)) {
            return;
        }
        *last = Some(Instant::now());
        // A supervisor that is gone shows at the next read.
        drop(send(
            &writer,
            &Reply {
                id,
                elapsed_micros: 0,
                outcome: Some(Outcome::Progress(fraction)),
            },
        ));
    })
}

fn send(writer: &Mutex<UnixStream>, reply: &Reply) -> io::Result<()> {
    write_message(
        &mut *writer.lock().unwrap_or_else(PoisonError::into_inner),
        reply,
    )
}
