//! Worker processes as the scheduler's engines.

use std::{os::unix::ffi::OsStrExt as _, path::PathBuf, pin::Pin, sync::Arc};

use imgd_proto::v1;
use tokio::sync::watch;
use tonic::codegen::Bytes;

use crate::{
    engine::{
        Answer, Begun, Death, Decoded, Engine, EngineFactory, FileRequest, GenerationId, Hardening,
        Loaded, ModelKey, Picture, PictureRequest, Place, Planned, Saved, Stepped,
    },
    failure::{Failure, Reason},
    spawner::Spawner,
    worker::{Timed, Worker, wire},
};

/// Starts workers by the spawner.
#[derive(Debug, Clone)]
pub(crate) struct Workers(pub(crate) Spawner);

impl EngineFactory for Workers {
    fn start(&self) -> Answer<Arc<dyn Engine>> {
        let spawner = self.0.clone();
        Box::pin(async move { Ok(Arc::new(Worker::spawn(&spawner).await?) as Arc<dyn Engine>) })
    }
}

impl Engine for Worker {
    fn pid(&self) -> u32 {
        self.pid()
    }

    fn died(&self) -> Pin<Box<dyn Future<Output = Death> + Send>> {
        let worker = self.clone();
        Box::pin(async move { worker.death().await })
    }

    fn end(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let worker = self.clone();
        Box::pin(async move {
            worker.kill().await;
        })
    }

    fn inspect(&self, model: &ModelKey) -> Answer<v1::Model> {
        let key = key(model);
        ask(self, async move |worker: Self| {
            Ok(worker.inspect(key).await?.value)
        })
    }

    fn load(&self, model: &ModelKey, progress: watch::Sender<f64>) -> Answer<Loaded> {
        let key = key(model);
        ask(self, async move |worker: Self| {
            let wire::Loaded {
                model_hash,
                memory_bytes,
                threads,
                foreign_variables,
                core_dumps_are_off,
                sandbox,
            } = worker.load(key, progress).await?.value;
            Ok(Loaded {
                model_hash,
                memory_bytes,
                threads,
                hardening: Hardening {
                    environment_is_cleared: foreign_variables == 0,
                    core_dumps_are_off,
                    sandbox,
                },
            })
        })
    }

    fn unload(&self, model: &ModelKey) -> Answer<()> {
        let key = key(model);
        ask(self, async move |worker: Self| {
            worker.unload(key).await?;
            Ok(())
        })
    }

    fn begin(
        &self,
        generation: GenerationId,
        model: &ModelKey,
        picture: PictureRequest,
    ) -> Answer<Begun> {
        let start = start(generation, model, picture);
        ask(self, async move |worker: Self| {
            Ok(begun(worker.start(start).await?))
        })
    }

    fn restore(&self, generation: GenerationId, model: &ModelKey, saved: Bytes) -> Answer<Begun> {
        let restore = wire::Restore {
            generation: generation.0,
            model: key(model),
            saved,
        };
        ask(self, async move |worker: Self| {
            Ok(begun(worker.restore(restore).await?))
        })
    }

    fn save(&self, generation: GenerationId) -> Answer<Saved> {
        ask(self, async move |worker: Self| {
            let Timed { value: bytes, took } = worker.save(generation.0).await?;
            Ok(Saved { bytes, took })
        })
    }

    fn step(&self, generations: &[GenerationId]) -> Answer<Vec<Result<Stepped, Failure>>> {
        let ids = generations.iter().map(|generation| generation.0).collect();
        ask(self, async move |worker: Self| {
            let stepped = worker.step(ids).await?;
            let took = stepped.took;
            let results = stepped
                .value
                .results
                .into_iter()
                .map(|result| match result.failed {
                    Some(failed) => Err(failed.into()),
                    None => Ok(Stepped {
                        evaluations_done: result.evaluations_done,
                        inference_step: result.inference_step,
                        sigma: result.sigma,
                        is_done: result.is_done,
                        took,
                    }),
                });
            Ok(results.collect())
        })
    }

    fn preview(&self, generation: GenerationId) -> Answer<v1::Preview> {
        ask(self, async move |worker: Self| {
            let wire::Previewed { preview, notice } = worker.preview(generation.0).await?.value;
            if let Some(notice) = notice {
                let failure = Failure::from(notice);
                let hint = failure.hint.as_deref().unwrap_or_default();
                tracing::warn!("previews are made without a tiny autoencoder: {failure}. {hint}");
            }
            Ok(preview)
        })
    }

    fn decode(&self, generation: GenerationId) -> Answer<Decoded> {
        ask(self, async move |worker: Self| {
            let Timed {
                value: is_done,
                took,
            } = worker.decode(generation.0).await?;
            Ok(Decoded { is_done, took })
        })
    }

    fn finish(&self, generation: GenerationId, file: FileRequest) -> Answer<Picture> {
        let finish = wire::Finish {
            generation: generation.0,
            format: file.format.into(),
            jpeg_quality: file.jpeg_quality.into(),
            omit_metadata: file.omit_metadata,
        };
        ask(self, async move |worker: Self| {
            let finished = worker.finish(finish).await?;
            let wire::Finished {
                bytes,
                metadata,
                thumbnail,
            } = finished.value;
            Ok(Picture {
                bytes,
                thumbnail,
                metadata,
                took: finished.took,
            })
        })
    }

    fn forget(&self, generation: GenerationId) -> Answer<()> {
        ask(self, async move |worker: Self| {
            worker.drop_generation(generation.0).await?;
            Ok(())
        })
    }

    fn plan(&self, model: &ModelKey, picture: PictureRequest) -> Answer<Planned> {
        let request = start(GenerationId(0), model, picture);
        ask(self, async move |worker: Self| {
            let wire::Planned {
                settings,
                evaluation_count,
            } = worker.plan(request).await?.value;
            Ok(Planned {
                settings,
                evaluation_count,
            })
        })
    }
}

fn start(generation: GenerationId, model: &ModelKey, picture: PictureRequest) -> wire::Start {
    wire::Start {
        generation: generation.0,
        model: key(model),
        prompt: picture.prompt.reveal().to_owned(),
        negative_prompt: picture
            .negative_prompt
            .map(|prompt| prompt.reveal().to_owned()),
        width_px: picture.width_px,
        height_px: picture.height_px,
        num_inference_steps: picture.num_inference_steps,
        guidance_scale: picture.guidance_scale,
        seed: picture.seed,
        variation_seed: picture.variation_seed,
        variation_strength: picture.variation_strength,
        sampler: picture.sampler,
        schedule: picture.schedule,
        clip_skip: picture.clip_skip,
        max_sequence_length: picture.max_sequence_length,
        input: picture.input,
        prompt_syntax: picture.prompt_syntax.into(),
        loras: picture.loras,
        controls: picture.controls,
        embeddings: picture.embeddings,
        ref_images: picture.ref_images,
        hires: picture.hires,
        upscale: picture.upscale,
    }
}

fn begun(started: Timed<wire::Started>) -> Begun {
    let Timed { value, took } = started;
    let wire::Started {
        settings,
        notices,
        evaluation_count,
        evaluations_done,
        restarted,
        kept_bytes,
    } = value;
    Begun {
        settings,
        evaluation_count,
        evaluations_done,
        restarted,
        kept_bytes,
        notices,
        took,
    }
}

/// Makes a call. Where the worker has ended, the failure's message says how, as the scheduler wants it.
fn ask<T, F, Called>(worker: &Worker, call: F) -> Answer<T>
where
    F: FnOnce(Worker) -> Called + Send + 'static,
    Called: Future<Output = Result<T, Failure>> + Send + 'static,
    T: Send + 'static,
{
    let worker = worker.clone();
    Box::pin(async move {
        match call(worker.clone()).await {
            Err(failure) if failure.reason == Reason::WorkerDied => {
                Err(Failure::new(Reason::WorkerDied, worker.death().await.how))
            }
            answer => answer,
        }
    })
}

fn part((name, file): (&String, &PathBuf)) -> wire::ModelPart {
    wire::ModelPart {
        part: name.clone(),
        file: file.as_os_str().as_bytes().to_vec(),
    }
}

fn key(model: &ModelKey) -> wire::ModelKey {
    wire::ModelKey {
        directory: match &model.place {
            Place::Embedded => None,
            Place::Directory(path)
            | Place::Configured { file: path, .. }
            | Place::Upscaler(path) => Some(path.as_os_str().as_bytes().to_vec()),
        },
        is_upscaler: matches!(model.place, Place::Upscaler(_)),
        config: match &model.place {
            Place::Configured { config, .. } => config
                .as_ref()
                .map(|config| config.as_os_str().as_bytes().to_vec()),
            Place::Embedded | Place::Directory(_) | Place::Upscaler(_) => None,
        },
        parts: match &model.place {
            Place::Configured { parts, .. } => parts.iter().map(part).collect(),
            Place::Embedded | Place::Directory(_) | Place::Upscaler(_) => Vec::new(),
        },
        name: model.name.clone(),
        precision: model.precision.into(),
    }
}
