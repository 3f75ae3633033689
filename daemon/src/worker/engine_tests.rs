//! Workers as real processes with the real engine.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    tests::no_progress,
    wire::{Finish, ModelKey, Start},
    *,
};
use crate::spawner::tests::engine_spawner;

const SOON: Duration = Duration::from_secs(60);

/// The starter model by another name is another copy.
pub(super) fn starter(name: &str) -> ModelKey {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/starter");
    ModelKey {
        config: None,
        parts: Vec::new(),
        directory: Some(directory.into()),
        name: name.into(),
        ..ModelKey::default()
    }
}

pub(super) fn start(model: &ModelKey, prompt: &str) -> Start {
    Start {
        generation: 1,
        model: model.clone(),
        prompt: prompt.into(),
        width_px: Some(64),
        height_px: Some(64),
        num_inference_steps: Some(3),
        seed: 1,
        ..Start::default()
    }
}

pub(super) async fn worker() -> Worker {
    timeout(SOON, Worker::spawn(&engine_spawner()))
        .await
        .unwrap()
        .unwrap()
}

pub(super) async fn load(worker: &Worker, model: &ModelKey) {
    let loaded = worker.load(model.clone(), no_progress());
    timeout(SOON, loaded).await.unwrap().unwrap();
}

async fn resident_bytes(worker: &Worker) -> u64 {
    worker.stats().await.unwrap().value.resident_bytes
}

/// A worker that keeps other models goes back to what it took before. Drawing leaves the allocator's heap full of holes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[tokio::test]
async fn unloading_gives_memory_back_while_other_models_stay() {
    let worker = worker().await;
    let models = ["stays", "goes", "goes too"].map(starter);
    load(&worker, &models[0]).await;
    let before = resident_bytes(&worker).await;
    for model in &models[1..] {
        load(&worker, model).await;
        let large = Start {
            width_px: Some(256),
            height_px: Some(256),
            num_inference_steps: Some(1),
            ..start(model, "a red apple")
        };
        worker.start(large).await.unwrap();
        while !worker.step(vec![1]).await.unwrap().value.results[0].is_done {}
        let finish = Finish {
            generation: 1,
            ..Finish::default()
        };
        worker.finish(finish).await.unwrap();
    }
    let full = resident_bytes(&worker).await;
    for model in &models[1..] {
        worker.unload(model.clone()).await.unwrap();
    }
    let after = resident_bytes(&worker).await;
    let (grown, kept) = (full - before, after.saturating_sub(before));
    assert!(grown > 50 << 20, "two models take memory: {grown}");
    assert!(kept < grown / 4, "{kept} of {grown} bytes were kept");
}

/// The kernel ends the process with the highest score first.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_worker_goes_before_the_supervisor_when_memory_runs_out() {
    let score = |process: &str| {
        let text = std::fs::read_to_string(format!("/proc/{process}/oom_score_adj")).unwrap();
        text.trim().parse::<i32>().unwrap()
    };
    let worker = worker().await;
    worker.stats().await.unwrap();
    let expected = (score("self") + 500).min(1000);
    assert_eq!(score(&worker.pid().to_string()), expected);
}
