//! The table `generation`: every generation as it was saved last, until its picture is finished or given up.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sha2::{Digest as _, Sha256};

use super::{
    error::Error,
    record::SavedImage,
    rows::{decoded, encoded},
};

const SELECT: &str = "SELECT image_index, evaluations_done, evaluation_count, preview, state, sha256 FROM generation";

/// Saves a generation in the place of what was saved of it before.
pub(super) fn put(
    connection: &Connection,
    job: i64,
    saved: &SavedImage,
    is_held: bool,
) -> Result<(), Error> {
    connection.execute(
        "INSERT INTO generation
            (job, image_index, evaluations_done, evaluation_count, is_held, preview, state, sha256)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (job, image_index) DO UPDATE SET evaluations_done = excluded.evaluations_done,
            evaluation_count = excluded.evaluation_count, is_held = excluded.is_held,
            preview = excluded.preview, state = excluded.state, sha256 = excluded.sha256",
        params![
            job,
            saved.index,
            saved.evaluations_done,
            saved.evaluation_count,
            is_held,
            saved.preview.as_ref().map(encoded),
            &*saved.bytes,
            digest(&saved.bytes),
        ],
    )?;
    Ok(())
}

/// Forgets a generation.
pub(super) fn remove(connection: &Connection, job: i64, index: u32) -> Result<(), Error> {
    connection.execute(
        "DELETE FROM generation WHERE job = ?1 AND image_index = ?2",
        params![job, index],
    )?;
    Ok(())
}

/// Forgets those of a job that were in flight; held ones stay for a retry.
pub(super) fn remove_in_flight(connection: &Connection, job: i64) -> Result<(), Error> {
    connection.execute(
        "DELETE FROM generation WHERE job = ?1 AND NOT is_held",
        [job],
    )?;
    Ok(())
}

/// Puts a held generation back among those in flight.
pub(super) fn release(connection: &Connection, job: i64, index: u32) -> Result<(), Error> {
    connection.execute(
        "UPDATE generation SET is_held = 0 WHERE job = ?1 AND image_index = ?2",
        params![job, index],
    )?;
    Ok(())
}

/// A generation as it was saved.
pub(super) fn get(
    connection: &Connection,
    job: i64,
    index: u32,
) -> Result<Option<SavedImage>, Error> {
    let sql = format!("{SELECT} WHERE job = ?1 AND image_index = ?2");
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query_and_then(params![job, index], read)?;
    Ok(found.next().transpose()?.flatten())
}

/// What a held picture looks like.
pub(super) fn preview(
    connection: &Connection,
    job: i64,
    index: u32,
) -> Result<Option<imgd_proto::v1::Preview>, Error> {
    let found: Option<Option<Vec<u8>>> = connection
        .query_row(
            "SELECT preview FROM generation WHERE job = ?1 AND image_index = ?2",
            params![job, index],
            |row| row.get(0),
        )
        .optional()?;
    decoded(found.flatten())
}

/// The generations of a job that were in flight, in order of index.
pub(super) fn in_flight(connection: &Connection, job: i64) -> Result<Vec<SavedImage>, Error> {
    let sql = format!("{SELECT} WHERE job = ?1 AND NOT is_held ORDER BY image_index");
    let mut statement = connection.prepare(&sql)?;
    let found = statement.query_and_then([job], read)?;
    found.filter_map(Result::transpose).collect()
}

/// Forgets what belongs to nobody: of jobs that have ended, and of pictures that came somewhere.
pub(super) fn sweep(connection: &Connection) -> Result<(), Error> {
    connection.execute(
        "DELETE FROM generation WHERE NOT is_held AND (
            EXISTS (SELECT 1 FROM job WHERE sequence = generation.job AND ended IS NOT NULL)
            OR EXISTS (SELECT 1 FROM image
                WHERE image.job = generation.job AND image.image_index = generation.image_index))",
        [],
    )?;
    Ok(())
}

/// A generation from its row; `None` for one that is not what was saved: its picture begins again.
fn read(row: &Row<'_>) -> Result<Option<SavedImage>, Error> {
    let index = row.get(0)?;
    let state: Vec<u8> = row.get(4)?;
    if row.get::<_, [u8; 32]>(5)? != digest(&state) {
        tracing::warn!("a saved image (index {index}) is damaged: it begins again");
        return Ok(None);
    }
    Ok(Some(SavedImage {
        index,
        evaluations_done: row.get(1)?,
        evaluation_count: row.get(2)?,
        preview: decoded(row.get(3)?)?,
        bytes: state.into(),
    }))
}

fn digest(state: &[u8]) -> [u8; 32] {
    Sha256::digest(state).into()
}
