//! What may be written, and how each change is: a few rows in a transaction that the writer began.

use std::cell::OnceCell;

use imgd_proto::v1::{self, ImageState};
use rusqlite::Connection;

use super::{
    blob::Blob,
    curves,
    error::Error,
    generations, images, jobs,
    record::{CurvePoint, FinishedImage, Record, SavedImage},
};

/// One change. Those with a record write the whole record.
pub(super) enum Change {
    /// A new job.
    Insert(Record),
    /// A job's state.
    Update(Record),
    /// A generation in flight, of the job of this id.
    Save(String, SavedImage),
    /// A picture is finished.
    Finish(Record, u32, Box<Arrived>),
    /// A picture cannot be made.
    Fail(Record, u32, v1::Problem),
    /// A picture waits to be chosen.
    Hold(Record, SavedImage),
    /// Of those that were held, some go on, some are dropped.
    Choose {
        record: Record,
        kept: Vec<u32>,
        dropped: Vec<u32>,
    },
    /// What failed is to be made again.
    Reopen(Record),
    /// The job of this id is to be forgotten.
    Delete(String),
    /// Something was measured.
    Curve(Vec<CurvePoint>),
}

/// A finished picture on its way into the library.
pub(super) struct Arrived {
    pub(super) image: FinishedImage,
    blob: OnceCell<Blob>,
}

impl Arrived {
    pub(super) fn new(image: FinishedImage) -> Self {
        let blob = OnceCell::new();
        Self { image, blob }
    }

    /// Its file. The hash is computed where it is asked for first, which is the writer's thread.
    pub(super) fn blob(&self) -> Blob {
        let Self { image, blob } = self;
        *blob.get_or_init(|| Blob::of(&image.bytes, image.metadata.format()))
    }
}

/// What a change did besides.
#[derive(Default)]
pub(super) struct Applied {
    /// The job that was there in place of a new one.
    pub(super) existing: Option<Record>,
    /// Files that may not be needed any more.
    pub(super) unneeded: Vec<Blob>,
}

impl Change {
    /// Writes it; `now` in microseconds since 1970.
    pub(super) fn apply(&self, connection: &Connection, now: i64) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        match self {
            Self::Insert(record) => applied.existing = jobs::insert(connection, record)?,
            Self::Update(record) => {
                update(connection, record)?;
            }
            Self::Save(id, saved) => {
                let job = jobs::sequence(connection, id)?;
                generations::put(connection, job, saved, false)?;
            }
            Self::Finish(record, index, arrived) => {
                let job = update(connection, record)?;
                images::put_done(connection, job, *index, arrived, now)?;
            }
            Self::Fail(record, index, problem) => {
                let job = update(connection, record)?;
                images::put(
                    connection,
                    job,
                    *index,
                    ImageState::Failed,
                    Some(problem),
                    now,
                )?;
                generations::remove(connection, job, *index)?;
            }
            Self::Hold(record, saved) => {
                let job = update(connection, record)?;
                if images::put(connection, job, saved.index, ImageState::Held, None, now)? {
                    generations::put(connection, job, saved, true)?;
                }
            }
            Self::Choose {
                record,
                kept,
                dropped,
            } => {
                let job = update(connection, record)?;
                for &index in kept {
                    images::take_back(connection, job, Some(index), ImageState::Held)?;
                    generations::release(connection, job, index)?;
                }
                for &index in dropped {
                    images::put(connection, job, index, ImageState::Dropped, None, now)?;
                    generations::remove(connection, job, index)?;
                }
            }
            Self::Reopen(record) => {
                let job = update(connection, record)?;
                images::take_back(connection, job, None, ImageState::Failed)?;
            }
            Self::Delete(id) => {
                let job = jobs::sequence(connection, id)?;
                applied.unneeded = remove_job(connection, job)?;
            }
            Self::Curve(points) => curves::put(connection, points)?,
        }
        Ok(applied)
    }

    /// Whether it is to make something disappear.
    pub(super) fn is_delete(&self) -> bool {
        matches!(self, Self::Delete(_))
    }

    /// Whether a job ends with it.
    pub(super) fn ends_job(&self) -> bool {
        match self {
            Self::Insert(record)
            | Self::Update(record)
            | Self::Finish(record, ..)
            | Self::Fail(record, ..)
            | Self::Hold(record, _)
            | Self::Choose { record, .. }
            | Self::Reopen(record) => record.is_final(),
            Self::Save(..) | Self::Delete(_) | Self::Curve(_) => false,
        }
    }

    /// About how many bytes it writes.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Save(_, saved) | Self::Hold(_, saved) => saved.bytes.len(),
            Self::Finish(.., arrived) => arrived.image.bytes.len(),
            _ => 1024,
        }
    }
}

/// Forgets a job with all that belongs to it; returns its files, which others may need.
pub(super) fn remove_job(connection: &Connection, job: i64) -> Result<Vec<Blob>, Error> {
    let blobs = images::blobs(connection, job)?;
    connection.execute("DELETE FROM job WHERE sequence = ?1", [job])?;
    Ok(blobs)
}

fn update(connection: &Connection, record: &Record) -> Result<i64, Error> {
    let job = jobs::update(connection, record)?;
    if record.is_final() {
        generations::remove_in_flight(connection, job)?;
    }
    Ok(job)
}
