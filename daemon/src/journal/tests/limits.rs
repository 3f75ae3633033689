//! Limits: what has ended goes, oldest end first; what goes on stays.

use super::*;

fn within(max_images: u64, max_bytes: u64, max_age: Option<Duration>) -> Limits {
    Limits {
        max_images,
        max_age,
        max_bytes,
    }
}

/// Ends jobs of one picture of 4,000 bytes each, in this order.
async fn end(journal: &Journal, numbers: &[u32]) {
    for &number in numbers {
        let mut job = record(number, 1);
        journal.insert(job.clone()).await.unwrap();
        job.images_done = 1;
        let job = ended(job, JobState::Succeeded);
        journal
            .finish_image(job, 0, image(number, 4_000))
            .await
            .unwrap();
    }
}

/// Waits until these jobs are left, newest first: old ones go when nothing else is to do.
async fn assert_left(journal: &Journal, expected: &[u32]) {
    let mut left = Vec::new();
    for _ in 0..1_000 {
        let (jobs, _) = journal.list(&[], "", 1_000, "").await.unwrap();
        let number = |job: &Record| u32::from_str_radix(&job.id[24..], 16).unwrap();
        left = jobs.iter().map(number).collect();
        if left == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(left, expected);
}

/// Waits until so many files are left.
async fn assert_files(directory: &Path, expected: usize) {
    for _ in 0..1_000 {
        if in_library(directory) == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(in_library(directory), expected);
}

#[tokio::test]
async fn the_oldest_ends_go_first_and_unfinished_jobs_never() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path(), within(3, 0, None)).unwrap();
    journal.insert(record(50, 1)).await.unwrap();
    end(&journal, &[4, 1, 3, 2]).await;
    assert_left(&journal, &[2, 3, 1, 50]).await;
    assert_files(directory.path(), 6).await;
    // A job without pictures counts as one.
    let failed = ended(record(9, 1), JobState::Failed);
    journal.insert(failed).await.unwrap();
    assert_left(&journal, &[9, 2, 3, 50]).await;
    let statistics = journal.statistics().await.unwrap();
    assert_eq!((statistics.jobs, statistics.images), (4, 2));
    assert!(statistics.size_bytes > 8_000);
}

#[tokio::test]
async fn bytes_are_limited_and_the_last_end_stays_whatever_it_weighs() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(directory.path(), within(0, 9_000, None)).unwrap();
    end(&journal, &[1, 2, 3]).await;
    assert_left(&journal, &[3, 2]).await;
    let large = ended(record(4, 1), JobState::Succeeded);
    journal.insert(record(4, 1)).await.unwrap();
    journal
        .finish_image(large, 0, image(4, 50_000))
        .await
        .unwrap();
    assert_left(&journal, &[4]).await;
    assert_files(directory.path(), 2).await;
}

#[tokio::test]
async fn lower_limits_hold_from_the_next_start_on() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let numbers: Vec<u32> = (0..200).collect();
    end(&journal, &numbers).await;
    journal.close().await.unwrap();
    let (journal, _) = Journal::open(directory.path(), within(5, 0, None)).unwrap();
    assert_left(&journal, &[199, 198, 197, 196, 195]).await;
    assert_files(directory.path(), 10).await;
    journal.close().await.unwrap();
    assert_eq!(integrity(directory.path()), "ok");
}

#[tokio::test]
async fn age_counts_from_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3_600);
    let (journal, _) = Journal::open(directory.path(), within(0, 0, Some(hour))).unwrap();
    let mut old = ended(record(1, 1), JobState::Cancelled);
    old.finished = SystemTime::now().checked_sub(2 * hour);
    journal.insert(old).await.unwrap();
    end(&journal, &[2]).await;
    assert_left(&journal, &[2]).await;
}

#[test]
fn a_clock_that_jumps_ahead_deletes_nothing_for_an_hour() {
    let directory = tempfile::tempdir().unwrap();
    let (connection, _) = database::open(&directory.path().join("journal.db")).unwrap();
    let written = ended(record(1, 1), JobState::Succeeded);
    jobs::insert(&connection, &written).unwrap();
    let day = Duration::from_secs(86_400);
    let (wall, now) = (SystemTime::now(), Instant::now());
    let limits = within(0, 0, Some(7 * day));
    let doomed = |wall, latest| {
        let mut retention = Retention::new(limits, Some(latest), (wall, now));
        let mut later = |after: Duration| {
            let then = (wall + after, now + after);
            retention.doomed(&connection, then).unwrap().len()
        };
        [later(Duration::ZERO), later(day / 24)]
    };
    assert_eq!(doomed(wall + 3_650 * day, wall), [0, 1]);
    // Ten days later is no jump, and ten years earlier nothing is old.
    assert_eq!(doomed(wall + 10 * day, wall), [1, 1]);
    assert_eq!(doomed(wall - 3_650 * day, wall), [0, 0]);
}
