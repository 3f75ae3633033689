//! Pages, prefixes, groups.

use imgd_proto::errors::Reason;

use super::*;

/// Walks through all pages; checks that no page but the last is empty.
async fn walk(journal: &Journal, states: &[JobState], page_size: u32) -> Vec<u32> {
    let (mut numbers, mut token) = (Vec::new(), String::new());
    loop {
        let (jobs, next) = journal.list(states, "", page_size, &token).await.unwrap();
        assert!(!jobs.is_empty());
        numbers.extend(
            jobs.iter()
                .map(|job| u32::from_str_radix(&job.id[24..], 16).unwrap()),
        );
        if next.is_empty() {
            return numbers;
        }
        token = next;
    }
}

/// Inserts jobs all at once.
async fn insert(journal: &Journal, jobs: impl Iterator<Item = Record>) {
    let answers: Vec<_> = jobs.map(|job| journal.insert(job)).collect();
    for answer in answers {
        assert_eq!(answer.await.unwrap(), Inserted::New);
    }
}

#[tokio::test]
async fn pages_hold_every_job_once_newest_first() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    insert(&journal, (0..2_500).map(|number| record(number, 1))).await;
    let all: Vec<u32> = (0..2_500).rev().collect();
    for page_size in [0, 7, 1_000] {
        assert_eq!(walk(&journal, &[], page_size).await, all);
    }
    let (first, token) = journal.list(&[], "", 0, "").await.unwrap();
    assert_eq!(first.len(), 50);
    // What comes and goes meanwhile moves no other job to another page.
    journal.insert(record(9_999, 1)).await.unwrap();
    journal.delete(&first[49].id).await.unwrap();
    let (second, _) = journal.list(&[], "", 0, &token).await.unwrap();
    assert_eq!(second[0].id, record(2_449, 1).id);
    for number in (0..2_500).step_by(100) {
        let job = ended(record(number, 1), JobState::Failed);
        journal.update(job).await.unwrap();
    }
    let failed: Vec<u32> = (0..2_500).step_by(100).rev().collect();
    assert_eq!(walk(&journal, &[JobState::Failed], 3).await, failed);
    let others = [JobState::Queued, JobState::Running];
    assert_eq!(
        walk(&journal, &others, 500).await.len(),
        2_500 - failed.len()
    );
}

#[tokio::test]
async fn a_page_of_large_jobs_is_about_a_megabyte() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let large = |number| {
        let mut job = record(number, 1);
        let prompt = Some("x".repeat(300_000));
        let image = v1::ImageVariation {
            prompt,
            ..Default::default()
        };
        Arc::make_mut(&mut job.submission).images = vec![image];
        job
    };
    insert(&journal, (0..7).map(large)).await;
    let (page, _) = journal.list(&[], "", 1_000, "").await.unwrap();
    assert_eq!(page.len(), 3);
    assert_eq!(walk(&journal, &[], 1_000).await, [6, 5, 4, 3, 2, 1, 0]);
}

#[tokio::test]
async fn pictures_come_in_order_of_index_with_what_became_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let job = record(1, 300);
    journal.insert(job.clone()).await.unwrap();
    let mut held = saved(0, 3, 10);
    held.preview = Some(v1::Preview {
        png: b"png".as_slice().into(),
        width_px: 1,
        height_px: 1,
    });
    journal.hold_image(job.clone(), held.clone()).await.unwrap();
    journal.fail_image(job.clone(), 2, problem()).await.unwrap();
    for index in (3..300).rev() {
        journal
            .finish_image(job.clone(), index, image(index, 100))
            .await
            .unwrap();
    }
    let (first, token) = journal.images(&job.id, 0, "").await.unwrap();
    assert_eq!(first.len(), 100);
    let [hold, fail, done] = &first[..3] else {
        panic!("three pictures");
    };
    assert_eq!(hold.state(), ImageState::Held);
    assert_eq!(hold.preview, held.preview);
    assert_eq!((fail.state(), fail.image_index), (ImageState::Failed, 2));
    assert_eq!(fail.problem, Some(problem()));
    assert_eq!((done.state(), done.size_bytes), (ImageState::Done, 100));
    assert_eq!(done.metadata, Some(image(3, 100).metadata));
    assert!(done.finished.is_some());
    let (rest, token) = journal.images(&job.id, 1_000, &token).await.unwrap();
    assert_eq!((rest.len(), token.as_str()), (199, ""));
    let wrong = journal.images(&job.id, 0, "wrong").await.unwrap_err();
    assert_eq!(wrong.field.as_deref(), Some("page_token"));
}

#[tokio::test]
async fn the_first_digits_name_a_job_when_no_other_begins_so() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let named = |id: &str| Record {
        id: format!("{id:f<32}"),
        ..record(1, 1)
    };
    let ids = ["abcd0", "abcd1", "ffff"];
    insert(&journal, ids.iter().map(|id| named(id))).await;
    assert_eq!(journal.get("abcd1").await.unwrap().id, named("abcd1").id);
    assert_eq!(journal.get("ffff").await.unwrap().id, named("ffff").id);
    let several = journal.get("abcd").await.unwrap_err();
    assert_eq!(several.field.as_deref(), Some("job_id"));
    let none = journal.get("abce").await.unwrap_err();
    assert_eq!(none.reason, Reason::JobNotFound);
}

#[tokio::test]
async fn one_job_of_each_key() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let keyed = |number| Record {
        submit_key: Some("mine".to_owned()),
        ..record(number, 1)
    };
    // Both in one group.
    let answers = [1, 2].map(|number| journal.insert(keyed(number)));
    let [first, second] = answers;
    assert_eq!(first.await.unwrap(), Inserted::New);
    let existed = Inserted::Existed(Box::new(keyed(1)));
    assert_eq!(second.await.unwrap(), existed);
    assert_eq!(journal.insert(keyed(1)).await.unwrap(), existed);
    let (found, _) = journal.list(&[], "mine", 0, "").await.unwrap();
    assert_eq!(found, [keyed(1)]);
    // The key is free again with its job.
    journal.delete(&keyed(1).id).await.unwrap();
    assert_eq!(journal.insert(keyed(2)).await.unwrap(), Inserted::New);
}

#[tokio::test]
async fn one_that_cannot_be_written_harms_no_other_of_its_group() {
    let directory = tempfile::tempdir().unwrap();
    let (journal, _) = open(directory.path());
    let answers: Vec<_> = (0..100)
        .map(|number| {
            let inserted = journal.insert(record(number, 1));
            let missing = journal.update(record(1_000 + number, 1));
            (inserted, missing)
        })
        .collect();
    for (inserted, missing) in answers {
        assert_eq!(inserted.await.unwrap(), Inserted::New);
        assert_eq!(missing.await.unwrap_err().reason, Reason::JobNotFound);
    }
    assert_eq!(walk(&journal, &[], 0).await.len(), 100);
}

#[test]
fn debug_output_holds_no_word_of_a_prompt() {
    let job = record(1, 1);
    let recorded = Recorded {
        record: job.clone(),
        images: Outcomes::default(),
        saved: vec![saved(0, 1, 1)],
    };
    let shown = format!(
        "{recorded:?} {:?} {:?}",
        image(1, 1),
        Inserted::Existed(Box::new(job))
    );
    assert!(!shown.contains("canary"), "{shown}");
}
