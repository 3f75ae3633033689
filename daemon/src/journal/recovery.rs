//! What is found at the start: jobs that have not ended, and what a killed daemon left lying about.

use std::{collections::HashSet, time::SystemTime};

use imgd_proto::v1::ImageState;
use rusqlite::{Connection, TransactionBehavior};

use super::{
    blob::Blob,
    curves,
    error::Error,
    generations, history, images,
    library::Library,
    record::{Recorded, Recovered},
    rows,
};

/// Counts this life, and reads what goes on in it.
pub(super) fn recover(connection: &mut Connection, library: &Library) -> Result<Recovered, Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let life = transaction.query_row(
        "UPDATE life SET count = count + 1 RETURNING count",
        [],
        |row| row.get(0),
    )?;
    generations::sweep(&transaction)?;
    let mut jobs = Vec::new();
    for found in history::unfinished(&transaction)? {
        take_back_lost(&transaction, library, found.sequence)?;
        let images = images::outcomes(&transaction, found.sequence)?;
        let mut record = found.record;
        record.images_done = images.count(ImageState::Done);
        record.images_failed = images.count(ImageState::Failed);
        record.images_held = images.count(ImageState::Held);
        record.images_dropped = images.count(ImageState::Dropped);
        jobs.push(Recorded {
            record,
            images,
            saved: generations::in_flight(&transaction, found.sequence)?,
        });
    }
    let curves = curves::all(&transaction)?;
    transaction.commit()?;
    Ok(Recovered { life, jobs, curves })
}

/// Removes files that are not whole and pictures of no job.
pub(super) fn sweep(connection: &Connection, library: &Library) -> Result<(), Error> {
    let mut statement =
        connection.prepare("SELECT DISTINCT sha256 FROM image WHERE sha256 IS NOT NULL")?;
    let needed = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<HashSet<[u8; 32]>, _>>()?;
    let removed = library.sweep(&needed)?;
    if removed > 0 {
        tracing::info!("removed {removed} files that no job needs from the library");
    }
    Ok(())
}

/// The latest time in the journal.
pub(super) fn latest(connection: &Connection) -> Result<Option<SystemTime>, Error> {
    let micros: Option<i64> = connection.query_row(
        "SELECT max(max(submitted_us, coalesce(finished_us, 0))) FROM job",
        [],
        |row| row.get(0),
    )?;
    Ok(micros.map(rows::time))
}

/// Pictures of a job that goes on whose files someone took away are made again.
fn take_back_lost(connection: &Connection, library: &Library, job: i64) -> Result<(), Error> {
    for Blob { sha256, .. } in images::blobs(connection, job)?
        .into_iter()
        .filter(|blob| !library.has(blob))
    {
        connection.execute(
            "DELETE FROM image WHERE job = ?1 AND sha256 = ?2",
            rusqlite::params![job, sha256],
        )?;
    }
    Ok(())
}
