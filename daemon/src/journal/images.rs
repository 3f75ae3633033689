//! The table `image`: pictures that came somewhere.

use imgd_proto::v1::{self, ImageState};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    Outcomes,
    blob::Blob,
    change::Arrived,
    error::Error,
    generations,
    page::{self, Page},
    rows::{decoded, encoded, enumeration, timestamp},
};

/// A row of `image` without its messages in an answer, in bytes.
const ROW_BYTES: usize = 64;

/// Writes a finished picture down. One that is done already stays as it is: a picture is made once.
pub(super) fn put_done(
    connection: &Connection,
    job: i64,
    index: u32,
    arrived: &Arrived,
    finished_us: i64,
) -> Result<(), Error> {
    let (image, blob) = (&arrived.image, arrived.blob());
    let size = i64::try_from(image.bytes.len()).unwrap_or(i64::MAX);
    let thumbnail_size = i64::try_from(image.thumbnail.len()).unwrap_or(i64::MAX);
    let written = connection.execute(
        "INSERT INTO image (job, image_index, state, finished_us, sha256, format, size_bytes, metadata)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (job, image_index) DO UPDATE SET state = excluded.state, finished_us = excluded.finished_us,
            sha256 = excluded.sha256, format = excluded.format, size_bytes = excluded.size_bytes,
            metadata = excluded.metadata, problem = NULL
        WHERE state <> excluded.state",
        params![
            job,
            index,
            i32::from(ImageState::Done),
            finished_us,
            blob.sha256,
            i32::from(blob.format),
            size,
            encoded(&image.metadata),
        ],
    )?;
    if written > 0 {
        connection.execute(
            "UPDATE job SET kept_images = kept_images + 1, kept_bytes = kept_bytes + ?2 WHERE sequence = ?1",
            params![job, size.saturating_add(thumbnail_size)],
        )?;
    }
    generations::remove(connection, job, index)
}

/// Writes down that a picture failed, is held or was dropped. Returns whether it is: not if it is done already.
pub(super) fn put(
    connection: &Connection,
    job: i64,
    index: u32,
    state: ImageState,
    problem: Option<&v1::Problem>,
    finished_us: i64,
) -> Result<bool, Error> {
    let written = connection.execute(
        "INSERT INTO image (job, image_index, state, finished_us, problem) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (job, image_index) DO UPDATE SET state = excluded.state, finished_us = excluded.finished_us,
            problem = excluded.problem
        WHERE state <> ?6",
        params![
            job,
            index,
            i32::from(state),
            finished_us,
            problem.map(encoded),
            i32::from(ImageState::Done),
        ],
    )?;
    Ok(written > 0)
}

/// Takes back that a picture of a job is in this state: it is to be made.
pub(super) fn take_back(
    connection: &Connection,
    job: i64,
    index: Option<u32>,
    state: ImageState,
) -> Result<(), Error> {
    connection.execute(
        "DELETE FROM image WHERE job = ?1 AND state = ?2 AND (?3 IS NULL OR image_index = ?3)",
        params![job, i32::from(state), index],
    )?;
    Ok(())
}

/// What became of a job's pictures.
pub(super) fn outcomes(connection: &Connection, job: i64) -> Result<Outcomes, Error> {
    let mut statement = connection
        .prepare("SELECT image_index, state FROM image WHERE job = ?1 ORDER BY image_index")?;
    let mut rows = statement.query([job])?;
    let mut outcomes = Outcomes::default();
    while let Some(row) = rows.next()? {
        outcomes.push(row.get(0)?, enumeration("state", row.get(1)?)?);
    }
    Ok(outcomes)
}

/// A page of a job's pictures, in order of index.
pub(super) fn list(
    connection: &Connection,
    job: i64,
    page_size: u32,
    token: &str,
) -> Result<(Vec<v1::JobImage>, String), Error> {
    let after = page::key(token)?.unwrap_or(-1);
    let mut statement = connection.prepare(
        "SELECT image_index, state, metadata, size_bytes, finished_us, problem FROM image
        WHERE job = ?1 AND image_index > ?2 ORDER BY image_index",
    )?;
    let mut page = Page::new(page_size, page::IMAGES);
    for image in statement.query_and_then(params![job, after], read)? {
        let mut image = image?;
        if image.state() == ImageState::Held {
            image.preview = generations::preview(connection, job, image.image_index)?;
        }
        if page.is_full_for(image.encoded_len() + ROW_BYTES) {
            break;
        }
        let key = i64::from(image.image_index);
        page.push(image, key);
    }
    Ok(page.finish())
}

/// A finished picture's file and what it is; `None` for one that is not done.
pub(super) fn done(
    connection: &Connection,
    job: i64,
    index: u32,
) -> Result<Option<(Blob, v1::ImageMetadata)>, Error> {
    let found: Option<([u8; 32], i32, Vec<u8>)> = connection
        .query_row(
            "SELECT sha256, format, metadata FROM image
            WHERE job = ?1 AND image_index = ?2 AND sha256 IS NOT NULL",
            params![job, index],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((sha256, format, metadata)) = found else {
        return Ok(None);
    };
    let blob = Blob {
        sha256,
        format: enumeration("format", format)?,
    };
    Ok(Some((blob, v1::ImageMetadata::decode(&*metadata)?)))
}

/// The files of a job's pictures.
pub(super) fn blobs(connection: &Connection, job: i64) -> Result<Vec<Blob>, Error> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT sha256, format FROM image WHERE job = ?1 AND sha256 IS NOT NULL",
    )?;
    let found = statement.query_and_then([job], |row| {
        Ok(Blob {
            sha256: row.get(0)?,
            format: enumeration("format", row.get(1)?)?,
        })
    })?;
    found.collect()
}

/// Whether a picture of any job has this file.
pub(super) fn is_referenced(connection: &Connection, sha256: &[u8; 32]) -> Result<bool, Error> {
    let mut statement = connection.prepare("SELECT 1 FROM image WHERE sha256 = ?1")?;
    Ok(statement.exists([sha256])?)
}

fn read(row: &Row<'_>) -> Result<v1::JobImage, Error> {
    let size: Option<i64> = row.get(3)?;
    Ok(v1::JobImage {
        image_index: row.get(0)?,
        state: row.get(1)?,
        metadata: decoded(row.get(2)?)?,
        size_bytes: size.map_or(0, i64::cast_unsigned),
        finished: Some(timestamp(row.get(4)?)),
        problem: decoded(row.get(5)?)?,
        preview: None,
    })
}
