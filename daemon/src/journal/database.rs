//! The database's file: made whole or not at all, opened with nothing left to chance.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    inspect,
    open_error::OpenError,
    place,
    schema::{APPLICATION_ID, MIGRATIONS},
};

/// How long a connection waits for another, which is the reader's or a user's `sqlite3`.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The log is cut back to this at a checkpoint, in bytes.
const LOG_BYTES: i64 = 8 << 20;

/// Opens the database for writing; makes it where there is none. Returns whether it was made.
pub(super) fn open(file: &Path) -> Result<(Connection, bool), OpenError> {
    let is_new = !file.exists();
    if is_new {
        set_strays_aside(file)?;
        create(file)?;
    } else {
        inspect::inspect(file)?;
    }
    let failed = |source| OpenError::sqlite("open", file)(source);
    let mut connection = Connection::open_with_flags(
        file,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(failed)?;
    set_up(&connection).map_err(failed)?;
    migrate(&mut connection).map_err(OpenError::sqlite("migrate", file))?;
    Ok((connection, is_new))
}

/// Opens the database for reading, beside the writer.
pub(super) fn open_for_reading(file: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(file, flags).map_err(OpenError::sqlite("open", file))?;
    connection
        .busy_timeout(PATIENCE)
        .map_err(OpenError::sqlite("open", file))?;
    Ok(connection)
}

/// Makes the database under another name first: whoever finds it under its own finds it whole.
fn create(file: &Path) -> Result<(), OpenError> {
    let unfinished = beside(file, ".new");
    for leftover in ["", "-journal", "-wal", "-shm"] {
        remove(&beside(&unfinished, leftover))?;
    }
    // Private from the first moment; SQLite gives its other files the same mode.
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished);
    let made = opened.map_err(OpenError::io("make", &unfinished))?;
    let failed = |source| OpenError::sqlite("make", file)(source);
    let mut connection = Connection::open(&unfinished).map_err(failed)?;
    connection
        .pragma_update(None, "auto_vacuum", "INCREMENTAL")
        .map_err(failed)?;
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(failed)?;
    migrate(&mut connection).map_err(failed)?;
    set_up(&connection).map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    let finish = || {
        made.sync_all()?;
        fs::rename(&unfinished, file)?;
        place::sync(file.parent().unwrap_or(Path::new("/")))
    };
    finish().map_err(OpenError::io("make", file))
}

/// Brings the tables to our version, in one transaction.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let transaction = connection.transaction()?;
    for (step, from) in MIGRATIONS.iter().zip(0_u32..) {
        if from >= version {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", from + 1)?;
        }
    }
    transaction.commit()
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        // Slower and as safe: some file systems cannot share memory.
        tracing::warn!("the journal's file system allows no write-ahead log: {mode} is used");
    }
    // A commit is on the disk, not on its way there; macOS needs to be told to mean it.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // What is deleted is overwritten, and nothing is spilled elsewhere.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))
}

/// What a database that someone moved away left behind: SQLite would apply its log to the new one.
fn set_strays_aside(file: &Path) -> Result<(), OpenError> {
    for stray in ["-wal", "-shm", "-journal"].map(|suffix| beside(file, suffix)) {
        if stray.exists() {
            fs::rename(&stray, beside(&stray, ".stray"))
                .map_err(OpenError::io("set aside", &stray))?;
        }
    }
    Ok(())
}

/// Removes a file, where it is.
pub(super) fn remove(path: &Path) -> Result<(), OpenError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// The path with something behind its last name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
