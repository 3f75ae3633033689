//! What the writer is told, and how much of it at once.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use imgd_proto::errors::Failure;
use tokio::sync::oneshot;

use super::{change::Change, record::Record};

/// Changes that share a transaction, and their bytes: the first of them waits for the last.
const MAX_GROUP: usize = 256;
const MAX_GROUP_BYTES: usize = 16 << 20;

/// How long old jobs may stay beyond their time while nothing is written.
const TIDY: Duration = Duration::from_secs(600);

/// What the thread is told.
pub(super) enum Command {
    /// Write this.
    Change(Box<Change>, Reply),
    /// End.
    Close(oneshot::Sender<Result<(), Failure>>),
}

/// Where the answer goes: the job that was there in place of a new one.
pub(super) type Reply = oneshot::Sender<Result<Option<Record>, Failure>>;

/// Changes with their answers, and the end if it comes behind them.
pub(super) type Group = (
    Vec<(Change, Reply)>,
    Option<oneshot::Sender<Result<(), Failure>>>,
);

/// Waits for a change, and takes those that wait behind it.
pub(super) fn next_group(
    commands: &Receiver<Command>,
    is_untidy: bool,
) -> Result<Group, RecvTimeoutError> {
    let (mut group, mut weight) = (Vec::new(), 0);
    let mut next = if is_untidy {
        // What is untidy is tidied as soon as nothing waits.
        at_once(commands)
    } else {
        commands.recv_timeout(TIDY)
    };
    loop {
        match next {
            Ok(Command::Change(change, reply)) => {
                weight += change.weight();
                group.push((*change, reply));
            }
            Ok(Command::Close(reply)) => return Ok((group, Some(reply))),
            Err(_) if !group.is_empty() => return Ok((group, None)),
            Err(error) => return Err(error),
        }
        if group.len() >= MAX_GROUP || weight >= MAX_GROUP_BYTES {
            return Ok((group, None));
        }
        next = at_once(commands);
    }
}

/// What waits already. That nobody is left is noticed by the next wait.
fn at_once(commands: &Receiver<Command>) -> Result<Command, RecvTimeoutError> {
    commands.try_recv().or(Err(RecvTimeoutError::Timeout))
}
