//! Who shares an evaluation, and what is saved, held and put away around it.

use std::time::{Duration, Instant};

use super::{begin, job, known, resident, state};
use crate::{
    engine::{GenerationId, ModelKey},
    fake_engine::model,
    queue::{
        Background, Class, ClientId, Group, Job, JobId, Progress, SecondPass, State, Tick, pick,
    },
};

const SMALL: Group = Group {
    width_px: 64,
    height_px: 64,
    is_guided: false,
    adapters: 0,
};

/// A state with a resident model whose evaluations take `seconds` for 1, 2, 3 and 4 generations.
fn measured(now: Instant, seconds: [f64; 4]) -> (State, ModelKey) {
    let key = model("m");
    let mut state = state(now);
    known(&mut state, &key, 10);
    state.loaded(resident(&key, now, 300), Duration::ZERO);
    for (generations, seconds) in (1..).zip(seconds) {
        for _ in 0..2 {
            state.curves.measured(&key, SMALL, generations, seconds);
        }
    }
    (state, key)
}

/// Twice as fast together as alone.
const CHEAP: [f64; 4] = [1.0, 1.1, 1.2, 1.3];

/// Nothing is gained.
const DEAR: [f64; 4] = [1.0, 2.0, 3.0, 4.0];

fn add(state: &mut State, id: u64, key: &ModelKey, class: Class, client: u32, images: u32) {
    state.add(Job {
        class,
        client: ClientId(client),
        images_left: images,
        ..job(id, key)
    });
}

fn step(generations: &[u64]) -> Tick {
    Tick::Step(generations.iter().map(|id| GenerationId(*id)).collect())
}

#[test]
fn pictures_of_any_job_and_client_are_begun_until_as_many_as_pay_share() {
    let now = Instant::now();
    let (mut state, key) = measured(now, CHEAP);
    add(&mut state, 1, &key, Class::Interactive, 1, 2);
    add(&mut state, 2, &key, Class::Interactive, 2, 1);
    assert_eq!(pick(&state, now), Tick::Begin(JobId(1)));
    begin(&mut state, 1, 7);
    assert_eq!(
        pick(&state, now),
        Tick::Begin(JobId(2)),
        "the other client is next"
    );
    begin(&mut state, 2, 8);
    assert_eq!(pick(&state, now), Tick::Begin(JobId(1)));
    begin(&mut state, 1, 9);
    assert_eq!(pick(&state, now), step(&[7, 8, 9]));
}

#[test]
fn where_sharing_does_not_pay_one_goes_after_the_other() {
    let now = Instant::now();
    let (mut state, key) = measured(now, DEAR);
    add(&mut state, 1, &key, Class::Interactive, 1, 4);
    begin(&mut state, 1, 7);
    assert_eq!(pick(&state, now), step(&[7]));
}

#[test]
fn memory_limits_how_many_share() {
    let now = Instant::now();
    let (mut state, key) = measured(now, CHEAP);
    state.known.get_mut(&key).unwrap().working_bytes_per_pixel = 1;
    state.available_bytes = 3 * 64 * 64;
    add(&mut state, 1, &key, Class::Interactive, 1, 4);
    for generation in [7, 8] {
        assert_eq!(pick(&state, now), Tick::Begin(JobId(1)));
        begin(&mut state, 1, generation);
    }
    // What is in flight holds a little, and so a third has no room.
    assert_eq!(pick(&state, now), step(&[7, 8]));
}

#[test]
fn what_differs_in_size_model_or_guidance_does_not_share() {
    let now = Instant::now();
    let (mut state, key) = measured(now, CHEAP);
    add(&mut state, 1, &key, Class::Interactive, 1, 1);
    begin(&mut state, 1, 7);
    add(&mut state, 2, &key, Class::Interactive, 1, 1);
    begin(&mut state, 2, 8);
    assert_eq!(pick(&state, now), step(&[7, 8]));
    state.jobs[1].images[0].group = Some(Group {
        is_guided: true,
        ..SMALL
    });
    assert_eq!(pick(&state, now), step(&[7]));
    state.jobs[1].images[0].group = Some(SMALL);
    state.jobs[1].model = model("other");
    assert_eq!(pick(&state, now), step(&[7]));
}

#[test]
fn a_second_pass_shares_with_pictures_of_its_own_size() {
    let now = Instant::now();
    let (mut state, key) = measured(now, CHEAP);
    let large = Group {
        width_px: 96,
        ..SMALL
    };
    for generations in 1..=4 {
        for _ in 0..2 {
            let seconds = CHEAP[generations as usize - 1];
            state.curves.measured(&key, large, generations, seconds);
        }
    }
    for (id, generation) in [(1, 7), (2, 8)] {
        add(&mut state, id, &key, Class::Interactive, 1, 1);
        begin(&mut state, id, generation);
    }
    let image = &mut state.jobs[0].images[0];
    image.second = Some(SecondPass {
        after: 1,
        group: large,
    });
    assert_eq!(pick(&state, now), step(&[7, 8]));
    let made = |generation, evaluations_done| Progress {
        generation: GenerationId(generation),
        evaluations_done,
        inference_step: evaluations_done,
        is_done: false,
    };
    state.stepped(&[made(7, 1), made(8, 1)], now);
    assert_eq!(pick(&state, now), step(&[7]), "one is larger now");
    // Nobody begins to share what those who begin cannot share.
    add(&mut state, 3, &key, Class::Interactive, 1, 1);
    assert_eq!(pick(&state, now), step(&[7]));
    state.jobs.truncate(2);
    let image = &mut state.jobs[1].images[0];
    image.group = Some(large);
    assert_eq!(pick(&state, now), step(&[7, 8]));
    let image = &mut state.jobs[0].images[0];
    assert_eq!((image.group, image.second), (Some(large), None));
    image.advance(2);
    assert_eq!(image.work_left(0), large.work(1));
}

#[test]
fn what_is_left_of_both_passes_is_what_is_charged() {
    let now = Instant::now();
    let (mut state, key) = measured(now, CHEAP);
    add(&mut state, 1, &key, Class::Interactive, 1, 1);
    begin(&mut state, 1, 7);
    let image = &mut state.jobs[0].images[0];
    let large = Group {
        width_px: 128,
        ..SMALL
    };
    image.second = Some(SecondPass {
        after: 1,
        group: large,
    });
    assert_eq!(image.work_left(1), SMALL.work(1) + large.work(3));
    image.advance(1);
    assert_eq!(image.work_left(1), large.work(3));
}

#[test]
fn less_urgent_pictures_come_along_only_where_they_slow_nobody() {
    let now = Instant::now();
    for (seconds, together) in [([1.0, 1.04, 1.2, 1.3], &[7, 8][..]), (CHEAP, &[7][..])] {
        let (mut state, key) = measured(now, seconds);
        add(&mut state, 1, &key, Class::Interactive, 1, 1);
        add(&mut state, 2, &key, Class::Batch, 2, 5);
        begin(&mut state, 1, 7);
        begin(&mut state, 2, 8);
        assert_eq!(
            pick(&state, now),
            step(together),
            "and none is begun for it"
        );
    }
}

#[test]
fn somebody_who_cannot_share_is_not_held_up_by_those_who_can() {
    let now = Instant::now();
    let (mut state, key) = measured(now, CHEAP);
    add(&mut state, 1, &key, Class::Interactive, 1, 2);
    begin(&mut state, 1, 7);
    begin(&mut state, 1, 8);
    assert_eq!(pick(&state, now), step(&[7, 8]));
    state.add(Job {
        width_px: Some(128),
        client: ClientId(2),
        ..job(2, &key)
    });
    // The second picture of the first client comes after the other client's, and would slow it.
    assert_eq!(pick(&state, now), step(&[7]));
}

#[test]
fn a_suspect_is_alone_until_it_is_past_the_evaluation() {
    let now = Instant::now();
    let (mut state, key) = measured(now, CHEAP);
    add(&mut state, 1, &key, Class::Interactive, 1, 3);
    begin(&mut state, 1, 7);
    begin(&mut state, 1, 8);
    begin(&mut state, 1, 9);
    state.jobs[0].images[0].alone_until = 1;
    assert_eq!(pick(&state, now), step(&[7]));
    state.jobs[0].images[0].evaluations_done = 1;
    state.jobs[0].images[1].alone_until = 2;
    assert_eq!(pick(&state, now), step(&[7, 9]));
}

#[test]
fn a_save_that_is_due_comes_before_the_next_evaluation_but_after_a_persons_first() {
    let now = Instant::now();
    let (mut state, key) = measured(now, DEAR);
    add(&mut state, 1, &key, Class::Interactive, 1, 1);
    begin(&mut state, 1, 7);
    state.save_due(GenerationId(7), true);
    assert_eq!(pick(&state, now), step(&[7]));
    let progress = Progress {
        generation: GenerationId(7),
        evaluations_done: 1,
        inference_step: 1,
        is_done: false,
    };
    state.stepped(&[progress], now);
    assert_eq!(pick(&state, now), Tick::Save(GenerationId(7)));
    state.save_due(GenerationId(7), false);
    assert_eq!(pick(&state, now), step(&[7]));
}

#[test]
fn pictures_are_held_after_their_step_and_parked_while_they_have_to_wait() {
    let now = Instant::now();
    let (mut state, key) = measured(now, DEAR);
    add(&mut state, 1, &key, Class::Background, 1, 1);
    state.jobs[0].hold_after = Some(2);
    begin(&mut state, 1, 7);
    let progress = |step| Progress {
        generation: GenerationId(7),
        evaluations_done: step,
        inference_step: step,
        is_done: false,
    };
    state.stepped(&[progress(1)], now);
    assert_eq!(pick(&state, now), step(&[7]));
    state.stepped(&[progress(2)], now);
    assert_eq!(pick(&state, now), Tick::Hold(GenerationId(7)));
    state.allow_background(
        Background {
            blocked: Some("the machine is in use"),
            from: None,
        },
        now,
    );
    assert_eq!(pick(&state, now), Tick::Park(GenerationId(7)));
    let returned = state.returned(GenerationId(7)).unwrap();
    assert_eq!(
        (returned.evaluations_done, state.jobs[0].images_left),
        (2, 1)
    );
    assert!(!state.is_needed(&key), "its model may go");
    assert!(matches!(pick(&state, now), Tick::Wait { .. }));
}

#[test]
fn the_pause_of_the_duty_cycle_is_waited_for() {
    let now = Instant::now();
    let (mut state, key) = measured(now, DEAR);
    add(&mut state, 1, &key, Class::Background, 1, 1);
    let from = now + Duration::from_secs(3);
    state.background.from = Some(from);
    assert_eq!(pick(&state, now), Tick::Wait { until: Some(from) });
    assert_eq!(pick(&state, from), Tick::Begin(JobId(1)));
}

#[test]
fn a_picture_that_failed_is_forgotten_and_its_job_goes_on() {
    let now = Instant::now();
    let (mut state, key) = measured(now, DEAR);
    add(&mut state, 1, &key, Class::Interactive, 1, 2);
    begin(&mut state, 1, 7);
    state.failed(GenerationId(7));
    assert_eq!(pick(&state, now), Tick::Forget(GenerationId(7)));
    state.ended(GenerationId(7));
    assert_eq!(pick(&state, now), Tick::Begin(JobId(1)));
}

#[test]
fn a_job_whose_pictures_are_being_stored_is_not_complete() {
    let now = Instant::now();
    let (mut state, key) = measured(now, DEAR);
    add(&mut state, 1, &key, Class::Interactive, 1, 0);
    state.jobs[0].is_storing = true;
    assert!(matches!(pick(&state, now), Tick::Wait { .. }));
    state.jobs[0].is_storing = false;
    assert_eq!(pick(&state, now), Tick::Complete(JobId(1)));
}
