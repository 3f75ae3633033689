//! What was written is found again: in this life and in the next.

use super::*;

#[tokio::test]
async fn a_job_is_what_it_was_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, recovered) = open(directory.path());
    assert_eq!((recovered.life, recovered.jobs.len()), (1, 0));
    let mut job = record(1, 10_000);
    assert_eq!(journal.insert(job.clone()).await.unwrap(), Inserted::New);
    job.state = JobState::Running;
    job.started = Some(UNIX_EPOCH + Duration::from_micros(1_700_000_001_000_001));
    job.timings.loading = Some(prost_types::Duration {
        seconds: 3,
        nanos: 5,
    });
    job.worker_deaths = 1;
    journal.update(job.clone()).await.unwrap();
    for index in [0, 1, 2, 4] {
        job.images_done += 1;
        journal
            .finish_image(job.clone(), index, image(index, 3_000))
            .await
            .unwrap();
    }
    job.images_failed = 1;
    journal.fail_image(job.clone(), 3, problem()).await.unwrap();
    for evaluations in 1..4 {
        let saved = saved(5, evaluations, 50_000);
        journal.save_generation(&job.id, saved).await.unwrap();
    }
    assert_eq!(journal.get(&job.id).await.unwrap(), job);
    journal.close().await.unwrap();
    assert!(journal.get(&job.id).await.is_err());

    let (journal, recovered) = open(directory.path());
    assert_eq!(recovered.life, 2);
    let found = &recovered.jobs[0];
    assert_eq!(found.record, job);
    assert_eq!(found.saved, [saved(5, 3, 50_000)]);
    let runs: Vec<_> = found.images.runs().to_vec();
    let run = |first, count, state| Run {
        first,
        count,
        state,
    };
    assert_eq!(
        runs,
        [
            run(0, 3, ImageState::Done),
            run(3, 1, ImageState::Failed),
            run(4, 1, ImageState::Done)
        ]
    );
    let (bytes, metadata) = journal.picture(&job.id, 4, false).await.unwrap();
    assert_eq!(bytes, image(4, 3_000).bytes);
    assert_eq!(metadata, image(4, 3_000).metadata);
    let (bytes, _) = journal.picture(&job.id, 4, true).await.unwrap();
    assert_eq!(bytes, image(4, 3_000).thumbnail);
    journal.close().await.unwrap();
    assert_eq!(integrity(directory.path()), "ok");
}
