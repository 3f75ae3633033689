use std::{sync::Arc, time::Duration};

use imgd_proto::v1;
use tokio::{sync::Notify, time::timeout};

use super::{
    Event, Events, Log, Next, Watcher,
    owner::MAX_PENDING,
    ring::{MAX_BYTES, MAX_EVENTS},
};

/// Cursors of the third life of a journal.
const START: u64 = 3 << 32;

fn log() -> Log {
    Log::new(Arc::new(Notify::new()), Some(START))
}

fn owned() -> (Log, Events) {
    let log = log();
    let events = log.own();
    (log, events)
}

fn step_of(image_index: u32, index: u32) -> Event {
    Event::Step(v1::Step {
        image_index,
        index,
        ..v1::Step::default()
    })
}

fn step(index: u32) -> Event {
    step_of(0, index)
}

fn changed(state: v1::JobState, position: u32) -> Event {
    Event::Changed(Box::new(v1::Job {
        state: state.into(),
        position,
        ..v1::Job::default()
    }))
}

async fn next(watcher: &mut Watcher) -> Next {
    timeout(Duration::from_secs(5), watcher.next())
        .await
        .expect("something happens")
}

#[tokio::test]
async fn events_of_an_owner_who_does_not_read_stay_bounded_and_the_newest_survives() {
    let (log, mut events) = owned();
    for index in 1..=10_000 {
        log.push(step(index));
    }
    log.push(Event::Finished(v1::Finished::default()));
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::Step(step) = event {
            seen.push(step.index);
        }
    }
    assert_eq!(seen.len(), MAX_PENDING);
    assert_eq!(seen.last(), Some(&10_000));
}

#[tokio::test]
async fn steps_of_pictures_made_together_stay_bounded_and_in_order() {
    let (log, mut events) = owned();
    for index in 1..=5_000 {
        for image in 0..4 {
            log.push(step_of(image, index));
        }
    }
    log.push(Event::Finished(v1::Finished::default()));
    let (mut count, mut last) = (0, [0; 4]);
    while let Some(event) = events.next().await {
        if let Event::Step(step) = event {
            let before = &mut last[step.image_index as usize];
            assert!(*before < step.index, "{before} before {}", step.index);
            *before = step.index;
            count += 1;
        }
    }
    assert!(count <= MAX_PENDING, "{count}");
    assert_eq!(last, [5_000; 4]);
}

#[tokio::test]
async fn nothing_follows_the_owners_last_event() {
    let (log, mut events) = owned();
    log.push(Event::Finished(v1::Finished::default()));
    log.push(step(1));
    assert!(matches!(events.next().await, Some(Event::Finished(_))));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn an_owner_who_leaves_is_noticed() {
    let bell = Arc::new(Notify::new());
    let log = Log::new(Arc::clone(&bell), None);
    assert!(!log.is_abandoned(), "it never had one");
    let events = log.own();
    assert!(!log.is_abandoned());
    drop(events);
    bell.notified().await;
    assert!(log.is_abandoned());
}

#[tokio::test]
async fn a_scheduler_that_ends_ends_its_readers() {
    let (log, mut events) = owned();
    let mut watcher = log.watch(START);
    drop(log);
    assert!(matches!(events.next().await, Some(Event::Failed(_))));
    assert!(matches!(next(&mut watcher).await, Next::Draining));
}

#[tokio::test]
async fn watchers_see_every_event_with_growing_cursors_wherever_they_begin() {
    let log = log();
    let mut early = log.watch(START);
    for index in 1..=10 {
        log.push(step(index));
    }
    log.push(changed(v1::JobState::Succeeded, 0));
    let mut late = log.watch(START + 7);
    for (watcher, first) in [(&mut early, 1), (&mut late, 8)] {
        for index in first..=10 {
            let Next::Event(cursor, event) = next(watcher).await else {
                panic!("an event");
            };
            assert_eq!(cursor, START + u64::from(index));
            assert!(matches!(*event, Event::Step(step) if step.index == index));
        }
        let Next::Event(cursor, event) = next(watcher).await else {
            panic!("the last event");
        };
        assert!(matches!(*event, Event::Changed(job) if job.cursor == cursor));
        assert!(matches!(next(watcher).await, Next::Ended));
    }
}

#[tokio::test]
async fn a_watcher_who_falls_behind_or_knows_another_life_is_told_so() {
    let log = log();
    let mut behind = log.watch(START);
    for index in 1..=1_000 {
        log.push(step(index));
    }
    assert!(matches!(next(&mut behind).await, Next::Missed));
    for cursor in [0, 5, (2 << 32) + 900, START, START + 2_000, u64::MAX] {
        assert!(
            matches!(next(&mut log.watch(cursor)).await, Next::Missed),
            "{cursor}"
        );
    }
    behind.seek(log.cursor());
    log.push(step(1_001));
    assert!(matches!(next(&mut behind).await, Next::Event(cursor, _) if cursor == START + 1_001));
}

#[tokio::test]
async fn what_is_kept_for_watchers_is_bounded_in_events_and_bytes() {
    let log = log();
    let large = Event::Step(v1::Step {
        preview: Some(v1::Preview {
            png: vec![7; 20_000].into(),
            ..v1::Preview::default()
        }),
        ..v1::Step::default()
    });
    let kept = |log: &Log| {
        let first = log.0.lock();
        let ring = first.ring.as_ref().unwrap();
        ring.count_and_bytes()
    };
    for _ in 0..1_000 {
        log.push(step(1));
    }
    assert_eq!(kept(&log).0, MAX_EVENTS);
    for _ in 0..1_000 {
        log.push(large.clone());
    }
    let (events, bytes) = kept(&log);
    assert!(events > 1 && bytes <= MAX_BYTES, "{events} of {bytes}");
}

#[tokio::test]
async fn places_in_the_queue_replace_each_other_and_states_do_not() {
    let log = log();
    for position in (1..100).rev() {
        log.push(changed(v1::JobState::Queued, position));
    }
    log.push(changed(v1::JobState::Running, 0));
    log.push(changed(v1::JobState::Paused, 0));
    let mut watcher = log.watch(START);
    let mut seen = Vec::new();
    for _ in 0..3 {
        if let Next::Event(_, event) = next(&mut watcher).await
            && let Event::Changed(job) = *event
        {
            seen.push((job.state(), job.position));
        }
    }
    let expected = [
        (v1::JobState::Queued, 1),
        (v1::JobState::Running, 0),
        (v1::JobState::Paused, 0),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn stalled_watchers_hold_nothing_and_nobody() {
    let log = log();
    let stalled: Vec<_> = (0..50).map(|_| log.watch(START)).collect();
    let mut awake = log.watch(START);
    for index in 1..=10_000 {
        log.push(step(index));
        assert!(matches!(next(&mut awake).await, Next::Event(..)));
    }
    assert!(log.is_followed());
    drop((stalled, awake));
    assert!(!log.is_followed());
    assert!(!log.is_full() && !log.is_abandoned());
}

#[tokio::test]
async fn a_job_that_nobody_may_watch_keeps_nothing() {
    let log = Log::new(Arc::new(Notify::new()), None);
    log.push(step(1));
    assert_eq!(log.cursor(), 0);
    assert!(matches!(next(&mut log.watch(0)).await, Next::Ended));
}
