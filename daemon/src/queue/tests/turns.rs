//! Classes, clients, models that are switched, and turns of those who waited too long.

use std::time::{Duration, Instant};

use super::{begin, job, known, resident, state};
use crate::{
    engine::{GenerationId, ModelKey},
    fake_engine::model,
    queue::{Class, ClientId, Job, JobId, Progress, State, Tick, pick},
};

const MINUTE: Duration = Duration::from_secs(60);

fn with_model(now: Instant) -> (State, ModelKey) {
    let key = model("m");
    let mut state = state(now);
    known(&mut state, &key, 10);
    state.loaded(resident(&key, now, 3000), Duration::from_secs(2));
    (state, key)
}

/// A job whose pictures share with no others.
fn add(state: &mut State, id: u64, key: &ModelKey, class: Class, client: u32, now: Instant) {
    state.add(Job {
        class,
        client: ClientId(client),
        images_left: 5,
        width_px: Some(u32::try_from(id).unwrap()),
        arrived: now,
        ..job(id, key)
    });
}

fn made(generation: u64, evaluations_done: u32) -> [Progress; 1] {
    [Progress {
        generation: GenerationId(generation),
        evaluations_done,
        inference_step: evaluations_done,
        is_done: evaluations_done == 3,
    }]
}

fn decide(state: &mut State, now: Instant) -> Tick {
    let tick = pick(state, now);
    state.decided(&tick, now);
    tick
}

fn end(state: &mut State, generation: u64, now: Instant) {
    state.stepped(&made(generation, 3), now);
    state.ended(GenerationId(generation));
}

#[test]
fn the_more_urgent_class_goes_first_and_the_picture_of_the_other_waits_in_memory() {
    let now = Instant::now();
    let (mut state, key) = with_model(now);
    add(&mut state, 1, &key, Class::Background, 1, now);
    assert_eq!(pick(&state, now), Tick::Begin(JobId(1)));
    begin(&mut state, 1, 7);
    add(&mut state, 2, &key, Class::Batch, 1, now);
    assert_eq!(pick(&state, now), Tick::Begin(JobId(2)));
    begin(&mut state, 2, 8);
    add(&mut state, 3, &key, Class::Interactive, 1, now);
    assert_eq!(pick(&state, now), Tick::Begin(JobId(3)));
    begin(&mut state, 3, 9);
    assert_eq!(pick(&state, now), Tick::Step(vec![GenerationId(9)]));
    state.ended(GenerationId(9));
    state.remove(JobId(3), now);
    assert_eq!(pick(&state, now), Tick::Step(vec![GenerationId(8)]));
}

#[test]
fn decoding_is_left_for_somebody_more_urgent_and_taken_up_again() {
    let now = Instant::now();
    let (mut state, key) = with_model(now);
    add(&mut state, 1, &key, Class::Batch, 1, now);
    begin(&mut state, 1, 7);
    state.stepped(&made(7, 3), now);
    assert_eq!(pick(&state, now), Tick::Decode(GenerationId(7)));
    state.decoded(GenerationId(7), false, now);
    add(&mut state, 2, &key, Class::Interactive, 1, now);
    assert_eq!(pick(&state, now), Tick::Begin(JobId(2)));
    state.jobs[1].is_paused = true;
    assert_eq!(pick(&state, now), Tick::Decode(GenerationId(7)));
}

#[test]
fn clients_take_turns_and_one_that_comes_is_next() {
    let now = Instant::now();
    let (mut state, key) = with_model(now);
    add(&mut state, 1, &key, Class::Batch, 1, now);
    add(&mut state, 2, &key, Class::Batch, 1, now);
    begin(&mut state, 1, 7);
    end(&mut state, 7, now);
    assert_eq!(
        pick(&state, now),
        Tick::Begin(JobId(1)),
        "of one client's jobs the oldest"
    );
    begin(&mut state, 1, 8);
    add(&mut state, 3, &key, Class::Batch, 2, now);
    assert_eq!(
        pick(&state, now),
        Tick::Step(vec![GenerationId(8)]),
        "what is begun is finished"
    );
    end(&mut state, 8, now);
    assert_eq!(pick(&state, now), Tick::Begin(JobId(3)));
    begin(&mut state, 3, 9);
    end(&mut state, 9, now);
    assert_eq!(pick(&state, now), Tick::Begin(JobId(1)));
}

#[test]
fn a_client_that_was_idle_gets_no_credit_for_it() {
    let now = Instant::now();
    let (mut state, key) = with_model(now);
    add(&mut state, 1, &key, Class::Batch, 1, now);
    for generation in 10..60 {
        state.jobs[0].images_left = 5;
        begin(&mut state, 1, generation);
        end(&mut state, generation, now);
    }
    add(&mut state, 2, &key, Class::Batch, 2, now);
    for round in 0..3 {
        for id in [1, 2] {
            assert_eq!(pick(&state, now), Tick::Begin(JobId(id)), "round {round}");
            begin(&mut state, id, 100 + id);
            end(&mut state, 100 + id, now);
        }
    }
}

#[test]
fn a_class_that_waited_too_long_gets_one_picture_by_turns() {
    let now = Instant::now();
    let (mut state, key) = with_model(now);
    add(&mut state, 1, &key, Class::Batch, 1, now);
    add(&mut state, 2, &key, Class::Interactive, 2, now);
    begin(&mut state, 2, 7);
    let nearly = now + MINUTE - Duration::from_millis(1);
    state.stepped(&made(7, 1), nearly);
    assert_eq!(
        decide(&mut state, nearly),
        Tick::Step(vec![GenerationId(7)])
    );
    let then = now + MINUTE;
    assert_eq!(decide(&mut state, then), Tick::Begin(JobId(1)));
    begin(&mut state, 1, 8);
    assert_eq!(decide(&mut state, then), Tick::Step(vec![GenerationId(8)]));
    state.stepped(&made(8, 1), then);
    assert_eq!(
        decide(&mut state, then),
        Tick::Step(vec![GenerationId(7)]),
        "one call each"
    );
    state.stepped(&made(7, 2), then);
    assert_eq!(decide(&mut state, then), Tick::Step(vec![GenerationId(8)]));
    state.stepped(&made(8, 3), then);
    state.ended(GenerationId(8));
    assert_eq!(
        decide(&mut state, then),
        Tick::Step(vec![GenerationId(7)]),
        "and waits again"
    );
    let later = then + MINUTE - Duration::from_millis(1);
    assert_eq!(decide(&mut state, later), Tick::Step(vec![GenerationId(7)]));
    assert_eq!(decide(&mut state, later + MINUTE), Tick::Begin(JobId(1)));
}

#[test]
fn people_have_any_model_loaded_and_batches_wait_until_it_is_worth_it() {
    let now = Instant::now();
    let (mut state, key) = with_model(now);
    let other = model("other");
    known(&mut state, &other, 95);
    add(&mut state, 1, &key, Class::Batch, 1, now);
    begin(&mut state, 1, 7);
    add(&mut state, 2, &other, Class::Batch, 2, now);
    end(&mut state, 7, now);
    assert_eq!(
        pick(&state, now),
        Tick::Begin(JobId(1)),
        "its turn, but not its model"
    );
    state
        .load_times
        .insert(other.clone(), Duration::from_secs(3));
    let due = now + Duration::from_secs(30);
    assert_eq!(
        pick(&state, due - Duration::from_millis(1)),
        Tick::Begin(JobId(1))
    );
    assert_eq!(pick(&state, due), Tick::EndWorker, "ten times its load");
    // A picture in flight is finished first; for a person it is parked.
    begin(&mut state, 1, 8);
    assert_eq!(pick(&state, due), Tick::Step(vec![GenerationId(8)]));
    add(&mut state, 3, &other, Class::Interactive, 2, now);
    assert_eq!(pick(&state, now), Tick::Park(GenerationId(8)));
    state.returned(GenerationId(8));
    assert_eq!(pick(&state, now), Tick::EndWorker);
}

#[test]
fn a_model_is_loaded_beside_others_where_there_is_room() {
    let now = Instant::now();
    let (mut state, key) = with_model(now);
    let other = model("other");
    known(&mut state, &other, 40);
    add(&mut state, 1, &key, Class::Batch, 1, now);
    begin(&mut state, 1, 7);
    end(&mut state, 7, now);
    add(&mut state, 2, &other, Class::Batch, 2, now);
    begin(&mut state, 1, 8);
    end(&mut state, 8, now);
    assert_eq!(pick(&state, now), Tick::Load(JobId(2)));
}

#[test]
fn a_job_that_only_loads_is_complete_before_its_model_can_be_pushed_out() {
    let now = Instant::now();
    let (mut state, key) = with_model(now);
    state.available_bytes = 0;
    known(&mut state, &key, 10);
    state.known.get_mut(&key).unwrap().working_bytes_per_pixel = 1;
    let other = model("other");
    state.loaded(resident(&other, now, 300), Duration::ZERO);
    add(&mut state, 1, &key, Class::Batch, 1, now);
    state.add(Job {
        only_loads: true,
        images_left: 0,
        class: Class::Background,
        client: ClientId(2),
        ..job(2, &other)
    });
    assert_eq!(pick(&state, now), Tick::Complete(JobId(2)));
}
