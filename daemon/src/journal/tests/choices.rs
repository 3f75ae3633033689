//! Pictures that are held, chosen, dropped, failed, and made after all.

use super::*;

#[tokio::test]
async fn held_pictures_go_on_or_are_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let mut job = record(1, 4);
    journal.insert(job.clone()).await.unwrap();
    for index in 0..4 {
        journal
            .save_generation(&job.id, saved(index, 2, 100))
            .await
            .unwrap();
        job.images_held += 1;
        journal
            .hold_image(job.clone(), saved(index, 5, 100))
            .await
            .unwrap();
    }
    job.state = JobState::Paused;
    job.pause_reason = v1::PauseReason::Held;
    journal.update(job.clone()).await.unwrap();
    journal.close().await.unwrap();

    let (journal, recovered) = open(directory.path());
    let [found] = &recovered.jobs[..] else {
        panic!("one job");
    };
    assert_eq!(found.record, job);
    assert_eq!(found.images.count(ImageState::Held), 4);
    // They may be thousands: each is read when it is wanted.
    assert!(found.saved.is_empty());
    let held = journal.saved(&job.id, 2).await.unwrap();
    assert_eq!(held, Some(saved(2, 5, 100)));
    (job.images_held, job.images_dropped) = (0, 2);
    job.state = JobState::Queued;
    journal
        .choose_images(job.clone(), vec![1, 3], vec![0, 2])
        .await
        .unwrap();
    assert_eq!(journal.saved(&job.id, 2).await.unwrap(), None);
    journal.close().await.unwrap();

    let (journal, recovered) = open(directory.path());
    let found = &recovered.jobs[0];
    assert_eq!(found.saved, [saved(1, 5, 100), saved(3, 5, 100)]);
    let states: Vec<_> = found.images.iter().collect();
    assert_eq!(states, [(0, ImageState::Dropped), (2, ImageState::Dropped)]);
    journal
        .finish_image(job.clone(), 3, image(3, 500))
        .await
        .unwrap();
    assert_eq!(journal.saved(&job.id, 3).await.unwrap(), None);
}

#[tokio::test]
async fn a_retry_makes_what_failed_and_goes_on_with_what_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let job = record(1, 4);
    journal.insert(job.clone()).await.unwrap();
    journal
        .finish_image(job.clone(), 0, image(0, 500))
        .await
        .unwrap();
    journal
        .hold_image(job.clone(), saved(1, 5, 100))
        .await
        .unwrap();
    journal
        .save_generation(&job.id, saved(2, 3, 100))
        .await
        .unwrap();
    journal
        .save_generation(&job.id, saved(3, 3, 100))
        .await
        .unwrap();
    let failed = ended(job.clone(), JobState::Failed);
    journal.fail_image(failed, 3, problem()).await.unwrap();
    // In flight when it ended: made again from the beginning.
    assert_eq!(journal.saved(&job.id, 2).await.unwrap(), None);
    assert!(journal.saved(&job.id, 1).await.unwrap().is_some());
    journal.reopen(job.clone()).await.unwrap();
    let states: Vec<_> = journal.outcomes(&job.id).await.unwrap().iter().collect();
    assert_eq!(states, [(0, ImageState::Done), (1, ImageState::Held)]);
    journal.close().await.unwrap();
    let (_journal, recovered) = open(directory.path());
    assert_eq!(recovered.jobs[0].record.state, JobState::Queued);
    assert_eq!(recovered.jobs[0].record.images_failed, 0);
}

#[tokio::test]
async fn a_picture_is_finished_once() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let job = record(1, 1);
    journal.insert(job.clone()).await.unwrap();
    for number in [1, 2] {
        journal
            .finish_image(job.clone(), 0, image(number, 500))
            .await
            .unwrap();
    }
    journal.fail_image(job.clone(), 0, problem()).await.unwrap();
    let (bytes, _) = journal.picture(&job.id, 0, false).await.unwrap();
    assert_eq!(bytes, image(1, 500).bytes);
    // A late save of it is no generation in flight at the next start, and the second file belongs to nobody.
    journal
        .save_generation(&job.id, saved(0, 9, 10))
        .await
        .unwrap();
    journal.close().await.unwrap();
    let (_journal, recovered) = open(directory.path());
    assert!(recovered.jobs[0].saved.is_empty());
    assert_eq!(in_library(directory.path()), 2);
}

#[tokio::test]
async fn pictures_whose_files_are_gone_or_damaged_are_not_handed_out() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let job = record(1, 3);
    journal.insert(job.clone()).await.unwrap();
    for index in 0..2 {
        journal
            .finish_image(job.clone(), index, image(index, 500))
            .await
            .unwrap();
    }
    let library = directory.path().join("library");
    let pictures: Vec<_> = files(&library)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "png"))
        .collect();
    for path in &pictures {
        fs::write(path, "damaged").unwrap();
    }
    let damaged = journal.picture(&job.id, 0, false).await.unwrap_err();
    assert_eq!(damaged.reason, crate::failure::Reason::JournalFailed);
    assert!(damaged.file.is_some());
    // The same bytes again repair it.
    journal
        .finish_image(job.clone(), 2, image(0, 500))
        .await
        .unwrap();
    let (bytes, _) = journal.picture(&job.id, 0, false).await.unwrap();
    assert_eq!(bytes, image(0, 500).bytes);
    let missing = journal.picture(&job.id, 7, false).await.unwrap_err();
    assert_eq!(missing.reason, crate::failure::Reason::ImageNotFound);
    for path in &pictures {
        fs::remove_file(path).unwrap();
    }
    let gone = journal.picture(&job.id, 1, false).await.unwrap_err();
    assert_eq!(gone.reason, crate::failure::Reason::ImageNotFound);
    journal.close().await.unwrap();
    // A job that goes on makes them again.
    let (_journal, recovered) = open(directory.path());
    assert_eq!(recovered.jobs[0].images, Outcomes::default());
    assert_eq!(recovered.jobs[0].record.images_done, 0);
}

#[tokio::test]
async fn measurements_are_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let point = |batch_size, seconds| CurvePoint {
        model_hash: "a".to_owned(),
        width_px: 128,
        height_px: 64,
        is_guided: true,
        threads: 2,
        build_id: "b".to_owned(),
        batch_size,
        seconds,
    };
    let points = vec![point(1, 0.5), point(2, 0.9)];
    journal.curve(points).await.unwrap();
    journal.curve(vec![point(1, 0.4)]).await.unwrap();
    journal.close().await.unwrap();
    let (_journal, recovered) = open(directory.path());
    assert_eq!(recovered.curves, [point(2, 0.9), point(1, 0.4)]);
}
