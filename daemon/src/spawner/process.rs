//! The spawner's own life: a single thread that waits for requests and starts, kills and buries workers.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{Program, Reply, Request, Verb};
use crate::{
    sandbox::{Confined, Role},
    sys,
    worker::wire::{read_message, write_message},
};

/// A killed process ends at once unless the kernel holds it, in a driver or on a dead network disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// The forked child: lets go of everything that is the supervisor's, serves, and ends the process.
pub(super) fn main(stream: UnixStream, program: &Program) -> ! {
    let serve = || {
        let_go(&stream)?;
        serve(stream, program, &Confined::confine(Role::Spawner))
    };
    let code = match serve() {
        Ok(()) => 0,
        Err(_) => 1,
    };
    std::process::exit(code)
}

/// Keeps the standard error stream alone: no terminal, no folder, no listening socket, no lock.
fn let_go(stream: &UnixStream) -> io::Result<()> {
    sys::ignore_termination_signals();
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    drop(null);
    sys::close_descriptors_except(stream.as_raw_fd())?;
    std::env::set_current_dir("/")?;
    #[cfg(target_os = "linux")]
    rustix::thread::set_name(c"imgd-spawner")?;
    Ok(())
}

/// Serves until the supervisor's end closes, then ends all workers.
pub(super) fn serve(
    mut stream: UnixStream,
    program: &Program,
    confined: &Confined,
) -> io::Result<()> {
    let mut workers = Workers {
        program,
        children: BTreeMap::new(),
    };
    while let Some(request) = read_message::<Request>(&mut stream)? {
        match request.verb() {
            Verb::Spawn => match workers.spawn(request.worker) {
                Ok((pid, socket)) => {
                    write_message(
                        &mut stream,
                        &Reply {
                            pid,
                            ..Reply::default()
                        },
                    )?;
                    send_descriptor(&stream, &socket)?;
                }
                Err(error) => {
                    let path = program.path.display();
                    write_message(
                        &mut stream,
                        &Reply {
                            error: format!("start `{path}`: {error}"),
                            ..Reply::default()
                        },
                    )?;
                }
            },
            Verb::End => write_message(&mut stream, &workers.end(request.worker))?,
            Verb::Look => write_message(
                &mut stream,
                &Reply {
                    report: Some(confined.look()),
                    ..Reply::default()
                },
            )?,
        }
    }
    Ok(())
}

/// The workers that live. Dropped with the spawner, they are all ended.
struct Workers<'a> {
    program: &'a Program,
    children: BTreeMap<u64, Child>,
}

impl Workers<'_> {
    /// Starts a worker whose standard input is its socket: no descriptor has to be inherited by number. Its standard
    /// output goes nowhere, its standard error where the daemon's goes.
    fn spawn(&mut self, worker: u64) -> io::Result<(u32, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(&self.program.path)
            .arg0("imgd")
            .args(&self.program.arguments)
            .env_clear()
            .envs(self.program.environment.iter().cloned())
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let pid = child.id();
        self.children.insert(worker, child);
        Ok((pid, ours))
    }

    /// Kills a worker that has not ended and waits for it. Killing one that has ended, or is about to, does not
    /// change its status: a process chooses that before its descriptors are closed.
    fn end(&mut self, worker: u64) -> Reply {
        let Some(mut child) = self.children.remove(&worker) else {
            return Reply {
                error: format!("there is no worker {worker}"),
                ..Reply::default()
            };
        };
        match kill(&mut child) {
            Ok(Some(status)) => of(status),
            Ok(None) => {
                self.children.insert(worker, child);
                Reply {
                    error: format!("worker {worker} does not end"),
                    ..Reply::default()
                }
            }
            Err(error) => Reply {
                error: error.to_string(),
                ..Reply::default()
            },
        }
    }
}

impl Drop for Workers<'_> {
    fn drop(&mut self) {
        for child in self.children.values_mut() {
            // One that does not end is the system's to bury: this process ends now.
            drop(kill(child));
        }
    }
}

fn kill(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    child.kill()?;
    let start = Instant::now();
    let mut pause = Duration::from_micros(100);
    while start.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(None)
}

fn of(status: ExitStatus) -> Reply {
    use std::os::unix::process::ExitStatusExt as _;
    Reply {
        code: status.code(),
        signal: status.signal(),
        ..Reply::default()
    }
}

/// Sends one byte that carries a descriptor.
fn send_descriptor(stream: &UnixStream, socket: &UnixStream) -> io::Result<()> {
    let descriptors = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    sendmsg(
        stream,
        &[IoSlice::new(&[0])],
        &mut control,
        SendFlags::empty(),
    )?;
    Ok(())
}
