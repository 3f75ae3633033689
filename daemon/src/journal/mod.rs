//! The journal: every job and picture on disk before anybody is told of it.
//!
//! A folder that is ours alone holds a SQLite database and the library of pictures:
//!
//! ```text
//! journal.db                     jobs, what became of their pictures, generations as saved last, measurements
//! library/ab/<sha256>.png        a picture; pictures of equal bytes are one file
//! library/ab/<sha256>.thumb.jpg  its thumbnail
//! reserve                        room for deleting when the disk is full
//! lock                           held while a daemon runs
//! ```
//!
//! One thread writes, another reads. A call is in order with those before it as soon as it returns; its answer comes
//! once the disk has it. Private jobs never come here. Knows nothing of engines, queues and clients.

mod blob;
mod change;
mod cleaning;
mod curves;
mod database;
mod error;
mod generations;
mod group;
mod history;
mod images;
mod inspect;
mod jobs;
mod library;
mod open_error;
mod outcomes;
mod page;
mod place;
mod reader;
mod reading;
mod record;
mod recovery;
mod reserve;
mod retention;
mod rows;
mod schema;
mod writer;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Instant, SystemTime},
};

use imgd_proto::v1;
use rusqlite::config::DbConfig;
use tokio::sync::oneshot;

use self::{
    change::{Arrived, Change},
    error::Error,
    group::Command,
    library::Library,
    place::Place,
    reader::{Questions, Shelves, answered},
    reserve::Reserve,
    retention::Retention,
    writer::Writer,
};
pub use self::{
    open_error::OpenError,
    outcomes::{Outcomes, Run},
    record::{
        CurvePoint, FinishedImage, Inserted, Limits, Record, Recorded, Recovered, SavedImage,
    },
};
pub use crate::engine::Answer;

/// The journal as the scheduler and the services see it. Calls return at once; nothing happens later than in order.
///
/// A full disk is [`crate::failure::Reason::DiskFull`]: nothing was changed, and the same call may be made again. A job
/// that is not there (any more: the limits may have removed it) is `JobNotFound`.
#[derive(Clone)]
pub struct Journal {
    changes: mpsc::Sender<Command>,
    questions: Questions,
    directory: Arc<Path>,
    #[cfg(test)]
    is_full: Arc<std::sync::atomic::AtomicBool>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("Journal")
            .field(&self.directory)
            .finish()
    }
}

/// Makes the journal's folder where there is none, and closes it to others. [`Journal::open`] does it as well, for a
/// process that may still write outside of it.
pub fn make_folder(directory: &Path) -> Result<(), OpenError> {
    place::make_private(directory)
}

impl Journal {
    /// Opens the journal in a folder, makes it where there is none, and tells what goes on from before.
    ///
    /// A database that is damaged, newer or not ours is refused and left as it is.
    pub fn open(directory: &Path, limits: Limits) -> Result<(Self, Recovered), OpenError> {
        let place = Place::claim(directory)?;
        let file = directory.join("journal.db");
        let reserve = Reserve::of(directory);
        if error::has_no_room(directory) && reserve.spend() {
            tracing::warn!("the disk is full: starting takes the room that was set aside");
        }
        let (mut connection, is_new) = database::open(&file)?;
        let library = Arc::new(open_library(directory, is_new)?);
        let mut recover = || -> Result<_, Error> {
            let recovered = recovery::recover(&mut connection, &library)?;
            recovery::sweep(&connection, &library)?;
            Ok((recovered, recovery::latest(&connection)?))
        };
        let (recovered, latest) = match recover() {
            Ok(found) => found,
            Err(error) => {
                // What is refused stays as it is, its log too.
                connection
                    .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                    .map_err(OpenError::sqlite("open", &file))?;
                return Err(error.into_open(&file));
            }
        };
        let now = (SystemTime::now(), Instant::now());
        let (questions, reader) = Questions::start(Shelves {
            connection: database::open_for_reading(&file)?,
            library: Arc::clone(&library),
            directory: directory.to_owned(),
        })?;
        let writer = Writer {
            connection,
            library,
            retention: Retention::new(limits, latest, now),
            questions: questions.clone(),
            reader,
            place,
            reserve,
            is_log_due: false,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a full channel would hold up the scheduler; what waits here is bounded by those who wait for its \
                answer: requests by connections and admission, pictures by those in flight"
        )]
        let (changes, commands) = mpsc::channel();
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&commands))
            .map_err(OpenError::io("start a thread for", directory))?;
        let journal = Self {
            changes,
            questions,
            directory: directory.into(),
            #[cfg(test)]
            is_full: Arc::default(),
        };
        Ok((journal, recovered))
    }

    /// Takes a job in; idempotent by its `submit_key` and its id.
    pub fn insert(&self, record: Record) -> Answer<Inserted> {
        let answer = self.change(Change::Insert(record));
        Box::pin(async move {
            Ok(match answer.await? {
                None => Inserted::New,
                Some(existing) => Inserted::Existed(Box::new(existing)),
            })
        })
    }

    /// Writes how a job is. In a final state its generations in flight are forgotten; held ones stay for a retry.
    pub fn update(&self, record: Record) -> Answer<()> {
        self.write(Change::Update(record))
    }

    /// Saves a generation in the place of what was saved of it before.
    pub fn save_generation(&self, job: &str, saved: SavedImage) -> Answer<()> {
        self.write(Change::Save(job.to_owned(), saved))
    }

    /// Keeps a finished picture: file and thumbnail, then the job as in `record`, and forgets its generation.
    pub fn finish_image(&self, record: Record, index: u32, image: FinishedImage) -> Answer<()> {
        let arrived = Box::new(Arrived::new(image));
        self.write(Change::Finish(record, index, arrived))
    }

    /// Writes down why a picture cannot be made, and forgets its generation.
    pub fn fail_image(&self, record: Record, index: u32, problem: v1::Problem) -> Answer<()> {
        self.write(Change::Fail(record, index, problem))
    }

    /// Keeps a generation until it is chosen or dropped.
    pub fn hold_image(&self, record: Record, saved: SavedImage) -> Answer<()> {
        self.write(Change::Hold(record, saved))
    }

    /// Lets held pictures go on (their generations count as in flight again), and drops others.
    pub fn choose_images(&self, record: Record, kept: Vec<u32>, dropped: Vec<u32>) -> Answer<()> {
        self.write(Change::Choose {
            record,
            kept,
            dropped,
        })
    }

    /// Drops held pictures.
    pub fn drop_images(&self, record: Record, indices: Vec<u32>) -> Answer<()> {
        self.choose_images(record, Vec::new(), indices)
    }

    /// Writes a job that goes on after its end: that pictures failed is forgotten.
    pub fn reopen(&self, record: Record) -> Answer<()> {
        self.write(Change::Reopen(record))
    }

    /// Forgets a job: no word of it is in the database, its log or the library when this is answered.
    pub fn delete(&self, job: &str) -> Answer<()> {
        self.write(Change::Delete(job.to_owned()))
    }

    /// Writes measurements down.
    pub fn curve(&self, points: Vec<CurvePoint>) -> Answer<()> {
        self.write(Change::Curve(points))
    }

    /// Writes what was told before, closes the database and frees the folder. Calls after it fail.
    pub fn close(&self) -> Answer<()> {
        let (reply, answer) = oneshot::channel();
        answered(self.changes.send(Command::Close(reply)).is_ok(), answer)
    }

    /// Lets every write fail from now on as on a full disk, or no more.
    #[cfg(test)]
    pub(crate) fn fill_disk(&self, is_full: bool) {
        self.is_full
            .store(is_full, std::sync::atomic::Ordering::Relaxed);
    }

    fn write(&self, change: Change) -> Answer<()> {
        let answer = self.change(change);
        Box::pin(async move { answer.await.map(drop) })
    }

    fn change(&self, change: Change) -> Answer<Option<Record>> {
        #[cfg(test)]
        if self.is_full.load(std::sync::atomic::Ordering::Relaxed) {
            let full = crate::failure::Failure::new(
                crate::failure::Reason::DiskFull,
                "a test filled the disk",
            );
            return Box::pin(async { Err(full) });
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::Change(Box::new(change), reply);
        answered(self.changes.send(command).is_ok(), answer)
    }
}

/// The library; that of a database that someone moved away is set aside and not swept.
fn open_library(directory: &Path, is_new: bool) -> Result<Library, OpenError> {
    let folder = directory.join("library");
    let library = Library::open(&folder)?;
    if !is_new
        || library
            .is_empty()
            .map_err(|error| error.into_open(&folder))?
    {
        return Ok(library);
    }
    let aside = (1..)
        .map(|number: u32| PathBuf::from(format!("{}.stray-{number}", folder.display())))
        .find(|path| !path.exists())
        .unwrap_or_default();
    tracing::warn!(
        "the library has pictures of another journal: they are now in {}",
        aside.display()
    );
    fs::rename(&folder, &aside).map_err(OpenError::io("set aside", &folder))?;
    Library::open(&folder)
}

#[cfg(test)]
mod tests;
