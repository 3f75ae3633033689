//! The façade: a model, and what moves generations.
//!
//! There is no `generate()`: [`Model::start`] makes a [`Generation`], [`Model::step`] moves any number of them by one
//! network evaluation, [`Model::finish`] makes the picture. Progress, cancelling, pausing, batching and resuming all
//! follow from that.

use std::{path::Path, sync::Arc};

use crate::{
    Error, ErrorKind, Generation, Guidance, InitImage, ModelInfo, Notice, Precision, Request,
    Result, Settings, adapters,
    checkpoint::Source,
    controls, embeddings,
    families::{
        Conditioning, Decoding, Family, LatentShape, ModelFiles, NetworkInput, PreviewDecoder,
        PromptPair,
    },
    generation::{Fingerprint, Saved},
    hires::SecondPass,
    image::{self, Format, METADATA_VERSION, Metadata, Rgb8},
    info::describe,
    init::{self, Beginning, Frame, Scene},
    kernels,
    latent_noise::LatentNoise,
    nn::with_adapters,
    references,
    resolve::{Resolved, resolve},
    sampling::{self, noise},
};

pub use crate::families::Progress;

/// Version of the arithmetic. Raised when the same request would give other bytes; a saved generation of another
/// number starts again.
pub const NUMERICS: &str = "3";

/// How a model is opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// The model as the caller names it; appears in messages and metadata.
    pub name: String,
    /// Number format of the computation.
    pub precision: Precision,
    /// Told the share that is loaded.
    pub progress: Option<Progress>,
}

/// A finished picture with what it takes to make it again.
pub struct Picture {
    /// The pixels.
    pub image: Rgb8,
    /// The text and the record that its file carries.
    pub metadata: Metadata,
}

impl Picture {
    /// The picture's file. `with_metadata` writes prompt and settings into it.
    pub fn encode(&self, format: Format, with_metadata: bool) -> Result<Vec<u8>> {
        image::encode(&self.image, format, with_metadata.then_some(&self.metadata))
    }
}

/// A small picture of a generation's state.
pub struct Preview {
    /// The pixels.
    pub image: Rgb8,
    /// Why a tiny autoencoder that is there did not make it; said once for each file.
    pub notice: Option<Error>,
}

/// What [`Model::restore`] gives.
pub struct Restored {
    /// The generation, ready to go on.
    pub generation: Generation,
    /// Why it starts again at step 0, if it does.
    pub restarted: Option<String>,
}

/// A loaded model.
pub struct Model {
    family: Box<dyn Family>,
    scheduler_config: sampling::SchedulerConfig,
    info: ModelInfo,
    hash: String,
    adapters: adapters::Cache,
    controls: controls::Cache,
    embeddings: embeddings::Cache,
    preview_decoder: Option<PreviewDecoder>,
}

impl Model {
    /// Loads a model onto the CPU.
    ///
    /// Fails with [`ErrorKind::NotFound`] or [`ErrorKind::ModelInvalid`], naming the file, the key or the tensor.
    pub fn open(source: &Source, options: &OpenOptions) -> Result<Self> {
        let (files, family) = ModelFiles::open(source, &options.name, options.progress.clone())?;
        let info = describe(&files, family, options.precision)?;
        let device = candle_core::Device::Cpu;
        let scheduler_config = (family.scheduler)(&files)?;
        let originals = family.originals;
        let preview_decoder = family
            .preview_decoder
            .map(|name| PreviewDecoder::new(name, options.precision));
        let (family, hash) = rayon::join(
            || (family.open)(&files, &device, options.precision),
            || files.hash(),
        );
        kernels::cpu::release();
        let family = family?;
        let layers = files.layers().all();
        let originals = adapters::originals(&layers, originals);
        let controls = controls::Cache::new(family.controlled().cloned(), options.precision);
        Ok(Self {
            family,
            scheduler_config,
            info,
            hash: hash?,
            adapters: adapters::Cache::new(layers, originals),
            controls,
            embeddings: embeddings::Cache::default(),
            preview_decoder,
        })
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// SHA-256 over the weights, hex.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Memory that is taken by what is kept beside the model's own weights for the next request, in bytes.
    pub fn kept_bytes(&self) -> u64 {
        self.controls.bytes()
    }

    /// Begins a picture: checks the request, fills in defaults, encodes the text, draws the noise.
    ///
    /// Fails with [`ErrorKind::InvalidArgument`] naming the field.
    pub fn start(&self, request: &Request) -> Result<Generation> {
        let resolved = resolve(&self.info, &self.scheduler_config, request)?;
        self.begin(request.clone(), resolved)
    }

    /// Moves each generation by one network evaluation.
    ///
    /// Generations of one latent shape and the same adapters share the evaluation. One result for each, in order: numbers that are not
    /// finite fail their own generation only. A generation that is done fails with [`ErrorKind::Internal`].
    pub fn step(&self, generations: &mut [&mut Generation]) -> Vec<Result<()>> {
        let mut results: Vec<Option<Result<()>>> = generations
            .iter_mut()
            .map(|generation| {
                if generation.is_done() {
                    return Some(Err(Error::internal("step of a generation that is done")));
                }
                self.enter_second_pass(generation).err().map(Err)
            })
            .collect();
        while let Some(first) = results.iter().position(Option::is_none) {
            let shape = generations[first].shape;
            let members: Vec<usize> = (first..generations.len())
                .filter(|index| {
                    let other = &generations[*index];
                    results[*index].is_none()
                        && other.shape == shape
                        && same_adapters(other, generations[first])
                })
                .collect();
            let outcome = self.evaluate(shape, &members, generations);
            match outcome {
                Ok(outputs) => {
                    for (index, output) in members.into_iter().zip(outputs) {
                        results[index] = Some(generations[index].advance(&output));
                    }
                }
                Err(error) => {
                    for index in members {
                        results[index] = Some(Err(error.duplicate()));
                    }
                }
            }
        }
        results.into_iter().flatten().collect()
    }

    /// Enlarges the latents of a generation whose first pass is done and adds the noise of the second, where there is one.
    fn enter_second_pass(&self, generation: &mut Generation) -> Result<()> {
        let Some(second) = generation.take_due() else {
            return Ok(());
        };
        let autoencoder = self.family.autoencoder();
        let enlarged = autoencoder.enlarged(&generation.latents, generation.shape, second.shape);
        generation.enter(*second);
        let mut noise = LatentNoise {
            generator: &mut generation.noise,
            shape: generation.shape,
            variation: generation.settings.variation,
        };
        let drawn = noise.first()?;
        generation.latents = generation.sampler.noised(&enlarged, &drawn);
        Ok(())
    }

    /// One evaluation of the network for `members`, which have one latent shape. The guided output of each.
    fn evaluate(
        &self,
        shape: LatentShape,
        members: &[usize],
        generations: &[&mut Generation],
    ) -> Result<Vec<Vec<f32>>> {
        let model_inputs: Vec<sampling::ModelInput> = members
            .iter()
            .map(|index| {
                let generation = &generations[*index];
                generation.sampler.model_input(&generation.latents)
            })
            .collect();
        let acting: Vec<Vec<controls::Acting<'_>>> = members
            .iter()
            .map(|index| generations[*index].acting())
            .collect();
        let mut inputs = Vec::with_capacity(members.len() * 2);
        for ((index, model_input), controls) in members.iter().zip(&model_inputs).zip(&acting) {
            let generation = &generations[*index];
            for conditioning in generation.negative.iter().chain([&generation.positive]) {
                inputs.push(NetworkInput {
                    sample: &model_input.sample,
                    timestep: model_input.timestep,
                    conditioning,
                    beside: generation.beside.as_deref(),
                    references: &generation.references,
                    controls,
                });
            }
        }
        let adapters = members
            .first()
            .and_then(|index| generations[*index].adapters.as_deref())
            .map(|opened| &opened.adapters);
        let outputs = with_adapters(adapters, || self.family.evaluate(shape, &inputs))?;
        let mut outputs = outputs.into_iter();
        members
            .iter()
            .map(|index| {
                let generation = &generations[*index];
                let missing = || Error::internal("the network gave too few outputs");
                let first = outputs.next().ok_or_else(missing)?;
                if generation.negative.is_none() {
                    return Ok(first);
                }
                let text = outputs.next().ok_or_else(missing)?;
                let scale = generation.settings.guidance_scale;
                let mut guided = match generation.settings.guidance {
                    Guidance::FromPrompt => sampling::guidance::from_prompt(first, &text, scale),
                    _ => sampling::guidance::classifier_free(first, &text, scale),
                };
                self.family.after_guidance(shape, &mut guided, &text);
                Ok(guided)
            })
            .collect()
    }

    /// A small picture of the generation's state.
    ///
    /// Where the folder `vae_approx` has the tiny autoencoder of the model's latents, that makes it, with sides of at most
    /// [`image::THUMBNAIL_SIDE_PX`]; else it has one pixel for each latent.
    pub fn preview(&self, generation: &Generation, vae_approx: Option<&Path>) -> Result<Preview> {
        let latents = generation.sampler.denoised().unwrap_or(&generation.latents);
        let (shape, autoencoder) = (generation.shape, self.family.autoencoder());
        let decoded = vae_approx
            .zip(self.preview_decoder.as_ref())
            .map(|(folder, decoder)| decoder.decode(folder, autoencoder, shape, latents));
        let notice = match decoded {
            Some(Ok(Some(image))) => {
                return Ok(Preview {
                    image,
                    notice: None,
                });
            }
            Some(Err(error)) => Some(error),
            Some(Ok(None)) | None => None,
        };
        let image = autoencoder.preview_map()?.apply(shape, latents)?;
        Ok(Preview { image, notice })
    }

    /// Makes one piece of a finished generation's decoding: a block or so of the autoencoder, so that other work can
    /// go first between two pieces. True when the picture is decoded. The bytes do not depend on what goes between.
    ///
    /// Fails with [`ErrorKind::Numerics`] when the picture has numbers that are not finite, and with
    /// [`ErrorKind::Internal`] when the generation is not done; then decoding begins again.
    pub fn decode_stage(&self, generation: &mut Generation) -> Result<bool> {
        if !generation.is_done() {
            return Err(Error::internal("decoding of a generation that is not done"));
        }
        let decoding = generation.decoding.take();
        let (shape, latents) = (generation.shape, &generation.latents);
        generation.decoding = Some(self.family.autoencoder().decode(shape, latents, decoding)?);
        Ok(generation.is_decoded())
    }

    /// The picture of a finished generation: decodes what is not decoded yet.
    ///
    /// Fails with [`ErrorKind::Numerics`] when the picture has numbers that are not finite or is one constant
    /// colour, and with [`ErrorKind::Internal`] when the generation is not done.
    pub fn finish(&self, generation: &mut Generation) -> Result<Picture> {
        let image = loop {
            self.decode_stage(generation)?;
            if let Some(Decoding::Done(image)) = generation
                .decoding
                .take_if(|decoding| matches!(decoding, Decoding::Done(_)))
            {
                break image;
            }
        };
        if image.is_constant() {
            return Err(
                Error::new(ErrorKind::Numerics, "the picture is one constant colour").with_hint(
                    "the model may be damaged, or the guidance scale too high; try other settings",
                ),
            );
        }
        let image = match &generation.request.init {
            Some(init) if init.is_laid_over() => {
                self.scene(init, &generation.settings)?.0.laid_over(image)
            }
            _ => image,
        };
        Ok(Picture {
            image,
            metadata: self.metadata(generation),
        })
    }

    /// What is shown of the picture that a generation begins from, and what is said of its size.
    fn scene(&self, init: &InitImage, settings: &Settings) -> Result<(Scene, Option<Notice>)> {
        let frame = Frame::of(init, self.info.size_multiple_px)?;
        let scene = Scene::open(init, &frame, (settings.width_px, settings.height_px))?;
        Ok((scene, frame.notice()))
    }

    /// Goes on with a saved generation.
    ///
    /// When weights, arithmetic or instruction set are not those it was saved with, it starts again at step 0 and
    /// [`Restored::restarted`] says why. Fails with [`ErrorKind::ModelInvalid`] when the bytes are damaged.
    pub fn restore(&self, bytes: &[u8]) -> Result<Restored> {
        let saved = Saved::read(bytes)?;
        let fingerprint = self.fingerprint();
        if let Some(reason) = fingerprint.difference_from(&saved.fingerprint) {
            return Ok(Restored {
                generation: self.start(&saved.request)?,
                restarted: Some(reason),
            });
        }
        let resolved = resolve(&self.info, &self.scheduler_config, &saved.request)?;
        let mut generation = self.begin(saved.request, resolved)?;
        if generation.settings != saved.settings {
            let (now, then) = (&generation.settings, &saved.settings);
            let reason = if now.loras != then.loras {
                "a LoRA's file has changed"
            } else if now.embeddings != then.embeddings {
                "an embedding's file has changed"
            } else if now.controls != then.controls {
                "a ControlNet's file has changed"
            } else {
                "the model's defaults have changed"
            };
            return Ok(Restored {
                generation,
                restarted: Some(reason.to_owned()),
            });
        }
        if saved.is_in_second_pass {
            let second = generation.second.take().ok_or_else(|| {
                Error::model("saved generation: of a second pass that its request lacks")
            })?;
            generation.enter(*second);
        }
        if saved.latents.len() != generation.shape.len() {
            return Err(Error::model("saved generation: latents of another shape"));
        }
        generation.sampler.restore(saved.sampler)?;
        generation.latents = saved.latents;
        generation.noise = saved.noise;
        Ok(Restored {
            generation,
            restarted: None,
        })
    }

    /// Encodes the text and draws the noise of a resolved request.
    fn begin(&self, request: Request, resolved: Resolved) -> Result<Generation> {
        let Resolved {
            mut settings,
            plan,
            second,
        } = resolved;
        let sampler = plan.sampler;
        let adapters = self.adapters.get(&request.loras)?;
        let embeddings = self
            .embeddings
            .open(&request.embeddings, &self.family.embedding_slots()?)?;
        let text = PromptPair {
            embeddings: &embeddings,
            prompt: &request.prompt,
            negative_prompt: request.negative_prompt.as_deref(),
            syntax: settings.prompt_syntax,
            guided: settings.is_guided(),
            clip_skip: request.clip_skip,
            guidance_scale: settings.guidance_scale,
            max_sequence_length: settings.max_sequence_length as usize,
            width_px: settings.width_px,
            height_px: settings.height_px,
        };
        let added = adapters.as_deref().map(|opened| &opened.adapters);
        let encoded = with_adapters(added, || self.family.encode(&text))?;
        let mut notices = encoded.notices;
        settings.embeddings = embeddings.used();
        if let Some(opened) = &adapters {
            settings.loras = opened.used.clone();
            notices.extend(opened.notices.iter().cloned());
        }
        if request.prompt.trim().is_empty() {
            let message = "the prompt is empty: the model draws whatever it likes";
            notices.push(Notice::new("prompt_empty", "prompt", message));
        }
        if request
            .negative_prompt
            .as_deref()
            .is_some_and(|words| !words.is_empty())
            && !settings.is_guided()
        {
            let message = match settings.guidance {
                Guidance::ClassifierFree => format!(
                    "`negative_prompt` has no effect: it needs a `guidance_scale` above 1, and it is {}",
                    settings.guidance_scale
                ),
                Guidance::FromPrompt => format!(
                    "`negative_prompt` has no effect: it needs a `guidance_scale` above 0, and it is {}",
                    settings.guidance_scale
                ),
                Guidance::Embedded | Guidance::None => {
                    "`negative_prompt` has no effect: this model draws without one".to_owned()
                }
            };
            notices.push(Notice::new("setting_ignored", "negative_prompt", message));
        }
        let shape = self
            .family
            .autoencoder()
            .latent_shape(settings.width_px, settings.height_px);
        let size_px = (settings.width_px, settings.height_px);
        let (controls, used) = controls::begin(&request.controls, &self.controls, size_px, shape)?;
        settings.controls = used;
        let references = references::begin(
            &request.ref_images,
            self.family.autoencoder(),
            self.info.size_multiple_px,
        )?;
        let mut noise = noise::Generator::new(noise::KINDS[0], settings.seed)?;
        let mut latent_noise = LatentNoise {
            generator: &mut noise,
            shape,
            variation: settings.variation,
        };
        let beginning = match (&request.init, settings.strength) {
            (Some(init), Some(strength)) => {
                let (scene, notice) = self.scene(init, &settings)?;
                notices.extend(notice);
                init::begin(
                    &scene.shown(),
                    self.family.autoencoder(),
                    shape,
                    sampler.as_ref(),
                    (strength, self.info.repaints),
                    &mut latent_noise,
                )?
            }
            _ => {
                let scale = sampler.init_noise_sigma();
                let drawn = latent_noise.first()?.into_iter();
                Beginning {
                    latents: drawn.map(|value| value * scale).collect(),
                    kept: None,
                    beside: None,
                }
            }
        };
        let second = match (settings.hires, second) {
            (Some(hires), Some(plan)) => {
                let size_px = (hires.width_px, hires.height_px);
                Some(Box::new(self.second_pass(
                    &request,
                    size_px,
                    plan.sampler,
                    (&encoded.positive, encoded.negative.as_ref()),
                    settings.seed,
                )?))
            }
            _ => None,
        };
        let Beginning {
            latents,
            kept,
            beside,
        } = beginning;
        Ok(Generation {
            kept,
            beside,
            request,
            settings,
            notices,
            fingerprint: self.fingerprint(),
            shape,
            sampler,
            latents,
            noise,
            adapters,
            controls,
            references,
            positive: encoded.positive,
            negative: encoded.negative,
            second,
            before: None,
            decoding: None,
        })
    }

    /// What a second pass of a request needs beside the latents. `size_px`: its width and height.
    fn second_pass(
        &self,
        request: &Request,
        size_px: (u32, u32),
        sampler: Box<dyn sampling::Sampler>,
        (positive, negative): (&Conditioning, Option<&Conditioning>),
        seed: u64,
    ) -> Result<SecondPass> {
        let (width_px, height_px) = size_px;
        let shape = self.family.autoencoder().latent_shape(width_px, height_px);
        let (controls, _) = controls::begin(&request.controls, &self.controls, size_px, shape)?;
        let larger = |conditioning| self.family.at_size(conditioning, width_px, height_px);
        Ok(SecondPass {
            sampler,
            shape,
            noise: noise::Generator::new(noise::KINDS[0], seed)?,
            controls,
            positive: larger(positive)?,
            negative: negative.map(larger).transpose()?,
        })
    }

    fn metadata(&self, generation: &Generation) -> Metadata {
        let (request, settings) = (&generation.request, &generation.settings);
        Metadata {
            version: METADATA_VERSION,
            imgd: env!("CARGO_PKG_VERSION").to_owned(),
            numerics: NUMERICS.to_owned(),
            model: model_name(&settings.model).to_owned(),
            model_hash: self.hash.clone(),
            prompt: request.prompt.clone(),
            negative_prompt: request.negative_prompt.clone(),
            seed: settings.seed,
            variation_seed: settings.variation.map(|variation| variation.seed),
            variation_strength: settings.variation.map(|variation| variation.strength),
            noise_generator: generation.noise.kind().to_owned(),
            sampler: settings.sampler.clone(),
            schedule: Some(settings.schedule.clone()).filter(|name| !name.is_empty()),
            prediction: settings.prediction.clone(),
            num_inference_steps: settings.num_inference_steps,
            guidance_scale: settings.guidance_scale,
            width_px: settings.width_px,
            height_px: settings.height_px,
            clip_skip: request.clip_skip,
            strength: settings.strength,
            hires_scale: settings.hires.map(|hires| hires.scale),
            hires_strength: settings.hires.map(|hires| hires.strength),
            hires_steps: settings.hires.map(|hires| hires.num_inference_steps),
            max_sequence_length: Some(settings.max_sequence_length).filter(|length| *length > 0),
            prompt_syntax: settings.prompt_syntax.name().to_owned(),
            loras: settings.loras.clone(),
            controls: settings.controls.clone(),
            embeddings: settings.embeddings.clone(),
            ref_image_sha256: settings.ref_image_sha256.clone(),
            init_image_sha256: request.init.as_ref().map(|init| image::sha256(&init.image)),
            mask_sha256: request
                .init
                .as_ref()
                .and_then(|init| init.mask.as_deref())
                .map(image::sha256),
            mask_blur_px: request
                .init
                .as_ref()
                .map(|init| init.mask_blur_px)
                .filter(|blur| *blur > 0),
            only_masked_padding_px: request
                .init
                .as_ref()
                .and_then(|init| init.only_masked_padding_px),
            borders: request
                .init
                .as_ref()
                .map(|init| init.borders)
                .filter(|borders| !borders.are_none()),
            precision: settings.precision.name().to_owned(),
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            model_hash: self.hash.clone(),
            numerics: NUMERICS.to_owned(),
            instruction_set: kernels::cpu::instruction_set().name().to_owned(),
        }
    }
}

impl Generation {
    /// The ControlNets that act in the next evaluation. Their shares are of each pass.
    fn acting(&self) -> Vec<controls::Acting<'_>> {
        let (done, count) = (
            self.sampler.evaluations_done(),
            self.sampler.evaluation_count(),
        );
        let acting = self.controls.iter();
        acting
            .filter_map(|control| control.acting(done, count))
            .collect()
    }

    /// Gives the network's output to the sampler.
    fn advance(&mut self, output: &[f32]) -> Result<()> {
        let mut noise = LatentNoise {
            generator: &mut self.noise,
            shape: self.shape,
            variation: self.settings.variation,
        };
        self.sampler
            .advance(&mut self.latents, output, &mut || noise.next());
        if let Some(kept) = &self.kept {
            kept.restore(self.sampler.as_ref(), &mut self.latents);
        }
        if self.latents.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Numerics,
            format!(
                "step {} gave numbers that are not finite",
                self.inference_step()
            ),
        )
        .with_hint("the model may be damaged, or the guidance scale too high; try other settings"))
    }
}

/// A model given by its path goes by the name of its directory: a picture's file names no path.
fn model_name(name_or_path: &str) -> &str {
    name_or_path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(name_or_path)
}

/// Whether two generations have layers that add the same.
fn same_adapters(a: &Generation, b: &Generation) -> bool {
    match (&a.adapters, &b.adapters) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a.used == b.used,
        _ => false,
    }
}
