//! The table `curve`: what was measured of this machine.

use rusqlite::{Connection, params};

use super::{error::Error, record::CurvePoint};

/// Points that are kept, the latest ones: dozens of models in dozens of sizes.
const MAX_POINTS: u32 = 8_192;

/// Writes points down, in the place of older ones of the same kind.
pub(super) fn put(connection: &Connection, points: &[CurvePoint]) -> Result<(), Error> {
    let mut statement = connection.prepare(
        "INSERT OR REPLACE INTO curve
            (model_hash, width_px, height_px, is_guided, threads, build_id, batch_size, seconds)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for point in points {
        statement.execute(params![
            point.model_hash,
            point.width_px,
            point.height_px,
            point.is_guided,
            point.threads,
            point.build_id,
            point.batch_size,
            point.seconds,
        ])?;
    }
    connection.execute(
        "DELETE FROM curve WHERE rowid IN (SELECT rowid FROM curve ORDER BY rowid DESC LIMIT -1 OFFSET ?1)",
        [MAX_POINTS],
    )?;
    Ok(())
}

/// Every point.
pub(super) fn all(connection: &Connection) -> Result<Vec<CurvePoint>, Error> {
    let mut statement = connection.prepare(
        "SELECT model_hash, width_px, height_px, is_guided, threads, build_id, batch_size, seconds
        FROM curve ORDER BY rowid",
    )?;
    let points = statement.query_and_then([], |row| {
        Ok(CurvePoint {
            model_hash: row.get(0)?,
            width_px: row.get(1)?,
            height_px: row.get(2)?,
            is_guided: row.get(3)?,
            threads: row.get(4)?,
            build_id: row.get(5)?,
            batch_size: row.get(6)?,
            seconds: row.get(7)?,
        })
    })?;
    points.collect()
}
