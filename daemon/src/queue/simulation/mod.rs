//! Random arrivals, cancellations, pauses and deaths on a machine that exists only in arithmetic, by a clock of its own:
//! whatever happens, the decisions keep the laws and lead to an end.

mod house;
mod laws;
mod machine;
mod scenarios;

use std::time::Duration;

use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_oneof, proptest,
};

use self::{
    house::{Ask, Happening, House},
    machine::{Machine, Model},
};
use super::{Class, WorkerState};

/// The test runs so many patterns.
const PATTERNS: u32 = 1000;

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        3 => Just(Class::Interactive),
        3 => Just(Class::Batch),
        1 => Just(Class::Background),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let work = (0u32..6, 1u32..9, prop::option::weighted(0.1, 1u32..4));
    let kind = (class(), 0u32..4, 0usize..3, 0usize..2, 0u64..30);
    (kind, work).prop_map(|((class, client, model, size, stay_secs), work)| {
        let (images, evaluations, hold_after) = work;
        Ask {
            class,
            client,
            model,
            size,
            images,
            evaluations,
            stay_secs,
            hold_after,
        }
    })
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        12 => ask().prop_map(Happening::Arrival),
        1 => (0usize..16).prop_map(Happening::Cancellation),
        1 => (0usize..16).prop_map(Happening::Pause),
        1 => (0usize..16).prop_map(Happening::Resumption),
        1 => (0usize..16, any::<bool>()).prop_map(|(job, is_behind)| Happening::Reader(job, is_behind)),
        1 => any::<bool>().prop_map(Happening::Background),
        1 => Just(Happening::Death),
    ]
}

fn machine() -> impl Strategy<Value = Machine> {
    let model = (100u64..400, 100u64..8_000, 20u64..500, 0u32..99).prop_map(
        |(weights, load_millis, step_millis, shared_percent)| Model {
            weights_bytes: weights * 1000,
            load: Duration::from_millis(load_millis),
            step: Duration::from_millis(step_millis),
            shared_percent,
        },
    );
    // The largest model fits with the largest picture, and more or less besides.
    (prop::collection::vec(model, 3), 0u64..1000).prop_map(|(models, more)| Machine {
        memory_bytes: 420_000 + more * 1000,
        models,
    })
}

fn happenings() -> impl Strategy<Value = Vec<(Duration, Happening)>> {
    let after = prop_oneof![
        3 => Just(0u64),
        5 => 0u64..3_000,
        1 => 0u64..60_000,
    ];
    prop::collection::vec((after.prop_map(Duration::from_millis), happening()), 1..24)
}

/// At the end everything that waits for somebody is let go.
fn with_an_end(mut happenings: Vec<(Duration, Happening)>) -> Vec<(Duration, Happening)> {
    happenings.push((Duration::from_secs(100), Happening::Background(true)));
    for job in 0..24 {
        happenings.push((Duration::ZERO, Happening::Resumption(job)));
        happenings.push((Duration::ZERO, Happening::Reader(job, false)));
    }
    happenings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(PATTERNS))]

    #[test]
    fn whatever_happens_the_laws_are_kept_and_the_work_ends(
        machine in machine(),
        happenings in happenings(),
        save_millis in 0u64..5_000,
    ) {
        let happenings = with_an_end(happenings);
        let mut house = House::new(machine, Duration::from_millis(save_millis), &happenings);
        if let Err(broken) = house.run() {
            prop_assert!(false, "after {:?}: {broken}", house.now - house.start);
        }
        prop_assert!(house.pictures.is_empty(), "pictures are left");
        prop_assert!(house.lives.values().all(|life| life.ended.is_some()), "jobs are left");
        prop_assert!(house.state.models.is_empty(), "idle models go");
        let is_absent = matches!(house.state.worker, WorkerState::Absent { .. });
        prop_assert!(is_absent, "an idle worker goes");
    }
}
