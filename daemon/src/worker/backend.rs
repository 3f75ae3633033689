//! What the worker can do: the engine's models and generations, by the names the supervisor gave them.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use imgd_engine::{
    Borders, CannyThresholds, Control, EmbeddingWord, ErrorKind, HiresFix, InitImage, Lora,
    ModelInfo, OpenOptions, Precision, PromptSyntax, RefImage, Request, Settings, UsedControl,
    Variation,
    checkpoint::{EmbeddedFile, Source},
    image::{Format, encode_preview_png, thumbnail},
};
use imgd_proto::{Failure, Reason, v1};
use sha2::{Digest as _, Sha256};

use super::{
    held::{InFlight, Loaded},
    process::{Backend, Progress},
    upscaling,
    wire::{
        self, Empty, Finish, Finished, ModelKey, Outcome, Planned, Previewed, Restore, Start,
        Started, Stats, StepResult, Stepped, Verb,
    },
};
use crate::{
    config::Environment,
    machine::{anonymous_bytes, resident_bytes},
    sandbox::Confined,
};

/// Models in memory, and the generations of each.
pub(crate) struct Models {
    starter: &'static [EmbeddedFile],
    /// Where tiny autoencoders lie that make previews.
    vae_approx_dir: Option<PathBuf>,
    /// What the worker's process has given up.
    confined: Confined,
    models: BTreeMap<ModelKey, Loaded>,
    generations: BTreeMap<u64, Held>,
}

/// A generation and its model.
struct Held {
    model: ModelKey,
    generation: InFlight,
    /// Whether it goes on with a saved state.
    #[cfg(feature = "faults")]
    is_restored: bool,
}

impl Models {
    /// None yet. `starter` is the model inside the program, empty where it has none.
    pub(crate) fn new(starter: &'static [EmbeddedFile]) -> Self {
        Self {
            starter,
            vae_approx_dir: None,
            confined: Confined::not(),
            models: BTreeMap::new(),
            generations: BTreeMap::new(),
        }
    }

    /// The same in a process that has confined itself.
    pub(crate) fn within(self, confined: Confined) -> Self {
        Self { confined, ..self }
    }

    /// The same with previews by the tiny autoencoders of a folder.
    pub(crate) fn with_vae_approx(self, directory: Option<PathBuf>) -> Self {
        Self {
            vae_approx_dir: directory,
            ..self
        }
    }
}

impl Backend for Models {
    fn answer(&mut self, verb: Verb, progress: Progress) -> Result<Outcome, Failure> {
        match verb {
            Verb::Load(key) => self.load(&key, progress).map(Outcome::Loaded),
            Verb::Inspect(key) => self.inspect(&key).map(Outcome::Inspected),
            Verb::Start(start) => self.start(start).map(Outcome::Started),
            Verb::Step(generations) => self.step(&generations.ids).map(Outcome::Stepped),
            Verb::Preview(generation) => self.preview(generation).map(Outcome::Previewed),
            Verb::Decode(generation) => self.decode(generation).map(Outcome::Decoded),
            Verb::Plan(request) => self.plan(request).map(Outcome::Planned),
            Verb::Finish(finish) => self.finish(finish).map(Outcome::Finished),
            Verb::Save(generation) => {
                let saved = self.held(generation)?.generation.save().map_err(failure)?;
                Ok(Outcome::Saved(saved.into()))
            }
            Verb::Restore(restore) => self.restore(restore).map(Outcome::Started),
            Verb::Drop(generation) => {
                self.generations.remove(&generation);
                Ok(Outcome::Done(Empty {}))
            }
            Verb::Unload(key) => {
                self.generations.retain(|_, held| held.model != key);
                if self.models.remove(&key).is_some() {
                    give_memory_back();
                }
                Ok(Outcome::Done(Empty {}))
            }
            Verb::Stats(Empty {}) => Ok(Outcome::Stats(Stats {
                models: u32::try_from(self.models.len()).unwrap_or(u32::MAX),
                generations: u32::try_from(self.generations.len()).unwrap_or(u32::MAX),
                resident_bytes: resident_bytes(std::process::id()),
                threads: threads(),
            })),
        }
    }
}

impl Models {
    fn load(&mut self, key: &ModelKey, progress: Progress) -> Result<wire::Loaded, Failure> {
        // Memory that is kept for the next picture would be used for the model and not count, or count as its own.
        give_memory_back();
        let before = anonymous_bytes(std::process::id());
        if !self.models.contains_key(key) {
            let options = OpenOptions {
                name: key.name.clone(),
                precision: precision(key),
                progress: Some(progress),
            };
            let model = match upscaler(key) {
                Some(file) => Loaded::open_upscaler(&file, &options),
                None => Loaded::open_model(&self.source(key)?, &options),
            };
            self.models.insert(key.clone(), model.map_err(failure)?);
        }
        give_memory_back();
        let model = self.model(key)?;
        let grown = anonymous_bytes(std::process::id()).saturating_sub(before);
        Ok(wire::Loaded {
            model_hash: model.hash().to_owned(),
            // What is loaded when it is needed is not there yet: never less than planned.
            memory_bytes: grown.max(model.loaded_bytes()),
            threads: threads(),
            foreign_variables: count(Environment::not_for_workers()),
            core_dumps_are_off: crate::sys::core_dumps_are_off(),
            sandbox: self.confined.look(),
        })
    }

    fn inspect(&self, key: &ModelKey) -> Result<v1::Model, Failure> {
        if let Some(file) = upscaler(key) {
            let info = imgd_engine::inspect_upscaler(&file, precision(key)).map_err(failure)?;
            return Ok(upscaling::described(key, info));
        }
        let info =
            imgd_engine::inspect(&self.source(key)?, &key.name, precision(key)).map_err(failure)?;
        Ok(described(key, info))
    }

    fn plan(&self, start: Start) -> Result<Planned, Failure> {
        if let Some(file) = upscaler(&start.model) {
            let (name, precision) = (start.model.name.clone(), precision(&start.model));
            let request = upscaling::request(start);
            let planned = imgd_engine::plan_upscaling(&file, &name, precision, &request);
            let (settings, tiles) = planned.map_err(failure)?;
            return Ok(Planned {
                settings: upscaling::settings(&settings),
                evaluation_count: count(tiles),
            });
        }
        let (_, key, request) = request(start);
        let source = self.source(&key)?;
        let planned =
            imgd_engine::plan(&source, &key.name, precision(&key), &request).map_err(failure)?;
        Ok(Planned {
            settings: settings(&planned.settings),
            evaluation_count: count(planned.evaluation_count),
        })
    }

    fn start(&mut self, start: Start) -> Result<Started, Failure> {
        let (id, key) = (start.generation, start.model.clone());
        let generation = match self.model(&key)? {
            Loaded::Model(model) => {
                let (_, _, request) = request(start);
                model
                    .start(&request)
                    .map(|generation| InFlight::Generation(Box::new(generation)))
            }
            Loaded::Upscaler(upscaler) => upscaler
                .start(&upscaling::request(start))
                .map(|upscaling| InFlight::Upscaling(Box::new(upscaling))),
        };
        Ok(self.hold(id, key, generation.map_err(failure)?, None))
    }

    fn restore(&mut self, restore: Restore) -> Result<Started, Failure> {
        let Restore {
            generation: id,
            model,
            saved,
        } = restore;
        let (generation, restarted) = self.model(&model)?.restore(&saved).map_err(failure)?;
        let started = self.hold(id, model, generation, restarted);
        #[cfg(feature = "faults")]
        if let Some(held) = self.generations.get_mut(&id) {
            held.is_restored = true;
        }
        Ok(started)
    }

    fn hold(
        &mut self,
        id: u64,
        model: ModelKey,
        generation: InFlight,
        restarted: Option<String>,
    ) -> Started {
        let started = Started {
            settings: generation.settings(),
            notices: generation
                .notices()
                .into_iter()
                .map(|notice| v1::Notice {
                    reason: notice.reason,
                    message: notice.message,
                    field: notice.field,
                })
                .collect(),
            evaluation_count: count(generation.evaluation_count()),
            evaluations_done: count(generation.evaluations_done()),
            restarted,
            kept_bytes: self.models.get(&model).map_or(0, Loaded::kept_bytes),
        };
        let held = Held {
            model,
            generation,
            #[cfg(feature = "faults")]
            is_restored: false,
        };
        self.generations.insert(id, held);
        started
    }

    /// One evaluation for each, in one batch. All are of one model; none is twice in the list.
    fn step(&mut self, ids: &[u64]) -> Result<Stepped, Failure> {
        let key = match ids.first() {
            Some(&first) => self.held(first)?.model.clone(),
            None => {
                return Ok(Stepped {
                    results: Vec::new(),
                });
            }
        };
        let model = self.models.get(&key).ok_or_else(|| not_loaded(&key))?;
        #[cfg(feature = "faults")]
        for held in ids.iter().filter_map(|id| self.generations.get(id)) {
            if let InFlight::Generation(generation) = &held.generation {
                super::faults::strike(generation, held.is_restored);
            }
        }
        let mut chosen: Vec<(usize, &mut InFlight)> = self
            .generations
            .iter_mut()
            .filter(|(_, held)| held.model == key)
            .filter_map(|(id, held)| {
                let place = ids.iter().position(|wanted| wanted == id)?;
                Some((place, &mut held.generation))
            })
            .collect();
        if chosen.len() != ids.len() {
            return Err(internal(
                "a step takes different generations of one model".to_owned(),
            ));
        }
        chosen.sort_by_key(|(place, _)| *place);
        let mut batch: Vec<&mut InFlight> = chosen
            .into_iter()
            .map(|(_, generation)| generation)
            .collect();
        let results = model.step(&mut batch);
        let results = results
            .into_iter()
            .zip(batch)
            .map(|(result, generation)| StepResult {
                failed: result.err().map(|error| failure(error).into()),
                evaluations_done: count(generation.evaluations_done()),
                inference_step: count(generation.inference_step()),
                sigma: generation.sigma(),
                is_done: generation.is_done(),
            });
        Ok(Stepped {
            results: results.collect(),
        })
    }

    fn preview(&self, id: u64) -> Result<Previewed, Failure> {
        let Held {
            model, generation, ..
        } = self.held(id)?;
        let preview = self
            .model(model)?
            .preview(generation, self.vae_approx_dir.as_deref())
            .map_err(failure)?;
        let picture = preview.image;
        let png = encode_preview_png(&picture).map_err(failure)?.into();
        Ok(Previewed {
            preview: v1::Preview {
                png,
                width_px: picture.width_px,
                height_px: picture.height_px,
            },
            notice: preview.notice.map(|error| failure(error).into()),
        })
    }

    fn decode(&mut self, id: u64) -> Result<bool, Failure> {
        let Held {
            model, generation, ..
        } = self.generations.get_mut(&id).ok_or_else(|| unknown(id))?;
        let model = self.models.get(model).ok_or_else(|| not_loaded(model))?;
        model.decode(generation).map_err(failure)
    }

    /// Forgets the generation, whether or not it makes a picture.
    fn finish(&mut self, finish: Finish) -> Result<Finished, Failure> {
        let id = finish.generation;
        let Held {
            model, generation, ..
        } = self.generations.remove(&id).ok_or_else(|| unknown(id))?;
        let model = self.model(&model)?;
        let settings = generation.settings();
        let format = match finish.format() {
            v1::ImageFormat::Unspecified | v1::ImageFormat::Png => Format::Png,
            v1::ImageFormat::Jpeg => {
                let quality =
                    u8::try_from(finish.jpeg_quality).unwrap_or(Format::DEFAULT_JPEG_QUALITY);
                Format::Jpeg { quality }
            }
            v1::ImageFormat::Webp => Format::WebpLossless,
        };
        let made = model
            .finish(generation, format, !finish.omit_metadata)
            .map_err(failure)?;
        let metadata = v1::ImageMetadata {
            format: match finish.format() {
                v1::ImageFormat::Unspecified => v1::ImageFormat::Png.into(),
                _ => finish.format,
            },
            settings: Some(settings),
            model_hash: model.hash().to_owned(),
            sha256: hex(&Sha256::digest(&made.bytes)),
            parameters: made.parameters,
        };
        Ok(Finished {
            bytes: made.bytes.into(),
            metadata,
            thumbnail: thumbnail(&made.image).map_err(failure)?.into(),
        })
    }

    fn source(&self, key: &ModelKey) -> Result<Source, Failure> {
        match &key.directory {
            Some(directory) => {
                let config = key.config.as_deref().map(path);
                let parts = key.parts.iter();
                let parts = parts.map(|part| (part.part.clone(), path(&part.file)));
                Source::at(path(directory), config, self.starter)
                    .and_then(|source| source.with_parts(parts.collect()))
                    .map_err(failure)
            }
            None if !self.starter.is_empty() => Ok(Source::Embedded(self.starter)),
            None => {
                let message = format!("model `{}` is not inside this build of imgd", key.name);
                Err(Failure::new(Reason::ModelNotFound, message)
                    .with_field("model")
                    .with_hint("name a model of `imgctl models`, or give the path of a diffusers directory"))
            }
        }
    }

    fn model(&self, key: &ModelKey) -> Result<&Loaded, Failure> {
        self.models.get(key).ok_or_else(|| not_loaded(key))
    }

    fn held(&self, id: u64) -> Result<&Held, Failure> {
        self.generations.get(&id).ok_or_else(|| unknown(id))
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(bytes)).to_owned()
}

/// The file of an upscaler; `None` of a model that draws.
fn upscaler(key: &ModelKey) -> Option<PathBuf> {
    let file = key.directory.as_deref().filter(|_| key.is_upscaler);
    file.map(path)
}

/// The generation's number, its model, and what the engine is to make.
fn request(start: Start) -> (u64, ModelKey, Request) {
    let prompt_syntax = match start.prompt_syntax() {
        v1::PromptSyntax::Unspecified => None,
        v1::PromptSyntax::Plain => Some(PromptSyntax::Plain),
        v1::PromptSyntax::A1111 => Some(PromptSyntax::A1111),
    };
    let request = Request {
        prompt: start.prompt,
        negative_prompt: start.negative_prompt,
        width_px: start.width_px,
        height_px: start.height_px,
        num_inference_steps: start.num_inference_steps,
        guidance_scale: start.guidance_scale,
        seed: start.seed,
        variation: start.variation_seed.map(|seed| Variation {
            seed,
            strength: start.variation_strength.unwrap_or_default(),
        }),
        sampler: start.sampler,
        schedule: start.schedule,
        clip_skip: start.clip_skip,
        prompt_syntax,
        max_sequence_length: start.max_sequence_length,
        loras: start
            .loras
            .into_iter()
            .map(|lora| Lora {
                path: lora.lora.into(),
                weight: lora.weight.unwrap_or(1.0),
            })
            .collect(),
        controls: start.controls.into_iter().map(control).collect(),
        embeddings: start
            .embeddings
            .into_iter()
            .map(|embedding| EmbeddingWord {
                word: embedding.word,
                path: embedding.file.into(),
            })
            .collect(),
        ref_images: start
            .ref_images
            .into_iter()
            .map(|picture| RefImage {
                image: picture.ref_image,
            })
            .collect(),
        hires: start.hires.map(|hires| HiresFix {
            scale: hires.hires_scale,
            strength: hires.hires_strength,
            num_inference_steps: hires.hires_steps,
        }),
        init: start.input.map(|input| InitImage {
            mask: Some(input.mask).filter(|mask| !mask.is_empty()),
            strength: input.strength,
            mask_blur_px: input.mask_blur_px.unwrap_or_default(),
            only_masked_padding_px: input.only_masked_padding_px,
            borders: Borders {
                left_px: input.extend_left_px,
                right_px: input.extend_right_px,
                top_px: input.extend_top_px,
                bottom_px: input.extend_bottom_px,
            },
            ..InitImage::new(input.init_image)
        }),
    };
    (start.generation, start.model, request)
}

/// A ControlNet of a request, defaults filled in.
fn control(control: v1::Control) -> Control {
    let defaults = CannyThresholds::default();
    let canny = match control.preprocess() {
        v1::ControlPreprocess::Unspecified => None,
        v1::ControlPreprocess::Canny => Some(CannyThresholds {
            low: control.canny_low.unwrap_or(defaults.low),
            high: control.canny_high.unwrap_or(defaults.high),
        }),
    };
    Control {
        path: control.control_model.into(),
        image: control.control_image,
        canny,
        weight: control.control_weight.unwrap_or(1.0),
        start: control.control_start.unwrap_or(0.0),
        end: control.control_end.unwrap_or(1.0),
    }
}

fn used_control(used: &UsedControl) -> v1::UsedControl {
    v1::UsedControl {
        name: used.name.clone(),
        weight: used.weight,
        start: used.start,
        end: used.end,
        preprocess: match used.canny {
            None => v1::ControlPreprocess::Unspecified,
            Some(_) => v1::ControlPreprocess::Canny,
        }
        .into(),
        canny_low: used.canny.map(|canny| canny.low),
        canny_high: used.canny.map(|canny| canny.high),
        image_sha256: used.image_sha256.clone(),
        sha256: used.sha256.clone(),
    }
}

fn unknown(id: u64) -> Failure {
    internal(format!("there is no generation {id}"))
}

fn not_loaded(key: &ModelKey) -> Failure {
    internal(format!("model `{}` is not loaded", key.name))
}

fn internal(message: String) -> Failure {
    Failure::new(Reason::Internal, message)
}

/// The engine's failure in the contract's words. The one place that maps its kinds to reasons.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn failure(error: imgd_engine::Error) -> Failure {
    let reason = match error.kind() {
        ErrorKind::InvalidArgument => Reason::InvalidField,
        ErrorKind::NotFound => Reason::ModelNotFound,
        ErrorKind::ModelInvalid => Reason::ModelInvalid,
        ErrorKind::OutOfMemory => Reason::OutOfMemory,
        ErrorKind::Numerics => Reason::Numerics,
        ErrorKind::Internal => Reason::Internal,
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !message.contains(&cause_text) {
            message = format!("{message}: {cause_text}");
        }
        source = cause.source();
    }
    let mut failure = Failure::new(reason, message);
    // What is wrong with a model's files is, to the request, the model it named.
    let is_model = matches!(reason, Reason::ModelNotFound | Reason::ModelInvalid);
    let field = error.field().or_else(|| is_model.then_some("model"));
    failure.field = field.map(ToOwned::to_owned);
    failure.hint = error.hint().map(ToOwned::to_owned);
    failure
}

/// Gives the system back what nothing uses.
fn give_memory_back() {
    imgd_engine::kernels::cpu::release();
    crate::sys::give_memory_back();
}

fn precision(key: &ModelKey) -> Precision {
    match key.precision() {
        v1::Precision::Unspecified | v1::Precision::Auto => Precision::Auto,
        v1::Precision::F32 => Precision::F32,
        v1::Precision::Bf16 => Precision::Bf16,
    }
}

/// A precision in the contract's words.
pub(super) fn used_precision(precision: Precision) -> v1::Precision {
    match precision {
        Precision::Auto => v1::Precision::Auto,
        Precision::F32 => v1::Precision::F32,
        Precision::Bf16 => v1::Precision::Bf16,
    }
}

pub(super) fn settings(settings: &Settings) -> v1::Settings {
    v1::Settings {
        model: settings.model.clone(),
        width_px: settings.width_px,
        height_px: settings.height_px,
        num_inference_steps: settings.num_inference_steps,
        guidance_scale: settings.guidance_scale,
        seed: settings.seed,
        variation_seed: settings.variation.map(|variation| variation.seed),
        variation_strength: settings.variation.map(|variation| variation.strength),
        sampler: settings.sampler.clone(),
        schedule: settings.schedule.clone(),
        prediction: settings.prediction.clone(),
        clip_skip: settings.clip_skip,
        precision: used_precision(settings.precision).into(),
        strength: settings.strength,
        is_guided: settings.is_guided(),
        prompt_syntax: match settings.prompt_syntax {
            PromptSyntax::Plain => v1::PromptSyntax::Plain,
            PromptSyntax::A1111 => v1::PromptSyntax::A1111,
        }
        .into(),
        max_sequence_length: settings.max_sequence_length,
        loras: settings
            .loras
            .iter()
            .map(|lora| v1::UsedLora {
                name: lora.name.clone(),
                weight: lora.weight,
                sha256: lora.sha256.clone(),
            })
            .collect(),
        controls: settings.controls.iter().map(used_control).collect(),
        embeddings: settings
            .embeddings
            .iter()
            .map(|used| v1::UsedEmbedding {
                name: used.name.clone(),
                sha256: used.sha256.clone(),
            })
            .collect(),
        ref_image_sha256: settings.ref_image_sha256.clone(),
        hires: settings.hires.map(|hires| v1::UsedHiresFix {
            scale: hires.scale,
            strength: hires.strength,
            num_inference_steps: hires.num_inference_steps,
            width_px: hires.width_px,
            height_px: hires.height_px,
            first_pass_evaluations: hires.first_pass_evaluations,
        }),
        upscale: None,
    }
}

fn described(key: &ModelKey, info: ModelInfo) -> v1::Model {
    let components = info
        .components
        .into_iter()
        .map(|component| v1::ModelComponent {
            name: component.name,
            class: component.class,
            parameter_count: component.parameter_count,
            dtype: component.dtype,
        });
    v1::Model {
        name: key.name.clone(),
        path: key.shown_path(),
        family: info.family,
        pipeline_class: info.pipeline_class,
        parameter_count: info.parameter_count,
        weights_bytes: info.weights_bytes,
        memory_bytes: info.memory_bytes,
        working_bytes_per_pixel: info.working_bytes_per_pixel,
        size_multiple_px: info.size_multiple_px,
        prompt_positions: info.prompt_positions,
        defaults: Some(settings(&info.defaults)),
        components: components.collect(),
        // What its name says is not the engine's.
        ..v1::Model::default()
    }
}

/// Threads the engine computes with: what the spawner chose.
fn threads() -> u32 {
    count(rayon::current_num_threads())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
