//! The database's file: made whole or not at all, looked at before it is touched, opened with nothing left to chance.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Read as _},
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    error::OpenError,
    place,
    schema::{APPLICATION_ID, MIGRATIONS},
};

/// How long a connection waits for another, which is the reader's or a user's `sqlite3`.
const PATIENCE: Duration = Duration::from_secs(5);

/// The log is cut back to this at a checkpoint, in bytes.
const LOG_BYTES: i64 = 8 << 20;

/// Opens the database for writing; makes it where there is none. Returns whether it was made.
pub(super) fn open(file: &Path) -> Result<(Connection, bool), OpenError> {
    let is_new = !file.exists();
    if is_new {
        set_strays_aside(file)?;
        create(file)?;
    } else {
        inspect(file)?;
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

/// Refuses a file that is not ours, newer than we are, or damaged; leaves it as it is.
fn inspect(file: &Path) -> Result<(), OpenError> {
    let invalid = |why: String, remedy: String| OpenError::Invalid {
        file: file.to_owned(),
        why,
        remedy,
    };
    let directory = file.parent().unwrap_or(Path::new("/")).display();
    let away = format!("move {directory} away (the pictures are in its `library`) and start again");
    let mut header = [0; 100];
    let read = fs::File::open(file).and_then(|mut opened| opened.read_exact(&mut header));
    match read {
        Ok(()) if header.starts_with(b"SQLite format 3\0") => {}
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            return Err(OpenError::io("read", file)(error));
        }
        _ => return Err(invalid("is no SQLite database".to_owned(), away)),
    }
    let number = |at: usize| i32::from_be_bytes([0, 1, 2, 3].map(|n| header[at + n]));
    if number(68) != APPLICATION_ID {
        let why = format!("belongs to another program (application id {})", number(68));
        return Err(invalid(why, away));
    }
    let version = match checked_version(file) {
        Ok(Ok(version)) => version,
        Ok(Err(damage)) => return Err(invalid(format!("is damaged: {damage}"), away)),
        // What is not SQLite's own finding, such as memory or permissions.
        Err(error) => return Err(OpenError::sqlite("read", file)(error)),
    };
    match usize::try_from(version.max(number(60))) {
        Ok(version) if version > MIGRATIONS.len() => {
            let ours = MIGRATIONS.len();
            let why = format!("is of a newer imgd: its version is {version}, this imgd's {ours}");
            Err(invalid(
                why,
                format!("use that imgd again, or {away} without its jobs"),
            ))
        }
        Ok(1..) => Ok(()),
        _ => Err(invalid(
            format!("is damaged: its version is {version}"),
            away,
        )),
    }
}

/// The version, if the database is sound; else what is wrong. Writes neither database nor log, and leaves no file.
fn checked_version(file: &Path) -> rusqlite::Result<Result<i32, String>> {
    let (log, index) = (beside(file, "-wal"), beside(file, "-shm"));
    let has_log = fs::metadata(&log).is_ok_and(|found| found.len() > 0);
    let (had_log, had_index) = (log.exists(), index.exists());
    let result = {
        // Without a log, nothing beside the file is looked at; with one, it counts.
        let mode = if has_log { "mode=ro" } else { "immutable=1" };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(uri(file, mode), flags).and_then(|connection| {
            connection.busy_timeout(PATIENCE)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            let found: String =
                connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if found != "ok" {
                return Ok(Err(found));
            }
            let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            Ok(Ok(version))
        })
    };
    for (had, path) in [(had_log, &log), (had_index, &index)] {
        if !had && let Err(error) = remove(path) {
            tracing::debug!("{error}");
        }
    }
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match result {
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(DatabaseCorrupt | NotADatabase)
            ) =>
        {
            Ok(Err(error.to_string()))
        }
        result => result,
    }
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

fn remove(path: &Path) -> Result<(), OpenError> {
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

fn uri(file: &Path, query: &str) -> String {
    let mut uri = "file:".to_owned();
    for &byte in file.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri + "?" + query
}
