use std::{sync::Arc, time::Duration};

use imgd_proto::v1;
use tokio::{task::JoinHandle, time::timeout};

use super::{Ending, Lifetime, Options, Order, Receipt, Scheduler, Work};
use crate::{
    events::Event,
    failure::{Failure, Reason},
    fake_engine::{FakeFactory, Record, model},
    journal::{Journal, Limits},
    keep_alive::KeepAlive,
    submission::Submission,
};

const PATIENCE: Duration = Duration::from_secs(5);

struct House {
    scheduler: Scheduler,
    record: Arc<Record>,
    task: JoinHandle<()>,
    directory: tempfile::TempDir,
}

fn house(change: impl FnOnce(&mut Options)) -> House {
    let engines = FakeFactory::new(Duration::from_millis(5));
    let record = Arc::clone(&engines.record);
    let directory = tempfile::tempdir().unwrap();
    let (journal, recovered) = Journal::open(directory.path(), Limits::default()).unwrap();
    let mut options = Options {
        engines: Arc::new(engines),
        journal,
        queue_capacity: 8,
        capacity_per_client: 8,
        keep_alive: KeepAlive::Forever,
        max_memory_bytes: None,
        available_bytes: || 1 << 30,
        background: crate::courtesy::Rules::default(),
        build_id: "build".to_owned(),
        watchdog: None,
        save_interval: Duration::from_secs(1),
        patience: Duration::from_secs(60),
    };
    change(&mut options);
    let (scheduler, task) = Scheduler::start(options, recovered);
    House {
        scheduler,
        record,
        task,
        directory,
    }
}

fn draw(model_name: &str, prompt: &str, images: u32) -> Order {
    let request = v1::SubmitJobRequest {
        generate: Some(v1::GenerateRequest {
            prompt: prompt.to_owned(),
            num_inference_steps: Some(3),
            seed: Some(40),
            num_images: Some(images),
            ..v1::GenerateRequest::default()
        }),
        ..v1::SubmitJobRequest::default()
    };
    Order {
        model: model(model_name),
        work: Work::Draw(Submission::new(request, || 0)),
        keep_alive: None,
        priority: v1::Priority::Interactive,
        request_id: "mine".to_owned(),
        lifetime: Lifetime::Attached,
        is_private: true,
        client: "test".to_owned(),
    }
}

/// Changes what an order asks for.
fn change(order: &mut Order, change: impl FnOnce(&mut v1::GenerateRequest)) {
    let Work::Draw(submission) = &order.work else {
        panic!("it draws nothing");
    };
    let mut request = submission.request().clone();
    change(request.generate.as_mut().unwrap());
    order.work = Work::Draw(Submission::new(request, || 0));
}

/// All events of a job, in a word each.
async fn story(receipt: Receipt) -> Vec<String> {
    let mut events = receipt.events.unwrap();
    let mut story = Vec::new();
    while let Some(event) = timeout(PATIENCE, events.next())
        .await
        .expect("the job goes on")
    {
        story.push(match event {
            Event::Queued(queued) => format!("queued {}", queued.position),
            Event::Loading(loading) => format!("loading {}", loading.fraction),
            Event::Started(started) => format!("started {}", started.image_index),
            Event::Step(step) => format!("step {}/{}", step.index, step.count),
            Event::Picture { index, picture } => format!("picture {index} {:?}", picture.bytes),
            Event::Notice(notice) => notice.reason,
            Event::Finished(finished) => format!("finished {}", finished.image_count),
            Event::Loaded(loaded) => format!("loaded {}", loaded.name),
            Event::Failed(failure) => format!("failed {}", failure.reason),
            Event::Changed(_) | Event::Image(_) => panic!("that is for watchers"),
        });
    }
    story
}

async fn submit(house: &House, order: Order) -> Receipt {
    house.scheduler.submit(order).await.unwrap()
}

#[tokio::test]
async fn a_job_tells_its_story_in_order_and_further_images_use_further_seeds() {
    let house = house(|_| {});
    let story = story(submit(&house, draw("m", "apple", 2)).await).await;
    let told: Vec<_> = story
        .iter()
        .map(String::as_str)
        .filter(|line| !line.starts_with("loading"))
        .collect();
    assert_eq!(told[..3], ["queued 0", "started 0", "step 1/3"]);
    assert_eq!(told.last(), Some(&"finished 2"));
    let mut sorted = told.clone();
    sorted.sort_unstable();
    let expected = [
        "finished 2",
        "picture 0 b\"40\"",
        "picture 1 b\"41\"",
        "queued 0",
        "started 0",
        "started 1",
        "step 1/3",
        "step 1/3",
        "step 2/3",
        "step 2/3",
        "step 3/3",
        "step 3/3",
    ];
    assert_eq!(sorted, expected);
    assert!(story.contains(&"loading 0.5".to_owned()) || story.contains(&"loading 1".to_owned()));
}

#[tokio::test]
async fn jobs_are_served_first_come_first_served_and_hear_of_their_position() {
    let house = house(|_| {});
    let mut receipts = Vec::new();
    for prompt in ["a", "b", "c"] {
        receipts.push(submit(&house, draw("m", prompt, 1)).await);
    }
    let ids: Vec<_> = receipts
        .iter()
        .map(|receipt| receipt.job_id.clone())
        .collect();
    assert!(crate::fake_engine::all_differ(ids));
    let last = receipts.pop().unwrap();
    let last = story(last).await;
    assert!(
        last[0].starts_with("queued ") && last.contains(&"queued 0".to_owned()),
        "{last:?}"
    );
    let begun: Vec<_> = house
        .record
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("begin"))
        .collect();
    assert_eq!(begun, ["begin a 40", "begin b 40", "begin c 40"]);
    assert_eq!(house.record.count("load "), 1);
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_when_to_try_again() {
    let house = house(|options| options.queue_capacity = 2);
    let _running = submit(&house, draw("m", "hang", 1)).await;
    while house.record.count("step") == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let _waiting = (
        submit(&house, draw("m", "b", 1)).await,
        submit(&house, draw("m", "c", 1)).await,
    );
    let failure = house.scheduler.submit(draw("m", "d", 1)).await.unwrap_err();
    assert_eq!(failure.reason, Reason::QueueFull);
    assert!(failure.retry_after.is_some());
}

#[tokio::test]
async fn a_reader_who_leaves_stops_the_work_within_one_step() {
    let house = house(|_| {});
    let mut order = draw("m", "long", 1);
    change(&mut order, |request| {
        request.num_inference_steps = Some(1000);
    });
    let mut receipt = submit(&house, order).await;
    while !matches!(
        receipt.events.as_mut().unwrap().next().await,
        Some(Event::Step(_))
    ) {}
    let steps = house.record.count("step long");
    drop(receipt);
    story(submit(&house, draw("m", "next", 1)).await).await;
    assert!(house.record.count("step long") <= steps + 1);
    assert_eq!(house.record.count("forget long"), 1);
}

#[tokio::test]
async fn a_worker_that_dies_fails_its_job_alone() {
    let house = house(|_| {});
    let killer = submit(&house, draw("m", "kill", 1)).await;
    let next = submit(&house, draw("m", "next", 1)).await;
    let killer = story(killer).await;
    assert_eq!(killer.last().unwrap(), "failed WORKER_DIED");
    assert_eq!(
        killer.iter().filter(|line| *line == "worker_died").count(),
        1,
        "it was tried once more"
    );
    assert_eq!(story(next).await.last().unwrap(), "finished 1");
    assert_eq!(house.record.count("worker"), 3);
}

#[tokio::test]
async fn a_worker_found_dead_when_a_picture_begins_is_replaced_once() {
    let house = house(|_| {});
    let lucky = story(submit(&house, draw("m", "stale", 1)).await).await;
    assert_eq!(lucky.last().unwrap(), "finished 1");
    assert_eq!(house.record.count("worker"), 2);
    let poison = story(submit(&house, draw("m", "poison", 1)).await).await;
    assert_eq!(poison.last().unwrap(), "failed WORKER_DIED");
    assert_eq!(house.record.count("begin poison"), 2);
}

#[tokio::test]
async fn a_model_that_kills_the_worker_fails_the_job_that_needs_it() {
    let house = house(|_| {});
    let killer = submit(&house, draw("deadly", "a", 1)).await;
    let next = submit(&house, draw("m", "next", 1)).await;
    assert_eq!(story(killer).await.last().unwrap(), "failed WORKER_DIED");
    assert_eq!(story(next).await.last().unwrap(), "finished 1");
}

#[tokio::test]
async fn a_worker_that_hangs_is_ended() {
    let house = house(|options| options.patience = Duration::from_millis(20));
    let hung = submit(&house, draw("m", "hang", 1)).await;
    let mut events = hung.events.unwrap();
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    assert!(
        matches!(
            last,
            Some(Event::Failed(Failure {
                reason: Reason::WorkerDied,
                ..
            }))
        ),
        "{last:?}"
    );
    assert_eq!(house.record.count("end 1"), 1);
}

#[tokio::test]
async fn a_picture_that_fails_leaves_the_worker_and_the_next_job_alone() {
    let house = house(|_| {});
    let wrong = submit(&house, draw("m", "nan", 1)).await;
    assert_eq!(story(wrong).await.last().unwrap(), "failed NUMERICS");
    assert_eq!(
        story(submit(&house, draw("m", "b", 1)).await)
            .await
            .last()
            .unwrap(),
        "finished 1"
    );
    assert_eq!(house.record.count("worker"), 1);
    assert_eq!(house.record.count("forget nan"), 1);
}

#[tokio::test]
async fn a_model_that_does_not_fit_is_refused_before_it_is_loaded() {
    let house = house(|_| {});
    let mut events = submit(&house, draw("huge", "a", 1)).await.events.unwrap();
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    let Some(Event::Failed(failure)) = last else {
        panic!("{last:?}")
    };
    assert_eq!(failure.reason, Reason::OutOfMemory);
    assert_eq!(
        failure.message,
        "model `huge` needs 1048576.0 GiB of memory, and 1.0 GiB is available"
    );
    assert_eq!(house.record.count("load"), 0);
}

/// The failure that a picture by the model `wide` ends with; `None` where it is drawn.
async fn wide(
    house: &House,
    asks: impl FnOnce(&mut v1::GenerateRequest),
    images: u32,
) -> Option<Failure> {
    let mut order = draw("wide", "a", images);
    change(&mut order, asks);
    let mut events = submit(house, order).await.events.unwrap();
    let mut failure = None;
    while let Some(event) = timeout(PATIENCE, events.next()).await.unwrap() {
        if let Event::Failed(failed) = event {
            failure = Some(failed);
        }
    }
    failure
}

#[tokio::test]
async fn a_picture_that_does_not_fit_is_refused_before_anything_is_loaded_or_begun() {
    let house = house(|options| options.available_bytes = || 200 << 20);
    let failure = wide(&house, |picture| picture.height_px = Some(16_384), 1).await;
    let failure = failure.unwrap();
    assert_eq!(failure.reason, Reason::OutOfMemory);
    assert_eq!(failure.field.as_deref(), Some("height_px"));
    assert_eq!(
        failure.message,
        "a picture of 1024 x 16384 pixels by model `wide` needs 256.0 MiB of memory, and 200.0 MiB is available"
    );
    assert_eq!(house.record.count("load"), 0);
    // It is the same once the model is in memory.
    assert_eq!(wide(&house, |_| {}, 1).await, None);
    assert_eq!(house.record.count("begin"), 1);
    let failure = wide(&house, |picture| picture.width_px = Some(16_384), 1).await;
    assert_eq!(failure.unwrap().field.as_deref(), Some("width_px"));
    assert_eq!(house.record.count("begin"), 1);
    assert_eq!(
        wide(&house, |picture| picture.width_px = Some(8_192), 1).await,
        None
    );
}

#[tokio::test]
async fn the_models_defaults_count_against_the_work_that_a_request_may_ask_for() {
    let house = house(|_| {});
    let failure = wide(&house, |picture| picture.num_inference_steps = None, 10_000).await;
    let failure = failure.unwrap();
    assert_eq!(failure.reason, Reason::InvalidField);
    assert_eq!(failure.field.as_deref(), Some("num_images"));
    assert!(
        failure
            .message
            .contains("1024 x 1024 pixels x 1000 steps x 10000 images"),
        "{failure}"
    );
    assert_eq!(house.record.count("load"), 0);
}

#[tokio::test]
async fn the_least_recently_used_model_makes_room() {
    let house = house(|options| options.max_memory_bytes = Some(250));
    for name in ["a", "b", "a", "c"] {
        assert_eq!(
            story(submit(&house, draw(name, "x", 1)).await)
                .await
                .last()
                .unwrap(),
            "finished 1"
        );
    }
    assert_eq!(house.record.count("unload b"), 1);
    assert_eq!(house.record.count("load a"), 1);
}

#[tokio::test]
async fn a_keep_alive_of_nothing_ends_the_worker_at_once() {
    let house = house(|_| {});
    let mut order = draw("m", "a", 1);
    order.keep_alive = Some(KeepAlive::For(Duration::ZERO));
    story(submit(&house, order).await).await;
    timeout(PATIENCE, async {
        while house.record.count("end 1") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
    let snapshot = house.scheduler.snapshot().await.unwrap();
    assert!(
        snapshot.models.is_empty() && snapshot.worker_pid.is_none(),
        "{snapshot:?}"
    );
}

#[tokio::test]
async fn loading_and_unloading_are_told_by_the_snapshot() {
    let house = house(|_| {});
    let mut order = draw("m", "", 1);
    order.work = Work::Load;
    order.keep_alive = Some(KeepAlive::For(Duration::from_secs(100)));
    assert_eq!(
        story(submit(&house, order).await).await.last().unwrap(),
        "loaded m"
    );
    let snapshot = house.scheduler.snapshot().await.unwrap();
    assert_eq!(snapshot.models[0].model_hash, "abc");
    let left = snapshot.models[0].expires_in.unwrap().seconds;
    assert!((98..=100).contains(&left), "{left}");
    assert!(house.scheduler.unload(model("m")).await.unwrap());
    assert!(!house.scheduler.unload(model("other")).await.unwrap());
    assert_eq!(house.scheduler.snapshot().await.unwrap().models.len(), 0);
}

#[tokio::test]
async fn a_broken_model_is_described_by_its_fault() {
    let house = house(|_| {});
    let failure = house.scheduler.describe(model("broken")).await.unwrap_err();
    assert_eq!(failure.reason, Reason::ModelInvalid);
    assert_eq!(
        story(submit(&house, draw("broken", "a", 1)).await)
            .await
            .last()
            .unwrap(),
        "failed MODEL_INVALID"
    );
    assert!(house.scheduler.describe(model("m")).await.is_ok());
}

#[tokio::test]
async fn draining_finishes_what_runs_and_refuses_what_waits() {
    let house = house(|_| {});
    let running = submit(&house, draw("m", "a", 1)).await;
    while house.record.count("step") == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let waiting = submit(&house, draw("m", "b", 1)).await;
    assert_eq!(
        house
            .scheduler
            .end(Ending::IfIdle)
            .await
            .unwrap_err()
            .reason,
        Reason::NotIdle
    );
    house.scheduler.end(Ending::Drain).await.unwrap();
    assert_eq!(
        house
            .scheduler
            .submit(draw("m", "c", 1))
            .await
            .unwrap_err()
            .reason,
        Reason::Draining
    );
    assert_eq!(story(waiting).await.last().unwrap(), "failed DRAINING");
    assert_eq!(story(running).await.last().unwrap(), "finished 1");
    timeout(PATIENCE, house.task).await.unwrap().unwrap();
    assert_eq!(house.record.count("end 1"), 1);
}

#[tokio::test]
async fn what_is_measured_counts_for_the_numbers_it_was_computed_with() {
    let house = house(|_| {});
    for precision in [v1::Precision::F32, v1::Precision::Bf16] {
        for _ in 0..3 {
            let mut order = draw("m", "apple", 1);
            order.model = order.model.with_precision(precision);
            story(submit(&house, order).await).await;
        }
    }
    house.scheduler.end(Ending::Drain).await.unwrap();
    timeout(PATIENCE, house.task).await.unwrap().unwrap();
    house.scheduler.close().await;
    let (_, recovered) = Journal::open(house.directory.path(), Limits::default()).unwrap();
    let mut measured: Vec<_> = recovered
        .curves
        .iter()
        .map(|point| point.build_id.as_str())
        .collect();
    measured.sort_unstable();
    measured.dedup();
    assert_eq!(measured, ["build PRECISION_BF16", "build PRECISION_F32"]);
}

#[tokio::test]
async fn pictures_that_nobody_takes_hold_up_their_own_job_alone() {
    let house = house(|_| {});
    let lazy = submit(&house, draw("m", "lazy", 10)).await;
    assert_eq!(
        story(submit(&house, draw("m", "quick", 1)).await)
            .await
            .last()
            .unwrap(),
        "finished 1"
    );
    assert_eq!(house.record.count("finish lazy"), 2);
    assert_eq!(story(lazy).await.last().unwrap(), "finished 10");
}

mod room;
