//! What is deleted is gone, from every file.

use super::*;

#[tokio::test]
async fn a_deleted_job_leaves_no_word_in_any_file() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let jobs: Vec<Record> = (0..20).map(|number| record(number, 4)).collect();
    for job in &jobs {
        journal.insert(job.clone()).await.unwrap();
        for index in 0..2 {
            let picture = image(index, 9_000);
            journal
                .finish_image(job.clone(), index, picture)
                .await
                .unwrap();
        }
        for evaluations in 0..3 {
            let saved = saved(2, evaluations, 40_000);
            journal.save_generation(&job.id, saved).await.unwrap();
        }
        let held = saved(3, 5, 10_000);
        journal.hold_image(job.clone(), held).await.unwrap();
    }
    assert!(!with_canary(directory.path()).is_empty());
    for job in &jobs {
        journal.delete(&job.id).await.unwrap();
    }
    assert_eq!(with_canary(directory.path()), Vec::<PathBuf>::new());
    assert_eq!(in_library(directory.path()), 0);
    let size = fs::metadata(directory.path().join("journal.db"))
        .unwrap()
        .len();
    assert!(size < 2 << 20, "the database still has {size} bytes");
    let gone = journal.get(&jobs[0].id).await.unwrap_err();
    assert_eq!(gone.reason, crate::failure::Reason::JobNotFound);
    journal.close().await.unwrap();
    assert_eq!(with_canary(directory.path()), Vec::<PathBuf>::new());
    assert_eq!(integrity(directory.path()), "ok");
}

#[tokio::test]
async fn pictures_of_equal_bytes_are_one_file_until_the_last_goes() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    for number in [1, 2] {
        let job = record(number, 2);
        journal.insert(job.clone()).await.unwrap();
        for index in [0, 1] {
            journal
                .finish_image(job.clone(), index, image(9, 5_000))
                .await
                .unwrap();
        }
    }
    assert_eq!(in_library(directory.path()), 2);
    journal.delete(&record(1, 2).id).await.unwrap();
    assert_eq!(in_library(directory.path()), 2);
    let left = journal.picture(&record(2, 2).id, 1, false).await.unwrap();
    assert_eq!(left.0, image(9, 5_000).bytes);
    journal.delete(&record(2, 2).id).await.unwrap();
    assert_eq!(in_library(directory.path()), 0);
}
