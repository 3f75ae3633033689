//! What is carried out when several pictures are in flight: pre-emption, sharing, saves, restores and deaths.

use std::{sync::Arc, time::Duration};

use imgd_proto::v1;
use tokio::time::timeout;

use super::{House, PATIENCE, change, draw, house, story, submit};
use crate::{
    events::Event,
    fake_engine::FakeFactory,
    scheduler::{Lifetime, Order, Receipt},
};

/// A house whose workers can be killed.
fn mortal(step_millis: u64, save_interval: Duration) -> (House, FakeFactory) {
    let engines = FakeFactory::new(Duration::from_millis(step_millis));
    let record = Arc::clone(&engines.record);
    let factory = engines.clone();
    let mut house = house(|options| {
        options.engines = Arc::new(engines);
        options.save_interval = save_interval;
    });
    house.record = record;
    (house, factory)
}

fn of_class(mut order: Order, priority: v1::Priority, client: &str) -> Order {
    order.priority = priority;
    client.clone_into(&mut order.client);
    order
}

fn with_steps(mut order: Order, steps: u32) -> Order {
    change(&mut order, |request| {
        request.num_inference_steps = Some(steps)
    });
    order
}

/// Waits until something that begins like this was asked of the engine so often.
async fn asked(house: &House, beginning: &str, times: usize) {
    let wait = async {
        while house.record.count(beginning) < times {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect(beginning);
}

async fn last(receipt: Receipt) -> String {
    story(receipt).await.pop().unwrap()
}

fn position(lines: &[String], beginning: &str) -> usize {
    lines
        .iter()
        .position(|line| line.starts_with(beginning))
        .unwrap_or_else(|| panic!("{beginning} in {lines:#?}"))
}

#[tokio::test]
async fn a_person_goes_before_a_batch_between_two_steps_and_the_batch_loses_nothing() {
    let (house, _) = mortal(5, Duration::from_secs(1));
    let batch = draw("m", "batch", 20);
    let batch = submit(&house, of_class(batch, v1::Priority::Batch, "a")).await;
    // A reader who takes the pictures.
    let batch = tokio::spawn(last(batch));
    asked(&house, "step batch", 12).await;
    let mut person = draw("m", "person", 1);
    // Another size: it cannot share.
    change(&mut person, |request| request.width_px = Some(128));
    let before = house.record.lines().len();
    let person = submit(&house, of_class(person, v1::Priority::Interactive, "b")).await;
    assert_eq!(last(person).await, "finished 1");
    let lines = house.record.lines();
    // What was under way when it came, and nothing else of the batch.
    let between = lines[before..position(&lines, "finish person")]
        .iter()
        .filter(|line| line.contains("batch"))
        .count();
    assert!(between <= 1, "{:#?}", &lines[before..]);
    assert_eq!(batch.await.unwrap(), "finished 20");
    let steps: usize = house
        .record
        .lines()
        .iter()
        .filter(|line| line.starts_with("step"))
        .map(|line| line.matches("batch").count())
        .sum();
    assert_eq!(steps, 60, "no evaluation was made twice");
}

#[tokio::test]
async fn clients_with_the_same_model_and_size_share_evaluations() {
    let (house, _) = mortal(5, Duration::from_secs(1));
    let mut receipts = Vec::new();
    for client in ["a", "b", "c", "d"] {
        let order = with_steps(draw("m", client, 1), 20);
        receipts.push(submit(&house, of_class(order, v1::Priority::Interactive, client)).await);
    }
    for receipt in receipts {
        assert_eq!(last(receipt).await, "finished 1");
    }
    let steps: Vec<_> = house
        .record
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("step"))
        .collect();
    let most = steps
        .iter()
        .map(|line| line.matches(", ").count() + 1)
        .max();
    assert_eq!(most, Some(4), "{steps:#?}");
    assert!(steps.len() < 60, "{} calls for 80 evaluations", steps.len());
}

#[tokio::test]
async fn a_picture_goes_on_from_its_last_saved_evaluation_after_the_workers_death() {
    let (house, factory) = mortal(5, Duration::ZERO);
    let receipt = submit(&house, with_steps(draw("m", "apple", 1), 8)).await;
    asked(&house, "save apple 4", 1).await;
    factory.kill(true);
    assert_eq!(last(receipt).await, "finished 1");
    let lines = house.record.lines();
    let restored = &lines[position(&lines, "restore apple")];
    let done: u32 = restored.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(done >= 4, "{restored}");
    let steps = lines.iter().filter(|line| line.starts_with("step apple"));
    let steps = u32::try_from(steps.count()).unwrap();
    assert!((8..=9).contains(&steps), "{lines:#?}");
}

#[tokio::test]
async fn workers_that_somebody_else_ends_are_nobodys_fault() {
    let (house, factory) = mortal(5, Duration::from_secs(60));
    let receipt = submit(&house, with_steps(draw("m", "apple", 1), 4)).await;
    for kills in 1..=4 {
        asked(&house, "step apple 2", kills).await;
        factory.kill(true);
    }
    assert_eq!(last(receipt).await, "finished 1");
    assert_eq!(house.record.count("worker"), 5);
}

#[tokio::test]
async fn workers_that_somebody_else_ends_again_and_again_at_the_same_place_fail_the_job() {
    let (house, factory) = mortal(20, Duration::from_secs(60));
    let receipt = submit(&house, with_steps(draw("m", "apple", 1), 1000)).await;
    let told = tokio::spawn(story(receipt));
    let mut kills = 0;
    while !told.is_finished() {
        if house.record.count("step apple 2") > kills {
            kills += 1;
            factory.kill(true);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let told = told.await.unwrap();
    assert_eq!(told.last().unwrap(), "failed WORKER_DIED");
    // A slow machine may see the picture come a step further now and then.
    assert!((10..40).contains(&kills), "{kills}");
    let notices = told.iter().filter(|line| *line == "worker_died");
    assert_eq!(notices.count() + 1, kills);
    let next = submit(&house, draw("m", "next", 1)).await;
    assert_eq!(last(next).await, "finished 1");
}

#[tokio::test]
async fn of_those_who_shared_a_deadly_evaluation_only_the_guilty_fails() {
    let (house, _) = mortal(5, Duration::from_secs(60));
    let names = ["a", "b dies@9", "c"];
    let mut receipts = Vec::new();
    for name in names {
        let order = with_steps(draw("m", name, 1), 12);
        receipts.push(submit(&house, of_class(order, v1::Priority::Interactive, name)).await);
    }
    let mut ends = Vec::new();
    for receipt in receipts {
        ends.push(last(receipt).await);
    }
    assert_eq!(ends, ["finished 1", "failed WORKER_DIED", "finished 1"]);
    let shared = house.record.lines();
    assert!(shared.iter().any(|line| line.contains(", ")), "they shared");
}

#[tokio::test]
async fn a_death_that_does_not_happen_again_costs_a_notice() {
    let (house, _) = mortal(5, Duration::ZERO);
    let told = story(submit(&house, draw("m", "once@2", 1)).await).await;
    assert_eq!(told.last().unwrap(), "finished 1");
    assert_eq!(told.iter().filter(|line| *line == "worker_died").count(), 1);
}

#[tokio::test]
async fn an_interval_of_nothing_saves_after_every_evaluation() {
    let (house, _) = mortal(1, Duration::ZERO);
    let receipt = submit(&house, with_steps(draw("m", "apple", 1), 5)).await;
    assert_eq!(last(receipt).await, "finished 1");
    assert_eq!(house.record.count("save apple"), 5);
}

#[tokio::test]
async fn a_state_that_cannot_be_saved_costs_nothing_but_the_state() {
    let (house, _) = mortal(1, Duration::ZERO);
    let receipt = submit(&house, draw("m", "unsaved", 1)).await;
    assert_eq!(last(receipt).await, "finished 1");
    assert!(house.record.count("save unsaved") >= 1);
}

#[tokio::test]
async fn one_picture_without_numbers_is_left_out_of_the_evaluations_of_others() {
    let (house, _) = mortal(5, Duration::from_secs(1));
    let wrong = submit(
        &house,
        of_class(
            with_steps(draw("m", "nan@6", 1), 12),
            v1::Priority::Interactive,
            "a",
        ),
    )
    .await;
    let right = submit(
        &house,
        of_class(
            with_steps(draw("m", "right", 1), 12),
            v1::Priority::Interactive,
            "b",
        ),
    )
    .await;
    assert_eq!(last(wrong).await, "failed NUMERICS");
    assert_eq!(last(right).await, "finished 1");
    assert_eq!(house.record.count("worker"), 1);
    assert_eq!(house.record.count("forget nan"), 1);
}

#[tokio::test]
async fn previews_follow_the_evaluations_that_want_them() {
    let (house, _) = mortal(1, Duration::from_secs(1));
    let mut order = with_steps(draw("m", "apple", 2), 4);
    change(&mut order, |request| request.preview_every_n_steps = 2);
    let mut events = submit(&house, order).await.events.unwrap();
    let mut shown = Vec::new();
    while let Some(event) = timeout(PATIENCE, events.next()).await.unwrap() {
        if let Event::Step(step) = event
            && let Some(preview) = step.preview
        {
            shown.push((step.image_index, step.index, preview.png));
        }
    }
    shown.sort_unstable();
    let expected = [(0, 2, 40), (0, 4, 40), (1, 2, 41), (1, 4, 41)];
    let expected = expected.map(|(image, step, seed)| {
        (
            image,
            step,
            format!("preview of {seed}").into_bytes().into(),
        )
    });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn a_paused_job_is_parked_and_goes_on_where_it_was() {
    let (house, _) = mortal(5, Duration::from_secs(60));
    let mut order = with_steps(draw("m", "apple", 1), 50);
    order.lifetime = Lifetime::Detached;
    order.is_private = false;
    order.priority = v1::Priority::Batch;
    let job = submit(&house, order).await.job_id;
    asked(&house, "step apple 5", 1).await;
    house.scheduler.pause(&job).await.unwrap();
    asked(&house, "forget apple", 1).await;
    let steps = house.record.count("step apple");
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(house.record.count("step apple"), steps, "it stands still");
    house.scheduler.resume(&job, Vec::new()).await.unwrap();
    asked(&house, "finish apple", 1).await;
    assert_eq!(house.record.count("step apple"), 50, "nothing was lost");
    assert_eq!(house.record.count("restore apple"), 1);
}
