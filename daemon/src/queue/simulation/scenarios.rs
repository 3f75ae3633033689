//! Cases that are worth a name, with their numbers.

use std::time::Duration;

use super::{
    house::{Ask, Happening, House},
    machine::{DECODER_PIECES, Machine, Model},
};
use crate::queue::{Class, JobId};

const STEP: Duration = Duration::from_millis(500);

fn machine(models: usize, memory_bytes: u64, shared_percent: u32) -> Machine {
    let model = Model {
        weights_bytes: 300_000,
        load: Duration::from_secs(5),
        step: STEP,
        shared_percent,
    };
    Machine {
        memory_bytes,
        models: vec![model; models],
    }
}

fn ask(class: Class, client: u32, images: u32) -> Happening {
    Happening::Arrival(Ask {
        class,
        client,
        model: 0,
        size: 0,
        images,
        evaluations: 10,
        stay_secs: 0,
        hold_after: None,
    })
}

fn run(machine: Machine, happenings: &[(Duration, Happening)]) -> House {
    let mut house = House::new(machine, Duration::from_secs(1), happenings);
    let run = house.run();
    assert_eq!(run, Ok(()));
    house
}

#[test]
fn a_persons_first_step_begins_within_one_call_of_a_batch_of_a_hundred() {
    for millis in (5_500..60_000).step_by(1_237) {
        let house = run(
            machine(1, 1_000_000, 30),
            &[
                (Duration::ZERO, ask(Class::Batch, 1, 100)),
                (Duration::from_millis(millis), ask(Class::Interactive, 2, 1)),
            ],
        );
        let life = house.lives[&JobId(2)];
        let waited = life.first_step.unwrap() - life.arrived;
        // The longest call is a step of as many generations as share one; besides, its own text is encoded.
        let longest = house.machine.step(&Machine::key(0), 8, 16) + Duration::from_millis(30);
        assert!(
            waited <= longest,
            "{waited:?} of {longest:?} at {millis} ms"
        );
        assert_eq!(house.evaluations, 1010, "the batch loses nothing");
    }
}

#[test]
fn eight_clients_at_once_finish_sooner_by_what_the_curve_promises() {
    let clients: Vec<_> = (0..8)
        .map(|client| (Duration::ZERO, ask(Class::Interactive, client, 1)))
        .collect();
    let took = |shared_percent: u32| {
        let house = run(machine(1, 1_000_000, shared_percent), &clients);
        let last = house.lives.values().map(|life| life.ended.unwrap()).max();
        last.unwrap() - house.start
    };
    let (one_after_another, together) = (took(0), took(90));
    // All that is not an evaluation is the same in both; of 80 evaluations, those that were not spent on learning the
    // curve cost a fifth.
    let saved = one_after_another - together;
    assert!(
        saved > STEP * 80 / 2,
        "{together:?} of {one_after_another:?}"
    );
}

#[test]
fn nobody_is_slowed_where_sharing_does_not_pay() {
    let clients: Vec<_> = (0..4)
        .map(|client| (Duration::ZERO, ask(Class::Interactive, client, 1)))
        .collect();
    let house = run(machine(1, 1_000_000, 0), &clients);
    let mut ends: Vec<_> = house
        .lives
        .values()
        .map(|life| life.ended.unwrap())
        .collect();
    ends.sort_unstable();
    let pieces = STEP * (10 + DECODER_PIECES);
    // One picture, and the few evaluations that tried whether it pays.
    assert!(ends[0] - house.start < Duration::from_secs(5) + pieces + STEP * 4);
    assert_eq!(house.evaluations, 40);
}

#[test]
fn a_client_with_a_single_job_is_not_held_up_by_one_with_a_thousand() {
    let mut happenings: Vec<_> = (0..100)
        .map(|_| (Duration::ZERO, ask(Class::Batch, 1, 10)))
        .collect();
    happenings.push((Duration::from_secs(60), ask(Class::Batch, 2, 1)));
    let house = run(machine(1, 1_000_000, 30), &happenings);
    let life = house.lives[&JobId(101)];
    let waited = life.ended.unwrap() - life.arrived;
    let alone = STEP * (10 + DECODER_PIECES);
    // It shares each evaluation with pictures of the other, whose decoding is done between.
    assert!(waited < alone * 10, "{waited:?}");
}

#[test]
fn two_models_that_do_not_fit_together_are_switched_seldom() {
    let of = |client, model| {
        Happening::Arrival(Ask {
            class: Class::Batch,
            client,
            model,
            size: 0,
            images: 40,
            evaluations: 10,
            stay_secs: 0,
            hold_after: None,
        })
    };
    let house = run(
        machine(2, 500_000, 0),
        &[(Duration::ZERO, of(1, 0)), (Duration::ZERO, of(2, 1))],
    );
    let took = house.now - house.start;
    assert!(house.loads >= 3, "both make progress");
    // Each load is paid for by ten times its time of work.
    let most = took.as_secs() / 50 + 2;
    assert!(
        u64::from(house.loads) <= most,
        "{} loads in {took:?}",
        house.loads
    );
    assert_eq!(house.evaluations, 800, "switching loses nothing");
}

#[test]
fn batch_work_gets_a_picture_a_minute_behind_people_who_never_stop() {
    let mut happenings = vec![(Duration::ZERO, ask(Class::Batch, 1, 3))];
    for _ in 0..60 {
        happenings.push((Duration::from_secs(5), ask(Class::Interactive, 2, 1)));
    }
    let house = run(machine(1, 1_000_000, 0), &happenings);
    let batch = house.lives[&JobId(1)];
    let people = house.lives[&JobId(61)];
    assert!(batch.ended.unwrap() < people.ended.unwrap());
}
