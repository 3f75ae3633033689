//! The thread that writes: it owns the database, and puts all that waits into one transaction.
//!
//! A commit costs a wait for the disk, whatever is in it: ten thousand submissions at once are a few dozen commits.
//! Nothing is answered before it is on the disk.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use imgd_proto::errors::Failure;
use rusqlite::{Connection, TransactionBehavior};

use super::{
    change::{Applied, Change},
    error::Error,
    group::{Command, Reply, next_group},
    library::Library,
    place::Place,
    reader::Questions,
    record::Record,
    reserve::Reserve,
    retention::Retention,
    rows,
};

/// How long the removal of old jobs may be put off by work that comes in.
const TIDY_UNDER_LOAD: Duration = Duration::from_secs(1);

/// What the thread owns.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) library: Arc<Library>,
    pub(super) retention: Retention,
    pub(super) questions: Questions,
    pub(super) reader: JoinHandle<()>,
    pub(super) place: Place,
    pub(super) reserve: Reserve,
    /// Whether the log holds what was deleted.
    pub(super) is_log_due: bool,
}

impl Writer {
    /// Writes until it is closed, or nobody is left who could say anything.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        let mut tidied = Instant::now();
        // The limits may be others than before.
        let mut is_untidy = true;
        let close = loop {
            let (group, close) = match next_group(commands, is_untidy) {
                Ok(group) => group,
                Err(RecvTimeoutError::Timeout) => (Vec::new(), None),
                Err(RecvTimeoutError::Disconnected) => break None,
            };
            let is_idle = group.is_empty();
            is_untidy |= group
                .iter()
                .any(|(change, _)| change.ends_job() || change.is_delete());
            self.commit(group);
            if close.is_some() {
                break close;
            }
            if is_idle || is_untidy && tidied.elapsed() > TIDY_UNDER_LOAD {
                is_untidy = self.tidy();
                tidied = Instant::now();
            }
        };
        let closed = self.close();
        if let Some(reply) = close {
            // Who asked may have gone.
            drop(reply.send(closed));
        }
    }

    /// Writes changes and answers each.
    fn commit(&mut self, group: Vec<(Change, Reply)>) {
        // Files before rows: a row says that its file is on the disk.
        let mut changes = Vec::with_capacity(group.len());
        let mut replies = Vec::with_capacity(group.len());
        for (change, reply) in group {
            match self.put_file(&change) {
                Ok(()) => {
                    changes.push(change);
                    replies.push(reply);
                }
                Err(error) => self.answer(reply, Err(error)),
            }
        }
        if changes.is_empty() {
            return;
        }
        let written = self.write_group(&changes);
        let mut unneeded = Vec::new();
        let mut deletes = Vec::new();
        for ((change, reply), result) in changes.iter().zip(replies).zip(written) {
            match (&result, change) {
                (Ok(applied), _) => unneeded.extend(applied.unneeded.iter().copied()),
                (Err(_), Change::Finish(.., arrived)) => unneeded.push(arrived.blob()),
                _ => {}
            }
            if change.is_delete() && result.is_ok() {
                deletes.push(reply);
            } else {
                self.answer(reply, result.map(|applied| applied.existing));
            }
        }
        let mut erased = self.remove_files(&unneeded);
        if !deletes.is_empty() {
            erased = erased.and(self.erase());
        }
        let erased = erased.map_err(|error| error.into_failure(&self.place.directory));
        if let Err(failure) = &erased {
            tracing::warn!("what is deleted is not all gone yet: {failure}");
        }
        for reply in deletes {
            drop(reply.send(erased.clone().map(|()| None)));
        }
    }

    fn put_file(&self, change: &Change) -> Result<(), Error> {
        let Change::Finish(.., arrived) = change else {
            return Ok(());
        };
        let (image, blob) = (&arrived.image, arrived.blob());
        let put = self.library.put(&blob, &image.bytes, &image.thumbnail);
        put.inspect_err(|_| {
            // Half of the pair may be there.
            if let Err(error) = self.remove_files(&[blob]) {
                tracing::warn!("{}", error.into_failure(&self.place.directory));
            }
        })
    }

    /// Writes changes together, or each by itself where one of them cannot be written: that shows which.
    fn write_group(&mut self, changes: &[Change]) -> Vec<Result<Applied, Error>> {
        if changes.len() > 1
            && let Ok(applied) = self.write(changes)
        {
            return applied.into_iter().map(Ok).collect();
        }
        changes
            .chunks(1)
            .map(|change| {
                let mut written = self.write(change);
                let is_delete = change.iter().all(Change::is_delete);
                if is_delete && written.as_ref().is_err_and(|error| self.is_full(error)) {
                    self.reserve.spend();
                    written = self.write(change);
                }
                written.map(|mut applied| applied.remove(0))
            })
            .collect()
    }

    /// Whether it is for want of room that something was not done.
    pub(super) fn is_full(&self, error: &Error) -> bool {
        error.is_full(&self.place.directory)
    }

    /// Writes changes in one transaction: all of them or none.
    fn write(&mut self, changes: &[Change]) -> Result<Vec<Applied>, Error> {
        let now = rows::micros(SystemTime::now());
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let applied = changes
            .iter()
            .map(|change| change.apply(&transaction, now))
            .collect::<Result<_, _>>()?;
        transaction.commit()?;
        Ok(applied)
    }

    fn answer(&self, reply: Reply, result: Result<Option<Record>, Error>) {
        let result = result.map_err(|error| error.into_failure(&self.place.directory));
        // Who asked may have gone; what is written stays written.
        drop(reply.send(result));
    }

    /// Closes the database, so that nothing but the database is left.
    fn close(self) -> Result<(), Failure> {
        self.questions.end();
        if self.reader.join().is_err() {
            tracing::error!("defect in the journal's reader");
        }
        let closed = self.connection.close();
        closed.map_err(|(_, error)| Error::from(error).into_failure(&self.place.directory))
    }
}
