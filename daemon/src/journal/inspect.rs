//! A look at a database before it is touched.
//!
//! The file is read as a file first, while no connection of ours has it: closing it then would free SQLite's locks.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use rusqlite::{
    Connection,
    ErrorCode::{DatabaseCorrupt, NotADatabase},
    OpenFlags,
    config::DbConfig,
};

use super::{
    database::{PATIENCE, beside, remove},
    open_error::OpenError,
    schema::{APPLICATION_ID, MIGRATIONS},
};

/// Refuses a file that is not ours, newer than we are, or damaged; leaves it as it is.
pub(super) fn inspect(file: &Path) -> Result<(), OpenError> {
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
    let newer = |version: i32| {
        let ours = MIGRATIONS.len();
        let why = format!("is of a newer imgd: its version is {version}, this imgd's {ours}");
        let remedy = format!("use that imgd again, or {away} without its jobs");
        invalid(why, remedy)
    };
    let is_newer =
        |version: i32| usize::try_from(version).is_ok_and(|version| version > MIGRATIONS.len());
    // What a newer imgd calls sound may look damaged here.
    if is_newer(number(60)) {
        return Err(newer(number(60)));
    }
    let version = match checked_version(file) {
        Ok(Ok(version)) => version,
        Ok(Err(damage)) => return Err(invalid(format!("is damaged: {damage}"), away)),
        // What is not SQLite's own finding, such as memory or permissions.
        Err(error) => return Err(OpenError::sqlite("read", file)(error)),
    };
    if is_newer(version) {
        return Err(newer(version));
    }
    if version < 1 {
        return Err(invalid(
            format!("is damaged: its version is {version}"),
            away,
        ));
    }
    Ok(())
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

/// The file as SQLite takes it with options.
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
