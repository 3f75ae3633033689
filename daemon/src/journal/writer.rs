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
use tokio::sync::oneshot;

use super::{
    change::{Applied, Change, remove_job},
    error::Error,
    images,
    library::{Blob, Library},
    place::Place,
    reader::Questions,
    record::Record,
    reserve::Reserve,
    retention::Retention,
    rows,
};

/// Changes that share a transaction, and their bytes: the first of them waits for the last.
const MAX_GROUP: usize = 256;
const MAX_GROUP_BYTES: usize = 16 << 20;

/// How long old jobs may stay beyond their time while nothing is written.
const TIDY: Duration = Duration::from_secs(600);

/// How long the removal of old jobs may be put off by work that comes in.
const TIDY_UNDER_LOAD: Duration = Duration::from_secs(1);

/// Free pages that are kept for what comes next.
const SPARE_PAGES: i64 = 256;

/// What the thread is told.
pub(super) enum Command {
    /// Write this.
    Change(Box<Change>, Reply),
    /// End.
    Close(oneshot::Sender<Result<(), Failure>>),
}

/// Where the answer goes: the job that was there in place of a new one.
pub(super) type Reply = oneshot::Sender<Result<Option<Record>, Failure>>;

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

    fn is_full(&self, error: &Error) -> bool {
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

    /// Removes those of the files that no picture has any more.
    fn remove_files(&self, blobs: &[Blob]) -> Result<(), Error> {
        for blob in blobs {
            if !images::is_referenced(&self.connection, &blob.sha256)? {
                self.library.remove(blob)?;
            }
        }
        Ok(())
    }

    /// Forgets some of the jobs whose time has come. Returns whether there may be more.
    fn tidy(&mut self) -> bool {
        if self.is_log_due
            && let Err(error) = self.erase()
        {
            tracing::debug!("{}", error.into_failure(&self.place.directory));
        }
        let is_more = match self.forget_old() {
            Ok(is_more) => is_more,
            Err(error) => {
                let is_full = self.is_full(&error);
                let failure = error.into_failure(&self.place.directory);
                tracing::warn!("old jobs are not removed: {failure}");
                // The next attempt has that room.
                is_full && self.reserve.spend()
            }
        };
        if !is_more {
            self.reserve.fill();
        }
        is_more
    }

    fn forget_old(&mut self) -> Result<bool, Error> {
        let now = (SystemTime::now(), Instant::now());
        let doomed = self.retention.doomed(&self.connection, now)?;
        if doomed.is_empty() {
            return Ok(false);
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut unneeded = Vec::new();
        for &job in &doomed {
            unneeded.extend(remove_job(&transaction, job)?);
        }
        transaction.commit()?;
        tracing::info!("forgot {} jobs that ended long ago", doomed.len());
        self.remove_files(&unneeded)?;
        self.erase()?;
        Ok(true)
    }

    /// Empties the log, which holds what was deleted, and gives free pages back.
    fn erase(&mut self) -> Result<(), Error> {
        self.is_log_due = true;
        let mut is_busy = self.empty_log()?;
        let free: i64 = self
            .connection
            .query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        if free > SPARE_PAGES {
            let sql = format!("PRAGMA incremental_vacuum({})", free - SPARE_PAGES);
            let mut statement = self.connection.prepare(&sql)?;
            let mut steps = statement.query([])?;
            while steps.next()?.is_some() {}
            drop(steps);
            drop(statement);
            is_busy = self.empty_log()?;
        }
        self.is_log_due = is_busy;
        if is_busy {
            tracing::warn!("another program reads the journal: its log is emptied later");
        }
        Ok(())
    }

    /// Brings the log into the database and cuts it to nothing. Returns whether someone was in the way.
    fn empty_log(&self) -> Result<bool, Error> {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
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

type Group = (
    Vec<(Change, Reply)>,
    Option<oneshot::Sender<Result<(), Failure>>>,
);

/// Waits for a change, and takes those that wait behind it.
fn next_group(commands: &Receiver<Command>, is_untidy: bool) -> Result<Group, RecvTimeoutError> {
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
