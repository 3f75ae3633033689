//! The writer as a caretaker: what is not needed any more goes, from the database, its log and the library.

use std::time::{Instant, SystemTime};

use rusqlite::TransactionBehavior;

use super::{blob::Blob, change::remove_job, error::Error, images, writer::Writer};

/// Free pages that are kept for what comes next.
const SPARE_PAGES: i64 = 256;

impl Writer {
    /// Removes those of the files that no picture has any more.
    pub(super) fn remove_files(&self, blobs: &[Blob]) -> Result<(), Error> {
        for blob in blobs {
            if !images::is_referenced(&self.connection, &blob.sha256)? {
                self.library.remove(blob)?;
            }
        }
        Ok(())
    }

    /// Forgets some of the jobs whose time has come. Returns whether there may be more.
    pub(super) fn tidy(&mut self) -> bool {
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
    pub(super) fn erase(&mut self) -> Result<(), Error> {
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
}
