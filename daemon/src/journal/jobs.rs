//! Writing the tables `job` and `submission`.

use rusqlite::{Connection, OptionalExtension as _, named_params, params};

use super::{
    error::{Error, no_such_job},
    history,
    record::Record,
    rows::{encoded, micros, model_path},
};

/// Writes a new job; gives back the one that has its `submit_key` or its id already.
pub(super) fn insert(connection: &Connection, record: &Record) -> Result<Option<Record>, Error> {
    let mut statement = connection.prepare(
        "INSERT INTO job (id, submit_key, model_name, model_path, is_attached, client, priority, state, pause_reason, is_released,
            problem, image_count, images_done, images_failed, images_held, images_dropped, submitted_us, started_us,
            finished_us, timings, worker_deaths, cursor, ended)
        VALUES (:id, :submit_key, :model_name, :model_path, :is_attached, :client, :priority, :state, :pause_reason, :is_released,
            :problem, :image_count, :images_done, :images_failed, :images_held, :images_dropped, :submitted_us,
            :started_us, :finished_us, :timings, :worker_deaths, :cursor,
            CASE WHEN :is_final THEN (SELECT coalesce(max(ended), 0) + 1 FROM job WHERE ended IS NOT NULL) END)
        ON CONFLICT DO NOTHING",
    )?;
    let inserted = statement.execute(named_params! {
        ":id": record.id,
        ":submit_key": record.submit_key,
        ":model_name": record.model_key.name,
        ":model_path": model_path(&record.model_key),
        ":is_attached": record.attached,
        ":client": record.client,
        ":priority": i32::from(record.priority),
        ":state": i32::from(record.state),
        ":pause_reason": i32::from(record.pause_reason),
        ":is_released": record.is_released,
        ":problem": record.problem.as_ref().map(encoded),
        ":image_count": record.image_count,
        ":images_done": record.images_done,
        ":images_failed": record.images_failed,
        ":images_held": record.images_held,
        ":images_dropped": record.images_dropped,
        ":submitted_us": micros(record.submitted),
        ":started_us": record.started.map(micros),
        ":finished_us": record.finished.map(micros),
        ":timings": encoded(&record.timings),
        ":worker_deaths": record.worker_deaths,
        ":cursor": record.cursor.cast_signed(),
        ":is_final": record.is_final(),
    })?;
    if inserted == 0 {
        return history::existing(connection, record).map(Some);
    }
    connection.execute(
        "INSERT INTO submission (job, request) VALUES (?1, ?2)",
        params![connection.last_insert_rowid(), encoded(&*record.submission)],
    )?;
    Ok(None)
}

/// Writes what may change of a job. Returns its key.
pub(super) fn update(connection: &Connection, record: &Record) -> Result<i64, Error> {
    let mut statement = connection.prepare(
        "UPDATE job SET is_attached = :is_attached, client = :client, priority = :priority, state = :state,
            pause_reason = :pause_reason, is_released = :is_released, problem = :problem, image_count = :image_count,
            images_done = :images_done, images_failed = :images_failed, images_held = :images_held,
            images_dropped = :images_dropped, started_us = :started_us, finished_us = :finished_us,
            timings = :timings, worker_deaths = :worker_deaths, cursor = :cursor,
            ended = CASE WHEN :is_final
                THEN coalesce(ended, (SELECT coalesce(max(ended), 0) + 1 FROM job WHERE ended IS NOT NULL)) END
        WHERE id = :id RETURNING sequence",
    )?;
    let sequence: Option<i64> = statement
        .query_row(
            named_params! {
                ":id": record.id,
                ":is_attached": record.attached,
                ":client": record.client,
                ":priority": i32::from(record.priority),
                ":state": i32::from(record.state),
                ":pause_reason": i32::from(record.pause_reason),
                ":is_released": record.is_released,
                ":problem": record.problem.as_ref().map(encoded),
                ":image_count": record.image_count,
                ":images_done": record.images_done,
                ":images_failed": record.images_failed,
                ":images_held": record.images_held,
                ":images_dropped": record.images_dropped,
                ":started_us": record.started.map(micros),
                ":finished_us": record.finished.map(micros),
                ":timings": encoded(&record.timings),
                ":worker_deaths": record.worker_deaths,
                ":cursor": record.cursor.cast_signed(),
                ":is_final": record.is_final(),
            },
            |row| row.get(0),
        )
        .optional()?;
    sequence.ok_or_else(|| no_such_job(&record.id).into())
}

/// The key of the job of exactly this id.
pub(super) fn sequence(connection: &Connection, id: &str) -> Result<i64, Error> {
    let found = connection
        .query_row("SELECT sequence FROM job WHERE id = ?1", [id], |row| {
            row.get(0)
        })
        .optional()?;
    found.ok_or_else(|| no_such_job(id).into())
}
