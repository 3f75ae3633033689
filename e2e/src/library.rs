//! What lies in a daemon's data folder, read without the daemon's help.
//!
//! The database is the file that begins as SQLite's do; everything else beside it, but for its companions, the lock and
//! the room kept for a full disk, is a picture, a thumbnail or rubbish.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use sha2::{Digest as _, Sha256};

const MAGIC: &[u8] = b"SQLite format 3\0";

/// What was found in a data folder.
#[derive(Debug, Default)]
pub struct Library {
    /// The databases.
    pub databases: Vec<PathBuf>,
    /// Every other file with its SHA-256 in hex, without SQLite's own companions and empty files such as locks.
    pub blobs: BTreeMap<PathBuf, String>,
    /// Bytes of all files.
    pub size_bytes: u64,
}

impl Library {
    /// Reads a data folder; one that is not there is empty. Files that vanish meanwhile are left out.
    pub fn read(data: &Path) -> io::Result<Self> {
        let mut library = Self::default();
        for path in files(data) {
            let Ok(bytes) = fs::read(&path) else { continue };
            library.size_bytes += bytes.len() as u64;
            if bytes.starts_with(MAGIC) {
                library.databases.push(path);
            } else if !bytes.is_empty() && !is_companion(&path) {
                library.blobs.insert(path, sha256(&bytes));
            }
        }
        Ok(library)
    }

    /// Files whose name is that of unfinished work.
    pub fn leftovers(&self) -> Vec<&Path> {
        let is_temporary = |path: &&PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.contains("tmp") || name.contains("part") || name.starts_with('.')
        };
        let paths = self.blobs.keys().filter(is_temporary);
        paths.map(PathBuf::as_path).collect()
    }
}

/// Bytes of all files below a folder, as the files say, without reading them.
pub fn size_bytes(data: &Path) -> u64 {
    let sizes = files(data).into_iter();
    sizes
        .filter_map(|path| Some(fs::metadata(path).ok()?.len()))
        .sum()
}

/// Checks every database of a data folder as SQLite does: integrity and foreign keys. Nobody may write meanwhile.
/// Returns how many databases there were, or what is wrong.
pub fn check(data: &Path) -> Result<usize, String> {
    each_database(data, |connection| {
        let answer: String =
            connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        let broken: i64 =
            connection.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| {
                row.get(0)
            })?;
        Ok((answer, broken))
    })?
    .into_iter()
    .map(|(answer, broken)| match (answer.as_str(), broken) {
        ("ok", 0) => Ok(()),
        ("ok", _) => Err(format!("{broken} rows point nowhere")),
        _ => Err(answer),
    })
    .collect::<Result<Vec<()>, _>>()
    .map(|databases| databases.len())
}

/// Rows of a table in all databases of a data folder. Nobody may write meanwhile.
pub fn rows(data: &Path, table: &str) -> Result<i64, String> {
    let count = format!("SELECT count(*) FROM {table}");
    let counts = each_database(data, |connection| {
        connection.query_row(&count, [], |row| row.get::<_, i64>(0))
    })?;
    Ok(counts.into_iter().sum())
}

/// Asks a copy of each database, so that looking changes nothing: recovery from the log is left to the daemon.
fn each_database<T>(
    data: &Path,
    ask: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> Result<Vec<T>, String> {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let copy = scratch.path().join("copy.db");
    let mut answers = Vec::new();
    for database in files(data).into_iter().filter(|path| is_database(path)) {
        for companion in ["", "-wal"] {
            let (from, to) = (
                with_suffix(&database, companion),
                with_suffix(&copy, companion),
            );
            if from.exists() {
                fs::copy(&from, &to).map_err(|error| error.to_string())?;
            }
        }
        let answer = Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .and_then(|connection| ask(&connection));
        answers.push(answer.map_err(|error| format!("{}: {error}", database.display()))?);
        for companion in ["", "-wal", "-shm"] {
            // what is not there need not be removed
            fs::remove_file(with_suffix(&copy, companion)).ok();
        }
    }
    Ok(answers)
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found.sort();
    found
}

fn is_database(path: &Path) -> bool {
    use io::Read as _;
    let mut start = [0; MAGIC.len()];
    fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut start))
        .is_ok_and(|()| start == MAGIC)
}

/// SQLite's log and its index beside a database, the daemon's lock, and the room it keeps for a full disk.
fn is_companion(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ["-wal", "-shm", "-journal", "lock", "reserve"]
        .iter()
        .any(|suffix| name.ends_with(suffix))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(folder: &Path) -> PathBuf {
        let path = folder.join("journal.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("CREATE TABLE t (x); INSERT INTO t SELECT hex(randomblob(4000)) FROM (SELECT 1 UNION SELECT 2)")
            .unwrap();
        path
    }

    #[test]
    fn a_whole_database_passes_and_a_damaged_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = database(folder.path());
        assert_eq!(check(folder.path()), Ok(1));
        assert_eq!(rows(folder.path(), "t"), Ok(2));
        let mut bytes = fs::read(&path).unwrap();
        let middle = 4096 + 3;
        bytes[middle] ^= 0xff;
        fs::write(&path, bytes).unwrap();
        assert!(check(folder.path()).is_err());
    }

    #[test]
    fn blobs_leftovers_and_companions_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        database(folder.path());
        for (name, content) in [
            ("ab", "x"),
            ("ab.tmp", "y"),
            ("journal.db-wal", "z"),
            ("lock", ""),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let library = Library::read(folder.path()).unwrap();
        assert_eq!(library.databases.len(), 1);
        assert_eq!(library.blobs.len(), 2);
        assert_eq!(library.leftovers(), [folder.path().join("ab.tmp")]);
    }
}
