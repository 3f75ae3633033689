//! Every verb in every state.

use imgd_proto::v1::{self, JobState};

use super::{House, job, order, request};
use crate::failure::{Failure, Reason};

const STATES: [JobState; 6] = [
    JobState::Queued,
    JobState::Running,
    JobState::Paused,
    JobState::Succeeded,
    JobState::Failed,
    JobState::Cancelled,
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Verb {
    Cancel,
    Pause,
    Resume,
    Retry,
    Delete,
    ForcedDelete,
}

/// The state that a verb leads to from each of [`STATES`]; `None` where it is refused.
fn table(verb: Verb) -> [Option<JobState>; 6] {
    use JobState::{Cancelled as C, Failed as F, Paused as P, Queued as Q, Succeeded as S};
    match verb {
        Verb::Cancel => [Some(C), Some(C), Some(C), Some(S), Some(F), Some(C)],
        Verb::Pause => [Some(P), Some(P), Some(P), None, None, None],
        Verb::Resume => [None, None, Some(Q), None, None, None],
        Verb::Retry => [None, None, None, None, Some(Q), Some(Q)],
        Verb::Delete => [None, None, None, Some(S), Some(F), Some(C)],
        Verb::ForcedDelete => [Some(C), Some(C), Some(C), Some(S), Some(F), Some(C)],
    }
}

/// A job in that state.
async fn in_state(house: &House, state: JobState) -> String {
    let scheduler = &house.scheduler;
    let (prompt, steps) = match state {
        JobState::Succeeded => ("apple", 1),
        JobState::Failed => ("nan", 1),
        _ => ("pear", 1000),
    };
    let mut request = request(prompt, 1, steps);
    if state == JobState::Queued {
        // It waits behind the class of the others, and cannot share their evaluations.
        let generate = request.generate.as_mut().unwrap();
        generate.priority = v1::Priority::Background.into();
        generate.width_px = Some(128);
    }
    let id = house.submit(order(request)).await.id;
    match state {
        JobState::Queued => {}
        JobState::Paused => {
            house.until_state(&id, JobState::Running).await;
            scheduler.pause(&id).await.unwrap();
        }
        JobState::Cancelled => {
            scheduler.cancel(&id).await.unwrap();
        }
        _ => {
            house.until_state(&id, state).await;
        }
    }
    assert_eq!(scheduler.job(&id).await.unwrap().state(), state);
    id
}

async fn act(house: &House, verb: Verb, id: &str) -> Result<Option<v1::Job>, Failure> {
    let scheduler = &house.scheduler;
    match verb {
        Verb::Cancel => scheduler.cancel(id).await.map(Some),
        Verb::Pause => scheduler.pause(id).await.map(Some),
        Verb::Resume => scheduler.resume(id, Vec::new()).await.map(Some),
        Verb::Retry => scheduler.retry(id).await.map(Some),
        Verb::Delete => scheduler.delete(id, false).await.map(|()| None),
        Verb::ForcedDelete => scheduler.delete(id, true).await.map(|()| None),
    }
}

#[tokio::test]
async fn every_verb_does_what_it_may_in_every_state_and_is_refused_in_the_others() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    // Something runs all the while that gives way to the jobs in question, but not to one that is to wait.
    let mut busy = request("busy", 1, 1_000_000);
    busy.generate.as_mut().unwrap().priority = v1::Priority::Batch.into();
    let busy = house.submit(order(busy)).await.id;
    house.until_state(&busy, JobState::Running).await;
    for verb in [
        Verb::Cancel,
        Verb::Pause,
        Verb::Resume,
        Verb::Retry,
        Verb::Delete,
        Verb::ForcedDelete,
    ] {
        for (state, expected) in STATES.into_iter().zip(table(verb)) {
            let id = in_state(&house, state).await;
            let done = act(&house, verb, &id).await;
            let is_deleted = matches!(verb, Verb::Delete | Verb::ForcedDelete);
            match (done, expected) {
                (Ok(Some(job)), Some(expected)) => {
                    // What may go on may have done so.
                    let is_on = expected == JobState::Queued && job.state() == JobState::Running;
                    assert!(job.state() == expected || is_on, "{verb:?} {state:?}");
                }
                (Ok(None), Some(_)) => {
                    let gone = house.scheduler.job(&id).await.unwrap_err();
                    assert_eq!(gone.reason, Reason::JobNotFound);
                    continue;
                }
                (Err(failure), None) => {
                    assert_eq!(failure.reason, Reason::JobState, "{verb:?} {state:?}");
                    assert_eq!(house.scheduler.job(&id).await.unwrap().state(), state);
                }
                (done, expected) => panic!("{verb:?} {state:?}: {done:?}, not {expected:?}"),
            }
            assert!(!is_deleted || expected.is_none());
            house.scheduler.cancel(&id).await.unwrap();
        }
    }
    assert_eq!(
        house.scheduler.job(&busy).await.unwrap().state(),
        JobState::Running
    );
}

#[tokio::test]
async fn what_is_over_can_be_retried_and_deleted_while_its_end_is_on_its_way_to_the_disk() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    for round in 0..20 {
        let id = house.submit(order(request("nan", 1, 1))).await.id;
        // As soon as it can be seen at all.
        while house.scheduler.job(&id).await.unwrap().state() != JobState::Failed {
            tokio::task::yield_now().await;
        }
        if round % 2 == 0 {
            let retried = house.scheduler.retry(&id).await.unwrap();
            assert_eq!(retried.problem, None);
            house.scheduler.cancel(&id).await.unwrap();
        }
        house.scheduler.delete(&id, false).await.unwrap();
        let gone = house.scheduler.job(&id).await.unwrap_err();
        assert_eq!(gone.reason, Reason::JobNotFound);
    }
}

#[tokio::test]
async fn why_background_work_waits_is_told_only_while_some_does() {
    let data = tempfile::tempdir().unwrap();
    let house = House::with(data.path(), |options| {
        options.background.on_battery = true;
        // Nobody has been away for so long.
        options.background.idle = std::time::Duration::MAX;
    });
    let blocked = async || house.scheduler.snapshot().await.unwrap().background_blocked;
    assert_eq!(blocked().await, "");
    let mut waiting = request("apple", 1, 1);
    waiting.generate.as_mut().unwrap().priority = v1::Priority::Background.into();
    let id = house.submit(order(waiting)).await.id;
    assert_ne!(blocked().await, "");
    house.scheduler.cancel(&id).await.unwrap();
    assert_eq!(blocked().await, "");
}

#[tokio::test]
async fn a_cancelled_job_stops_within_a_step_and_a_paused_one_goes_on_where_it_was() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let id = house.submit(order(request("apple", 1, 40))).await.id;
    house
        .until(&id, |job| {
            job.in_flight.iter().any(|image| image.evaluations_done > 3)
        })
        .await;
    house.scheduler.pause(&id).await.unwrap();
    let parked = house.until(&id, |job| job.in_flight.is_empty()).await;
    assert_eq!(parked.state(), JobState::Paused);
    let steps = house.record.count("step apple");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(house.record.count("step apple"), steps, "it stands still");
    house.scheduler.resume(&id, Vec::new()).await.unwrap();
    house.until_state(&id, JobState::Succeeded).await;
    assert_eq!(
        house.record.count("step apple"),
        40,
        "no step was made twice"
    );
    assert_eq!(house.record.count("begin apple"), 1);

    let id = house.submit(order(request("pear", 1, 1000))).await.id;
    house.until(&id, |job| !job.in_flight.is_empty()).await;
    house.scheduler.cancel(&id).await.unwrap();
    let steps = house.record.count("step pear");
    house.submit(job("next", 1)).await;
    house.until(&id, |job| job.in_flight.is_empty()).await;
    assert!(house.record.count("step pear") <= steps + 1);
}

#[tokio::test]
async fn held_pictures_are_chosen_and_the_others_dropped() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let held = |hold| v1::SubmitJobRequest {
        hold_after_steps: hold,
        ..request("apple", 4, 3)
    };
    let id = house.submit(order(held(2))).await.id;
    let job = house.until_state(&id, JobState::Paused).await;
    assert_eq!(job.pause_reason(), v1::PauseReason::Held);
    assert_eq!((job.images_held, job.images_done), (4, 0));
    for wrong in [vec![4], vec![0, 9]] {
        let failure = house.scheduler.resume(&id, wrong).await.unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("image_indices"));
    }
    // It is held across a crash, and so is the choice.
    house.crash().await;
    let house = House::open(data.path());
    assert_eq!(
        house.until_state(&id, JobState::Paused).await.images_held,
        4
    );
    house.scheduler.resume(&id, vec![3, 1]).await.unwrap();
    house.crash().await;
    let house = House::open(data.path());
    let job = house.until_state(&id, JobState::Succeeded).await;
    assert_eq!((job.images_done, job.images_dropped), (2, 2));
    let files = house.files(&id).await;
    assert_eq!(
        files,
        [None, Some("41".to_owned()), None, Some("43".to_owned())]
    );
    assert_eq!(house.record.count("begin apple"), 0, "none began again");
}

#[tokio::test]
async fn a_retry_makes_only_what_is_missing() {
    let data = tempfile::tempdir().unwrap();
    let house = House::open(data.path());
    let variation = |prompt: &str| v1::ImageVariation {
        prompt: Some(prompt.to_owned()),
        ..v1::ImageVariation::default()
    };
    let mut asked = request("", 1, 3);
    asked.generate.as_mut().unwrap().num_images = None;
    asked.images = vec![variation("fine"), variation("nan"), variation("good")];
    let id = house.submit(order(asked)).await.id;
    for round in 1..=2 {
        let job = house.until_state(&id, JobState::Failed).await;
        assert_eq!((job.images_done, job.images_failed), (2, 1));
        assert_eq!(job.problem.unwrap().reason, "NUMERICS");
        assert_eq!(house.record.count("begin nan"), round);
        if round == 1 {
            house.scheduler.retry(&id).await.unwrap();
        }
    }
    assert_eq!(house.record.count("begin fine"), 1);
    assert_eq!(house.record.count("begin good"), 1);
}
