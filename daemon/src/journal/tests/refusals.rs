//! Databases that are not opened, and stay byte for byte as they are.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

use imgd_proto::errors::{Failure, Reason};

use super::*;

/// Every file but the lock, with its bytes.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(directory)
        .into_iter()
        .filter(|path| !path.ends_with("lock"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// Opens a journal that must be refused, and not be touched by that.
fn refused(directory: &Path) -> Failure {
    let before = contents(directory);
    let error = Journal::open(directory, Limits::default()).unwrap_err();
    assert_eq!(contents(directory), before, "{error} changed a file");
    let failure = Failure::from(error);
    assert_eq!(failure.reason, Reason::JournalInvalid, "{failure}");
    assert_eq!(failure.reason.exit_code(), 78);
    let file = directory.join("journal.db");
    assert_eq!(failure.file.as_deref(), file.to_str());
    assert!(
        failure
            .hint
            .as_deref()
            .is_some_and(|hint| hint.contains("move"))
    );
    failure
}

/// A closed journal with a few jobs and pictures.
async fn filled(directory: &Path) {
    let (journal, _) = open(directory);
    for number in 0..40 {
        let job = record(number, 2);
        journal.insert(job.clone()).await.unwrap();
        journal
            .finish_image(job.clone(), 0, image(number, 1_000))
            .await
            .unwrap();
        journal
            .save_generation(&job.id, saved(1, 1, 9_000))
            .await
            .unwrap();
    }
    journal.close().await.unwrap();
}

fn change(directory: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(directory.join("journal.db")).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_newer_database_is_left_for_the_newer_program() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    change(directory.path(), "PRAGMA user_version = 2");
    let failure = refused(directory.path());
    assert!(failure.message.contains("newer imgd"), "{failure}");
    assert!(failure.hint.unwrap().contains("use that imgd"));
}

#[tokio::test]
async fn a_newer_version_that_only_the_log_has_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    // A copy of the files of a connection that is still open: what a kill would leave.
    let connection = rusqlite::Connection::open(directory.path().join("journal.db")).unwrap();
    connection.execute_batch("PRAGMA user_version = 2").unwrap();
    let killed = tempfile::tempdir().unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        fs::copy(directory.path().join(name), killed.path().join(name)).unwrap();
    }
    drop(connection);
    let header = fs::read(killed.path().join("journal.db")).unwrap();
    assert_eq!(header[60..64], [0, 0, 0, 1], "the log was applied already");
    fs::create_dir(killed.path().join("library")).unwrap();
    assert!(refused(killed.path()).message.contains("newer imgd"));
}

#[tokio::test]
async fn files_of_others_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("journal.db");
    for bytes in [&b""[..], b"a diary", &[0; 5_000]] {
        fs::write(&file, bytes).unwrap();
        assert!(refused(directory.path()).message.contains("no SQLite"));
    }
    fs::remove_file(&file).unwrap();
    change(directory.path(), "CREATE TABLE theirs (a)");
    assert!(
        refused(directory.path())
            .message
            .contains("another program")
    );
}

#[tokio::test]
async fn a_shortened_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let file = directory.path().join("journal.db");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert!(refused(directory.path()).message.contains("damaged"));
}

#[tokio::test]
async fn flipped_bytes_are_refused_or_do_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    let file = directory.path().join("journal.db");
    let sound = fs::read(&file).unwrap();
    let (mut seed, mut refusals) = (1_u32, 0);
    for round in 0..60 {
        let mut damaged = sound.clone();
        // Several in one page, the first of which is behind the header.
        let mut flip = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize
        };
        let page = flip() % (sound.len() / 4_096) * 4_096;
        // Every other time where the page says what is in it.
        let reach = if round % 2 == 0 { 3_900 } else { 60 };
        for _ in 0..8 {
            damaged[page.max(100) + flip() % reach] ^= 0x5a;
        }
        let copy = tempfile::tempdir().unwrap();
        fs::write(copy.path().join("journal.db"), &damaged).unwrap();
        match Journal::open(copy.path(), Limits::default()) {
            Err(error) => {
                assert_eq!(Failure::from(error).reason, Reason::JournalInvalid);
                let after = fs::read(copy.path().join("journal.db")).unwrap();
                assert!(after == damaged, "the damaged file was changed");
                refusals += 1;
            }
            // Bytes inside a value: SQLite cannot know.
            Ok((journal, _)) => {
                drop(journal.list(&[], "", 1_000, "").await);
                journal.close().await.unwrap();
            }
        }
    }
    assert!(refusals > 10, "{refusals} of 60 were noticed");
}

#[tokio::test]
async fn a_generation_whose_bytes_changed_begins_again() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    change(
        directory.path(),
        "UPDATE generation SET state = zeroblob(9010) WHERE job = 2",
    );
    let (_journal, recovered) = open(directory.path());
    let saved: Vec<usize> = recovered.jobs.iter().map(|job| job.saved.len()).collect();
    assert_eq!(saved[..4], [1, 0, 1, 1]);
}

#[tokio::test]
async fn one_daemon_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let error = Journal::open(directory.path(), Limits::default()).unwrap_err();
    assert!(
        matches!(error, OpenError::Busy { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    assert_eq!(Failure::from(error).reason.exit_code(), 75);
    journal.close().await.unwrap();
    open(directory.path());
}

#[tokio::test]
async fn what_a_moved_database_leaves_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path()).await;
    fs::remove_file(directory.path().join("journal.db")).unwrap();
    fs::write(directory.path().join("journal.db-wal"), "old").unwrap();
    let (journal, recovered) = open(directory.path());
    assert_eq!((recovered.life, in_library(directory.path())), (1, 0));
    journal.close().await.unwrap();
    open(directory.path());
    assert_eq!(files(&directory.path().join("library.stray-1")).len(), 80);
    let log = directory.path().join("journal.db-wal.stray");
    assert_eq!(fs::read(log).unwrap(), b"old");
}

#[tokio::test]
async fn nobody_else_can_look_inside() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("a b%20?#").join("data");
    filled(&place).await;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    let (journal, _) = open(&place);
    journal.insert(record(99, 1)).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let all = files(&place);
    assert!(all.iter().any(|path| path.ends_with("journal.db-wal")));
    for file in all {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        assert_eq!(mode(file.parent().unwrap()), 0o700);
    }
}
