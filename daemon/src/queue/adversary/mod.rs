//! An opponent of the decisions: random jobs, models, memory, faults and changes of mind. It knows what may never
//! happen and does not look at how decisions are made.
//!
//! The simulated engine takes time for everything, and memory for models and for pictures at work. After each decision
//! something must have changed; after a bounded number of them a picture must have come nearer to its end.

mod engine;
mod events;
mod laws;
mod world;

use std::time::Duration;

use proptest::{
    prelude::{ProptestConfig, prop, proptest},
    test_runner::TestCaseError,
};

use self::{
    events::{Asked, event},
    world::World,
};
use super::{Class, Job, Stage};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_work_goes_on_within_memory_and_comes_to_its_end(
        events in prop::collection::vec(event(), 1..80)
    ) {
        let mut world = World::new();
        for event in &events {
            if let Err(error) = world.happen(event) {
                return Err(TestCaseError::fail(format!("{event:?}: {error}")));
            }
        }
        world.calm();
        world.drain().map_err(TestCaseError::fail)?;
    }
}

fn plain(model: u8, images: u32, class: Class, client: u32) -> Asked {
    Asked {
        model,
        images,
        class: u8::try_from(Class::ALL.iter().position(|other| *other == class).unwrap()).unwrap(),
        client,
        side_px: 8,
        is_guided: false,
        hold_after: None,
        stay_secs: None,
    }
}

/// Interactive requests of one picture that never end; `images` of each lower class beside them, by these models. Returns
/// the longest time that each of the two classes waited.
fn flood(models: [u8; 3], hours: u64) -> [Duration; 2] {
    let mut world = World::new();
    world.arrive(&plain(models[1], 10_000, Class::Batch, 8));
    world.arrive(&plain(models[2], 10_000, Class::Background, 9));
    let begin = world.now;
    let mut longest = [Duration::ZERO; 2];
    while world.now < begin + Duration::from_secs(hours * 3600) {
        let interactive = |job: &&Job| job.class == Class::Interactive;
        while world.state.jobs.iter().filter(interactive).count() < 2 {
            let client = u32::try_from(world.next % 3).unwrap();
            world.arrive(&plain(models[0], 1, Class::Interactive, client));
            world.events += 1;
        }
        assert_eq!(world.tick(), Ok(true));
        for (class, longest) in [Class::Batch, Class::Background].iter().zip(&mut longest) {
            let last = world.served.get(class).copied().unwrap_or(begin);
            *longest = (*longest).max(world.now - last);
        }
    }
    longest
}

#[test]
fn people_without_end_starve_nobody_by_one_model() {
    let [batch, background] = flood([0, 0, 0], 2);
    assert!(batch <= Duration::from_secs(65), "{batch:?}");
    assert!(background <= Duration::from_secs(610), "{background:?}");
}

#[test]
fn people_without_end_starve_nobody_by_models_that_do_not_fit_together() {
    let [batch, background] = flood([3, 2, 1], 2);
    // A load before and one after, for each that takes its turn.
    assert!(batch <= Duration::from_secs(75), "{batch:?}");
    assert!(background <= Duration::from_secs(620), "{background:?}");
}

/// Loads that two jobs of twenty pictures each take whose models do not fit together, and the seconds of the whole.
fn two_models(class: Class, load_secs: u64) -> (u32, u64) {
    let mut world = World::new();
    world.load_time = Duration::from_secs(load_secs);
    let begin = world.now;
    world.arrive(&plain(3, 20, class, 1));
    world.arrive(&plain(2, 20, class, 2));
    world.drain().unwrap();
    (world.load_count, (world.now - begin).as_secs())
}

#[test]
fn models_that_do_not_fit_together_are_switched_when_it_is_worth_it() {
    for class in Class::ALL {
        for load_secs in [1, 5, 30] {
            let (loads, seconds) = two_models(class, load_secs);
            let loading = u64::from(loads) * load_secs;
            // The first load of each cannot be helped.
            let more = loading.saturating_sub(2 * load_secs);
            assert!(
                more * 2 <= seconds,
                "{class:?}: {loads} loads of {load_secs} s in {seconds} s"
            );
        }
    }
}

#[test]
fn a_load_gives_nobody_the_place_of_whom_it_is_for() {
    let mut world = World::new();
    for asked in [
        plain(3, 0, Class::Interactive, 0),
        plain(0, 4, Class::Interactive, 0),
    ] {
        world.arrive(&asked);
    }
    world.drain().unwrap();
    // Its pictures are large; it is forgiven what it was given while its reader does not read.
    let large = Asked {
        side_px: 16,
        ..plain(1, 3, Class::Batch, 0)
    };
    let large = world.arrive(&large);
    while world.pictures.len() < 2 {
        assert_eq!(world.tick(), Ok(true));
    }
    let block = |world: &mut World, on| world.state.job_mut(large).unwrap().is_blocked = on;
    block(&mut world, true);
    let is_there = |world: &World| {
        world
            .state
            .in_flight()
            .any(|(_, image)| image.stage != Stage::Denoised)
    };
    while is_there(&world) {
        assert_eq!(world.tick(), Ok(true));
    }
    // Its model fits beside the first, but not with a large picture at work.
    world.arrive(&plain(2, 1, Class::Batch, 1));
    block(&mut world, false);
    assert_eq!(world.drain(), Ok(()));
}
