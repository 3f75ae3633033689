//! An engine that computes nothing, for tests of everything around it.
//!
//! A picture's bytes are its seed, so that a test sees whether it went on with the state it was to go on with. What a
//! prompt or a model is called decides what goes wrong:
//!
//! | in the prompt | what happens |
//! |---|---|
//! | `stale` | the first worker dies when the picture is to begin |
//! | `poison` | every worker does |
//! | `kill` | the worker dies at every step |
//! | `dies@N` | the worker dies at evaluation N |
//! | `once@N` | the first worker dies at evaluation N, later ones do not |
//! | `hang` | no step ever ends |
//! | `nan` | every step gives no numbers |
//! | `nan@N` | evaluation N does |
//! | `changed` | a saved state starts again at evaluation 0 |
//! | `unsaved` | saving fails |
//! | `wrong` | the request is refused by its field `sampler`, by begin and by plan |
//! | `large` | the file has 700,000 bytes |
//!
//! Models: `deadly` kills the worker that loads it, `broken` is no model, `huge` fits nowhere, `wide` has large pictures.

mod generation;
mod running;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use imgd_proto::v1;
use tokio::sync::watch;

use self::running::Fake;
use crate::engine::{Answer, Death, Engine, EngineFactory, ModelKey, PictureRequest, Place};

/// What was asked of all engines of a test, in order: `worker 1`, `load m`, `begin apple 40`, `step apple 1`,
/// `step apple 2, pear 1`, `save apple 2`, `restore apple 40 2`, `decode apple 1`, `finish apple 40`, `forget apple`.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<Vec<String>>);

impl Record {
    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    /// What was asked so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// How often something that begins like this was asked.
    pub(crate) fn count(&self, beginning: &str) -> usize {
        self.lines()
            .iter()
            .filter(|line| line.starts_with(beginning))
            .count()
    }
}

/// Makes fakes whose steps take `step` for one generation.
#[derive(Debug, Clone)]
pub(crate) struct FakeFactory {
    pub(crate) step: Duration,
    /// What each further generation of a step adds, as a share of `step`: with 1 a batch saves nothing.
    pub(crate) further: f64,
    /// What a save is said to take.
    pub(crate) save: Duration,
    pub(crate) record: Arc<Record>,
    started: Arc<AtomicU32>,
    /// The end of each worker so far.
    ends: Arc<Mutex<Vec<End>>>,
}

/// How a worker ended, once it has.
type End = Arc<watch::Sender<Option<Death>>>;

impl FakeFactory {
    pub(crate) fn new(step: Duration) -> Self {
        Self {
            step,
            further: 0.5,
            save: Duration::from_micros(10),
            record: Arc::default(),
            started: Arc::default(),
            ends: Arc::default(),
        }
    }

    /// Kills the worker that was started last; `is_foreign` as somebody else would, otherwise as by its own fault.
    pub(crate) fn kill(&self, is_foreign: bool) {
        let ends = self.ends.lock().unwrap();
        let end = ends.last().expect("a worker was started");
        end.send_replace(Some(Death {
            is_foreign,
            ..killed()
        }));
    }
}

impl EngineFactory for FakeFactory {
    fn start(&self) -> Answer<Arc<dyn Engine>> {
        let pid = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        self.record.add(format!("worker {pid}"));
        let end = Arc::new(watch::channel(None).0);
        self.ends.lock().unwrap().push(Arc::clone(&end));
        let fake = Fake {
            pid,
            factory: self.clone(),
            end,
            generations: Arc::default(),
        };
        Box::pin(async move { Ok(Arc::new(fake) as Arc<dyn Engine>) })
    }
}

/// A death by the worker's own fault.
fn killed() -> Death {
    Death {
        how: "was killed by signal 9".to_owned(),
        signal: Some(9),
        is_out_of_memory: true,
        is_foreign: false,
    }
}

/// A model of that name.
pub(crate) fn model(name: &str) -> ModelKey {
    let place = Place::Directory(PathBuf::from("/nonexistent").join(name));
    ModelKey {
        place,
        name: name.to_owned(),
        precision: v1::Precision::Auto,
    }
}

/// Memory that a model of this name needs.
fn need(model: &ModelKey) -> u64 {
    if model.name.contains("huge") {
        1 << 50
    } else {
        100
    }
}

/// A model of 100 bytes whose pictures are large: 16 bytes for each of 1024 x 1024 pixels, in 1000 steps.
fn wide() -> v1::Model {
    v1::Model {
        memory_bytes: 100 + (16 << 20),
        working_bytes_per_pixel: 16,
        defaults: Some(v1::Settings {
            width_px: 1024,
            height_px: 1024,
            num_inference_steps: 1000,
            ..v1::Settings::default()
        }),
        ..v1::Model::default()
    }
}

/// A picture to make.
pub(crate) fn picture(prompt: &str, seed: u64, steps: u32) -> PictureRequest {
    PictureRequest {
        prompt: crate::prompt::Prompt::new(prompt.to_owned()),
        negative_prompt: None,
        width_px: None,
        height_px: None,
        num_inference_steps: Some(steps),
        guidance_scale: None,
        seed,
        variation_seed: None,
        variation_strength: None,
        sampler: None,
        schedule: None,
        clip_skip: None,
        max_sequence_length: None,
        prompt_syntax: v1::PromptSyntax::Unspecified,
        loras: Vec::new(),
        controls: Vec::new(),
        embeddings: Vec::new(),
        ref_images: Vec::new(),
        hires: None,
        upscale: None,
        input: None,
    }
}

/// No two of these are equal.
pub(crate) fn all_differ<T: Ord>(items: impl IntoIterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.into_iter().all(|item| seen.insert(item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::GenerationId, failure::is_worker_died};

    /// What tests of the scheduler build on: a death fails what is under way, and a saved state goes on elsewhere.
    #[tokio::test]
    async fn a_killed_fake_fails_its_calls_and_its_generations_go_on_in_another() {
        let factory = FakeFactory::new(Duration::from_millis(1));
        let first = factory.start().await.unwrap();
        let (a, b) = (GenerationId(1), GenerationId(2));
        for (id, prompt) in [(a, "a"), (b, "b")] {
            let begun = first.begin(id, &model("m"), picture(prompt, 7, 3));
            assert_eq!(begun.await.unwrap().evaluations_done, 0);
        }
        assert_eq!(first.step(&[a, b]).await.unwrap().len(), 2);
        let saved = first.save(b).await.unwrap();
        let step = first.step(&[b]);
        factory.kill(true);
        assert!(is_worker_died(&step.await.unwrap_err()));
        assert!(first.died().await.is_foreign);
        let second = factory.start().await.unwrap();
        let begun = second.restore(b, &model("m"), saved.bytes).await.unwrap();
        assert_eq!((begun.evaluations_done, begun.restarted), (1, None));
        let lines = factory.record.lines();
        assert!(lines.contains(&"step a 1, b 1".to_owned()), "{lines:?}");
        assert!(lines.contains(&"restore b 7 1".to_owned()), "{lines:?}");
    }
}
