//! An engine that computes nothing, for tests of everything around it.
//!
//! A picture's bytes are its seed. What a prompt or a model is called decides what goes wrong.

use std::{
    collections::BTreeSet,
    future::Future,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use imgd_proto::v1;
use tokio::{sync::watch, time::sleep};

use crate::{
    engine::{
        Answer, Begun, Engine, EngineFactory, FileRequest, GenerationId, Hardening, Loaded,
        ModelKey, Picture, PictureRequest, Place, Stepped,
    },
    failure::{Failure, Reason},
};

/// What was asked of all engines of a test, in order.
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

/// Makes fakes whose steps take `step`.
#[derive(Debug, Clone)]
pub(crate) struct FakeFactory {
    pub(crate) step: Duration,
    pub(crate) record: Arc<Record>,
    started: Arc<AtomicU32>,
}

impl FakeFactory {
    pub(crate) fn new(step: Duration) -> Self {
        Self {
            step,
            record: Arc::default(),
            started: Arc::default(),
        }
    }
}

impl EngineFactory for FakeFactory {
    fn start(&self) -> Answer<Arc<dyn Engine>> {
        let pid = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        self.record.add(format!("worker {pid}"));
        let (end, ended) = watch::channel(None);
        let fake = Fake {
            pid,
            step: self.step,
            record: Arc::clone(&self.record),
            end: Arc::new(end),
            ended,
            generations: Arc::default(),
        };
        Box::pin(async move { Ok(Arc::new(fake) as Arc<dyn Engine>) })
    }
}

#[derive(Debug, Clone)]
struct Generation {
    prompt: String,
    seed: u64,
    count: u32,
    done: u32,
}

#[derive(Debug)]
struct Fake {
    pid: u32,
    step: Duration,
    record: Arc<Record>,
    end: Arc<watch::Sender<Option<String>>>,
    ended: watch::Receiver<Option<String>>,
    generations: Arc<Mutex<std::collections::BTreeMap<GenerationId, Generation>>>,
}

fn dead() -> Failure {
    Failure::new(Reason::WorkerDied, "was killed by signal 9")
}

impl Fake {
    fn die(&self) {
        self.end
            .send_replace(Some("was killed by signal 9".to_owned()));
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

impl Engine for Fake {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn died(&self) -> Pin<Box<dyn Future<Output = String> + Send>> {
        let mut ended = self.ended.clone();
        Box::pin(async move {
            let how = ended.wait_for(Option::is_some).await;
            how.ok().and_then(|how| how.clone()).unwrap_or_default()
        })
    }

    fn end(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.record.add(format!("end {}", self.pid));
        self.end.send_replace(Some("was ended".to_owned()));
        Box::pin(async {})
    }

    fn inspect(&self, model: &ModelKey) -> Answer<v1::Model> {
        self.record.add(format!("inspect {model}"));
        let model = model.clone();
        Box::pin(async move {
            if model.name.contains("broken") {
                return Err(Failure::new(
                    Reason::ModelInvalid,
                    "unet/config.json: expected a number",
                ));
            }
            if model.name.contains("wide") {
                return Ok(wide());
            }
            Ok(v1::Model {
                memory_bytes: need(&model),
                ..v1::Model::default()
            })
        })
    }

    fn load(&self, model: &ModelKey, progress: watch::Sender<f64>) -> Answer<Loaded> {
        self.record.add(format!("load {model}"));
        let kills = model.name.contains("deadly");
        let (end, model, step) = (Arc::clone(&self.end), model.clone(), self.step);
        Box::pin(async move {
            progress.send_replace(0.5);
            sleep(step).await;
            if kills {
                end.send_replace(Some("was killed by signal 9".to_owned()));
                return Err(dead());
            }
            Ok(Loaded {
                model_hash: "abc".to_owned(),
                memory_bytes: need(&model),
                threads: 2,
                hardening: Hardening {
                    environment_is_cleared: true,
                    core_dumps_are_off: false,
                },
            })
        })
    }

    fn unload(&self, model: &ModelKey) -> Answer<()> {
        self.record.add(format!("unload {model}"));
        Box::pin(async { Ok(()) })
    }

    fn begin(&self, id: GenerationId, model: &ModelKey, picture: PictureRequest) -> Answer<Begun> {
        let prompt = picture.prompt.reveal().to_owned();
        self.record.add(format!("begin {prompt} {}", picture.seed));
        // As a worker that had died unnoticed, and as one that cannot stand the request.
        if (prompt.contains("stale") && self.pid == 1) || prompt.contains("poison") {
            self.die();
            return Box::pin(async { Err(dead()) });
        }
        let count = picture.num_inference_steps.unwrap_or(3);
        let generation = Generation {
            prompt,
            seed: picture.seed,
            count,
            done: 0,
        };
        self.generations.lock().unwrap().insert(id, generation);
        let settings = v1::Settings {
            model: model.name.clone(),
            seed: picture.seed,
            num_inference_steps: count,
            ..v1::Settings::default()
        };
        let took = Duration::from_millis(1);
        Box::pin(async move {
            Ok(Begun {
                settings,
                evaluation_count: count,
                notices: Vec::new(),
                took,
            })
        })
    }

    fn step(&self, ids: &[GenerationId]) -> Answer<Vec<Result<Stepped, Failure>>> {
        let (id, took) = (ids[0], self.step);
        let mut generations = self.generations.lock().unwrap();
        let generation = generations.get_mut(&id).unwrap();
        generation.done += 1;
        let Generation {
            prompt,
            count,
            done,
            ..
        } = generation.clone();
        drop(generations);
        self.record.add(format!("step {prompt} {done}"));
        if prompt.contains("kill") {
            self.die();
            return Box::pin(async { Err(dead()) });
        }
        Box::pin(async move {
            sleep(took).await;
            if prompt.contains("hang") {
                std::future::pending::<()>().await;
            }
            if prompt.contains("nan") {
                return Ok(vec![Err(Failure::new(
                    Reason::Numerics,
                    "the network gave NaN",
                ))]);
            }
            let is_done = done == count;
            Ok(vec![Ok(Stepped {
                evaluations_done: done,
                inference_step: done,
                sigma: 1.0,
                is_done,
                took,
            })])
        })
    }

    fn preview(&self, _: GenerationId) -> Answer<v1::Preview> {
        Box::pin(async { Ok(v1::Preview::default()) })
    }

    fn finish(&self, id: GenerationId, file: FileRequest) -> Answer<Picture> {
        let generation = self.generations.lock().unwrap().remove(&id).unwrap();
        self.record
            .add(format!("finish {} {}", generation.prompt, generation.seed));
        let bytes = if generation.prompt.contains("large") {
            vec![7; 700_000]
        } else {
            generation.seed.to_string().into_bytes()
        };
        let metadata = v1::ImageMetadata {
            format: file.format.into(),
            ..v1::ImageMetadata::default()
        };
        let took = Duration::from_millis(1);
        Box::pin(async move {
            Ok(Picture {
                bytes: bytes.into(),
                metadata,
                took,
            })
        })
    }

    fn forget(&self, id: GenerationId) -> Answer<()> {
        let generation = self.generations.lock().unwrap().remove(&id).unwrap();
        self.record.add(format!("forget {}", generation.prompt));
        Box::pin(async { Ok(()) })
    }
}

/// A model of that name.
pub(crate) fn model(name: &str) -> ModelKey {
    let place = Place::Directory(PathBuf::from("/nonexistent").join(name));
    ModelKey {
        place,
        name: name.to_owned(),
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
        sampler: None,
        schedule: None,
        clip_skip: None,
    }
}

/// No two of these are equal.
pub(crate) fn all_differ<T: Ord>(items: impl IntoIterator<Item = T>) -> bool {
    let mut seen = BTreeSet::new();
    items.into_iter().all(|item| seen.insert(item))
}
