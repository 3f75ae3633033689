//! Reading the tables `job` and `submission`.

use std::sync::Arc;

use imgd_proto::{
    errors::{Failure, Reason},
    v1,
};
use prost::Message as _;
use rusqlite::{Connection, Row, params};

use super::{
    error::{Error, no_such_job},
    page::{self, Page},
    record::Record,
    rows::{decoded, enumeration, model_key, time},
};

const SELECT: &str = "SELECT sequence, id, submit_key, model_name, model_path, is_attached, client, priority, state,
        pause_reason, is_released, problem, image_count, images_done, images_failed, images_held, images_dropped, submitted_us,
        started_us, finished_us, timings, worker_deaths, cursor, request
    FROM job JOIN submission ON job = sequence";

/// A row of `job` beside what it takes in an answer, in bytes.
const ROW_BYTES: usize = 512;

/// A job in the journal.
pub(super) struct Found {
    /// Its key in the other tables, in order of submission.
    pub(super) sequence: i64,
    /// What is written of it.
    pub(super) record: Record,
    /// Size of what was asked for, in bytes.
    pub(super) submission_bytes: usize,
}

/// The job that has this one's `submit_key` or id.
pub(super) fn existing(connection: &Connection, record: &Record) -> Result<Record, Error> {
    let sql = format!("{SELECT} WHERE id = ?1 OR submit_key = ?2");
    let key = params![record.id, record.submit_key];
    let found = connection.query_row_and_then(&sql, key, read)?;
    Ok(found.record)
}

/// The job whose id begins so, when no other's does.
pub(super) fn find(connection: &Connection, prefix: &str) -> Result<Found, Error> {
    // 'g' comes after every hexadecimal digit.
    let sql = format!("{SELECT} WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY id LIMIT 2");
    let mut statement = connection.prepare(&sql)?;
    let mut found = statement.query_and_then([prefix], read)?;
    let first = found.next().transpose()?;
    let first = first.ok_or_else(|| no_such_job(prefix))?;
    if found.next().transpose()?.is_some() {
        let message = format!("job_id {prefix} begins the ids of several jobs");
        return Err(Failure::new(Reason::InvalidField, message)
            .with_field("job_id")
            .with_hint("give more of its digits")
            .into());
    }
    Ok(first)
}

/// A page of jobs, newest first.
pub(super) fn list(
    connection: &Connection,
    states: &[v1::JobState],
    request_id: &str,
    page_size: u32,
    token: &str,
) -> Result<(Vec<Record>, String), Error> {
    let before = page::key(token)?.unwrap_or(i64::MAX);
    let states: Vec<String> = states
        .iter()
        .map(|&state| i32::from(state).to_string())
        .collect();
    let mut sql = format!("{SELECT} WHERE sequence < ?1 AND (?2 = '' OR submit_key = ?2)");
    if !states.is_empty() {
        sql += &format!(" AND state IN ({})", states.join(", "));
    }
    sql += " ORDER BY sequence DESC";
    let mut statement = connection.prepare(&sql)?;
    let mut page = Page::new(page_size, page::JOBS);
    for found in statement.query_and_then(params![before, request_id], read)? {
        let found = found?;
        if page.is_full_for(found.submission_bytes + ROW_BYTES) {
            break;
        }
        page.push(found.record, found.sequence);
    }
    Ok(page.finish())
}

/// Jobs that have not ended, oldest first.
pub(super) fn unfinished(connection: &Connection) -> Result<Vec<Found>, Error> {
    let sql = format!("{SELECT} WHERE ended IS NULL ORDER BY sequence");
    let mut statement = connection.prepare(&sql)?;
    statement.query_and_then([], read)?.collect()
}

fn read(row: &Row<'_>) -> Result<Found, Error> {
    let optional_time = |column| -> Result<_, Error> {
        let micros: Option<i64> = row.get(column)?;
        Ok(micros.map(time))
    };
    let request: Vec<u8> = row.get("request")?;
    let timings: Vec<u8> = row.get("timings")?;
    let submission = v1::SubmitJobRequest::decode(&*request)?;
    let record = Record {
        id: row.get("id")?,
        submit_key: row.get("submit_key")?,
        model_key: model_key(row.get("model_name")?, row.get("model_path")?, &submission),
        submission: Arc::new(submission),
        attached: row.get("is_attached")?,
        client: row.get("client")?,
        priority: enumeration("priority", row.get("priority")?)?,
        state: enumeration("state", row.get("state")?)?,
        pause_reason: enumeration("pause_reason", row.get("pause_reason")?)?,
        problem: decoded(row.get("problem")?)?,
        image_count: row.get("image_count")?,
        images_done: row.get("images_done")?,
        images_failed: row.get("images_failed")?,
        images_held: row.get("images_held")?,
        images_dropped: row.get("images_dropped")?,
        submitted: time(row.get("submitted_us")?),
        started: optional_time("started_us")?,
        finished: optional_time("finished_us")?,
        timings: v1::Finished::decode(&*timings)?,
        worker_deaths: row.get("worker_deaths")?,
        is_released: row.get("is_released")?,
        cursor: row.get::<_, i64>("cursor")?.cast_unsigned(),
    };
    Ok(Found {
        sequence: row.get("sequence")?,
        record,
        submission_bytes: request.len(),
    })
}
