//! One fake worker.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use imgd_proto::v1;
use tokio::{sync::watch, time::sleep};
use tonic::codegen::Bytes;

use super::{
    End, FakeFactory,
    generation::{DECODER_STAGES, Generation},
    killed, need, wide,
};
use crate::{
    engine::{
        Answer, Begun, Death, Decoded, Engine, FileRequest, GenerationId, Hardening, Loaded,
        ModelKey, Picture, PictureRequest, Planned, Saved, Stepped,
    },
    failure::{Failure, Reason},
    sandbox::Report,
};

const BRIEF: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Fake {
    pub(super) pid: u32,
    pub(super) factory: FakeFactory,
    pub(super) end: End,
    pub(super) generations: Arc<Mutex<BTreeMap<GenerationId, Generation>>>,
}

impl Fake {
    fn record(&self, line: String) {
        self.factory.record.add(line);
    }

    /// An answer that fails when the worker dies before it is given.
    fn answer<T: Send + 'static>(
        &self,
        answer: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Answer<T> {
        let mut ended = self.end.subscribe();
        Box::pin(async move {
            tokio::select! {
                biased;
                death = died(&mut ended) => Err(Failure::new(Reason::WorkerDied, death.how)),
                answer = answer => answer,
            }
        })
    }

    fn die<T: Send + 'static>(&self) -> Answer<T> {
        self.end.send_replace(Some(killed()));
        self.answer(std::future::pending())
    }

    fn generation(&self, id: GenerationId) -> Generation {
        self.generations.lock().unwrap()[&id].clone()
    }

    /// Whether this worker dies of what its generations have come to.
    fn is_deadly(&self, generation: &Generation) -> bool {
        generation.prompt.contains("kill")
            || generation.says("dies")
            || (self.pid == 1 && generation.says("once"))
    }

    fn begun(&self, id: GenerationId, model: &ModelKey, generation: Generation) -> Begun {
        let begun = Begun {
            settings: generation.settings(model),
            evaluation_count: generation.count,
            evaluations_done: generation.done,
            restarted: None,
            kept_bytes: 0,
            notices: Vec::new(),
            took: BRIEF,
        };
        self.generations.lock().unwrap().insert(id, generation);
        begun
    }
}

async fn died(ended: &mut watch::Receiver<Option<Death>>) -> Death {
    match ended.wait_for(Option::is_some).await {
        Ok(death) => death.clone().unwrap_or_else(killed),
        Err(_) => killed(),
    }
}

fn stepped(generation: &Generation, took: Duration) -> Result<Stepped, Failure> {
    if generation.says("nan")
        || (generation.prompt.contains("nan") && !generation.prompt.contains("nan@"))
    {
        return Err(Failure::new(Reason::Numerics, "the network gave NaN"));
    }
    Ok(Stepped {
        evaluations_done: generation.done,
        inference_step: generation.done,
        sigma: 1.0,
        is_done: generation.done == generation.count,
        took,
    })
}

impl Engine for Fake {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn died(&self) -> Pin<Box<dyn Future<Output = Death> + Send>> {
        let mut ended = self.end.subscribe();
        Box::pin(async move { died(&mut ended).await })
    }

    fn end(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.record(format!("end {}", self.pid));
        self.end.send_if_modified(|death| {
            let is_first = death.is_none();
            death.get_or_insert_with(|| Death {
                how: "was ended".to_owned(),
                is_out_of_memory: false,
                ..killed()
            });
            is_first
        });
        Box::pin(async {})
    }

    fn inspect(&self, model: &ModelKey) -> Answer<v1::Model> {
        self.record(format!("inspect {model}"));
        let described = if model.name.contains("broken") {
            let message = "unet/config.json: expected a number";
            Err(Failure::new(Reason::ModelInvalid, message))
        } else if model.name.contains("wide") {
            Ok(wide())
        } else {
            Ok(v1::Model {
                memory_bytes: need(model),
                ..v1::Model::default()
            })
        };
        self.answer(async { described })
    }

    fn load(&self, model: &ModelKey, progress: watch::Sender<f64>) -> Answer<Loaded> {
        self.record(format!("load {model}"));
        let kills = model.name.contains("deadly");
        let (end, memory_bytes, step) = (Arc::clone(&self.end), need(model), self.factory.step);
        self.answer(async move {
            progress.send_replace(0.5);
            sleep(step).await;
            if kills {
                let death = killed();
                let failure = Failure::new(Reason::WorkerDied, death.how.clone());
                end.send_replace(Some(death));
                return Err(failure);
            }
            Ok(Loaded {
                model_hash: "abc".to_owned(),
                memory_bytes,
                threads: 2,
                hardening: Hardening {
                    environment_is_cleared: true,
                    core_dumps_are_off: false,
                    sandbox: Report::default(),
                },
            })
        })
    }

    fn unload(&self, model: &ModelKey) -> Answer<()> {
        self.record(format!("unload {model}"));
        self.answer(async { Ok(()) })
    }

    fn begin(&self, id: GenerationId, model: &ModelKey, picture: PictureRequest) -> Answer<Begun> {
        let prompt = picture.prompt.reveal();
        self.record(format!("begin {prompt} {}", picture.seed));
        // As a worker that had died unnoticed, and as one that cannot stand the request.
        if (prompt.contains("stale") && self.pid == 1) || prompt.contains("poison") {
            return self.die();
        }
        let begun = Generation::of(&picture).map(|generation| self.begun(id, model, generation));
        self.answer(async { begun })
    }

    fn restore(&self, id: GenerationId, model: &ModelKey, saved: Bytes) -> Answer<Begun> {
        let begun = Generation::restore(&saved).map(|mut generation| {
            let (prompt, seed, done) = (&generation.prompt, generation.seed, generation.done);
            self.record(format!("restore {prompt} {seed} {done}"));
            let has_changed = generation.prompt.contains("changed");
            if has_changed {
                generation.done = 0;
            }
            Begun {
                restarted: has_changed.then(|| "the model's weights have changed".to_owned()),
                ..self.begun(id, model, generation)
            }
        });
        self.answer(async { begun })
    }

    fn save(&self, id: GenerationId) -> Answer<Saved> {
        let generation = self.generation(id);
        self.record(format!("save {} {}", generation.prompt, generation.done));
        let took = self.factory.save;
        self.answer(async move {
            if generation.prompt.contains("unsaved") {
                return Err(Failure::new(Reason::Internal, "it cannot be saved"));
            }
            let bytes = generation.save().into();
            Ok(Saved { bytes, took })
        })
    }

    fn step(&self, ids: &[GenerationId]) -> Answer<Vec<Result<Stepped, Failure>>> {
        let mut generations = self.generations.lock().unwrap();
        let batch: Vec<Generation> = ids
            .iter()
            .map(|id| {
                let generation = generations.get_mut(id).unwrap();
                assert!(generation.done < generation.count, "{id:?} is done");
                generation.done += 1;
                generation.clone()
            })
            .collect();
        drop(generations);
        let told: Vec<String> = batch
            .iter()
            .map(|generation| format!("{} {}", generation.prompt, generation.done))
            .collect();
        self.record(format!("step {}", told.join(", ")));
        if batch.iter().any(|generation| self.is_deadly(generation)) {
            return self.die();
        }
        let further = u32::try_from(ids.len() - 1).unwrap();
        let took = self
            .factory
            .step
            .mul_f64(self.factory.further.mul_add(further.into(), 1.0));
        self.answer(async move {
            sleep(took).await;
            let hangs = |generation: &Generation| generation.prompt.contains("hang");
            if batch.iter().any(hangs) {
                std::future::pending::<()>().await;
            }
            Ok(batch
                .iter()
                .map(|generation| stepped(generation, took))
                .collect())
        })
    }

    fn preview(&self, id: GenerationId) -> Answer<v1::Preview> {
        let seed = self.generation(id).seed;
        self.answer(async move {
            Ok(v1::Preview {
                png: format!("preview of {seed}").into_bytes().into(),
                ..v1::Preview::default()
            })
        })
    }

    fn decode(&self, id: GenerationId) -> Answer<Decoded> {
        let mut generations = self.generations.lock().unwrap();
        let generation = generations.get_mut(&id).unwrap();
        assert_eq!(generation.done, generation.count, "{id:?} is not done");
        generation.decoded = (generation.decoded + 1).min(DECODER_STAGES);
        let (prompt, decoded) = (generation.prompt.clone(), generation.decoded);
        drop(generations);
        self.record(format!("decode {prompt} {decoded}"));
        let took = self.factory.step;
        self.answer(async move {
            sleep(took).await;
            let is_done = decoded == DECODER_STAGES;
            Ok(Decoded { is_done, took })
        })
    }

    fn finish(&self, id: GenerationId, file: FileRequest) -> Answer<Picture> {
        let generation = self.generations.lock().unwrap().remove(&id).unwrap();
        assert_eq!(generation.done, generation.count, "{id:?} is not done");
        self.record(format!("finish {} {}", generation.prompt, generation.seed));
        let bytes = if generation.prompt.contains("large") {
            vec![7; 700_000]
        } else {
            generation.seed.to_string().into_bytes()
        };
        let metadata = v1::ImageMetadata {
            format: file.format.into(),
            ..v1::ImageMetadata::default()
        };
        let thumbnail = format!("thumbnail of {}", generation.seed).into_bytes();
        self.answer(async move {
            Ok(Picture {
                bytes: bytes.into(),
                thumbnail: thumbnail.into(),
                metadata,
                took: BRIEF,
            })
        })
    }

    fn forget(&self, id: GenerationId) -> Answer<()> {
        let generation = self.generations.lock().unwrap().remove(&id).unwrap();
        self.record(format!("forget {}", generation.prompt));
        self.answer(async { Ok(()) })
    }

    fn plan(&self, model: &ModelKey, picture: PictureRequest) -> Answer<Planned> {
        self.record(format!("plan {model}"));
        let planned = Generation::of(&picture).map(|generation| Planned {
            settings: generation.settings(model),
            evaluation_count: generation.count,
        });
        self.answer(async { planned })
    }
}
