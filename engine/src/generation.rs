//! A generation: one picture in flight, as a value that can be saved and restored between two evaluations.
//!
//! What moves it is [`crate::Model::step`]; this file holds its state and the form it is saved in.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Borders, Error, InitImage, Notice, Request, Result, Settings,
    adapters::Opened,
    controls::Steering,
    families::{Conditioning, Decoding, LatentShape},
    hires::SecondPass,
    init::Kept,
    references::Reference,
    sampling::{Sampler, SamplerState, noise},
    sealed::{Blocks, Magic, seal},
};

/// One picture in flight.
///
/// Made by [`crate::Model::start`] or [`crate::Model::restore`], moved by [`crate::Model::step`], ended by
/// [`crate::Model::finish`].
pub struct Generation {
    pub(crate) request: Request,
    pub(crate) settings: Settings,
    pub(crate) notices: Vec<Notice>,
    pub(crate) fingerprint: Fingerprint,
    /// Of the pass that it is in, as all that follows.
    pub(crate) shape: LatentShape,
    pub(crate) sampler: Box<dyn Sampler>,
    /// Channels last.
    pub(crate) latents: Vec<f32>,
    pub(crate) noise: noise::Generator,
    /// What is kept of the picture that is repainted.
    pub(crate) kept: Option<Kept>,
    /// What a network that repaints takes beside each latent.
    pub(crate) beside: Option<Vec<f32>>,
    /// What the layers add.
    pub(crate) adapters: Option<Arc<Opened>>,
    /// The ControlNets that steer it.
    pub(crate) controls: Vec<Steering>,
    /// The pictures that it looks at.
    pub(crate) references: Vec<Reference>,
    pub(crate) positive: Conditioning,
    pub(crate) negative: Option<Conditioning>,
    /// What comes when the sampler is done; `None` in the last pass.
    pub(crate) second: Option<Box<SecondPass>>,
    /// What the first pass was, in the second one.
    pub(crate) before: Option<Before>,
    /// Not saved: it is large, and quickly done again.
    pub(crate) decoding: Option<Decoding>,
}

/// What was done in an earlier pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    pub(crate) evaluations: usize,
    pub(crate) steps: usize,
}

/// What a saved generation can go on with: the same weights, the same arithmetic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    pub(crate) model_hash: String,
    pub(crate) numerics: String,
    pub(crate) instruction_set: String,
}

impl Fingerprint {
    /// Why what was saved with `saved` cannot go on, if it cannot.
    pub(crate) fn difference_from(&self, saved: &Self) -> Option<String> {
        let reason = if saved.model_hash != self.model_hash {
            "the model's weights have changed"
        } else if saved.numerics != self.numerics {
            "this version computes differently"
        } else if saved.instruction_set != self.instruction_set {
            "it was saved on a CPU with another instruction set"
        } else {
            return None;
        };
        Some(reason.to_owned())
    }
}

impl Generation {
    /// What was asked for.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Every setting, defaults filled in.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What the user should know.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Network evaluations that the picture takes.
    pub fn evaluation_count(&self) -> usize {
        let second = self.second.as_ref();
        self.evaluations_before()
            + self.sampler.evaluation_count()
            + second.map_or(0, |second| second.sampler.evaluation_count())
    }

    fn evaluations_before(&self) -> usize {
        self.before.map_or(0, |before| before.evaluations)
    }

    /// Network evaluations that are done.
    pub fn evaluations_done(&self) -> usize {
        self.evaluations_before() + self.sampler.evaluations_done()
    }

    /// The denoising step that the last evaluation belonged to, from 1; 0 before the first. A second pass counts on.
    pub fn inference_step(&self) -> usize {
        self.before.map_or(0, |before| before.steps) + self.sampler.inference_step()
    }

    /// Noise level of the latents now.
    pub fn sigma(&self) -> f64 {
        self.sampler.sigma()
    }

    /// Whether all evaluations are done.
    pub fn is_done(&self) -> bool {
        self.evaluations_done() >= self.evaluation_count()
    }

    /// Takes out what comes next, where the pass that it is in is done.
    pub(crate) fn take_due(&mut self) -> Option<Box<SecondPass>> {
        let is_due = self.sampler.evaluations_done() >= self.sampler.evaluation_count();
        self.second.take_if(|_| is_due)
    }

    /// Goes over to the second pass, whose latents are still to come.
    pub(crate) fn enter(&mut self, second: SecondPass) {
        self.before = Some(Before {
            evaluations: self.sampler.evaluation_count(),
            steps: self.settings.num_inference_steps as usize,
        });
        let SecondPass {
            sampler,
            shape,
            noise,
            controls,
            positive,
            negative,
        } = second;
        self.sampler = sampler;
        self.shape = shape;
        self.noise = noise;
        self.controls = controls;
        self.positive = positive;
        self.negative = negative;
    }

    /// Whether the picture is decoded.
    pub fn is_decoded(&self) -> bool {
        matches!(self.decoding, Some(Decoding::Done(_)))
    }

    /// The state as bytes: the same bytes for the same state, on every run. Decoding is no part of it: a generation
    /// that was decoded in part is saved as it was before.
    ///
    /// Text and pictures are encoded again by [`crate::Model::restore`]: embeddings are large. Its blocks are a JSON header,
    /// sampler, noise, latents, and the files of a picture and its mask, empty without them, of each ControlNet's picture, and of
    /// each picture to look at.
    pub fn save(&self) -> Result<Vec<u8>> {
        let header = Header {
            request: self.request.clone(),
            settings: self.settings.clone(),
            fingerprint: self.fingerprint.clone(),
            noise: self.noise.kind().to_owned(),
            is_in_second_pass: self.before.is_some(),
            init: self.request.init.as_ref().map(|init| InitHeader {
                strength: init.strength,
                mask_blur_px: init.mask_blur_px,
                only_masked_padding_px: init.only_masked_padding_px,
                borders: init.borders,
            }),
        };
        let init = self.request.init.as_ref();
        let header = serde_json::to_vec(&header)
            .map_err(|error| Error::internal("write the generation's header").with_source(error))?;
        let latents: Vec<u8> = self
            .latents
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let of_controls = self.request.controls.iter().map(|control| &control.image);
        let to_look_at = self.request.ref_images.iter().map(|picture| &picture.image);
        let (sampler, noise) = (self.sampler.save().to_bytes(), self.noise.save());
        let mask = init.and_then(|init| init.mask.as_deref());
        let blocks = [
            &header[..],
            &sampler,
            &noise,
            &latents,
            init.map_or(&[], |init| &init.image),
            mask.unwrap_or_default(),
        ];
        let pictures = of_controls.chain(to_look_at).map(|image| &image[..]);
        Ok(seal(MAGIC, blocks.into_iter().chain(pictures)))
    }
}

const MAGIC: &Magic = b"imgdgen2";

/// The part of a saved generation that is written as JSON.
#[derive(Serialize, Deserialize)]
struct Header {
    request: Request,
    settings: Settings,
    fingerprint: Fingerprint,
    /// Name of the noise generator.
    noise: String,
    /// Whether what is saved is of the second pass.
    #[serde(default)]
    is_in_second_pass: bool,
    /// There with a picture to begin from.
    #[serde(default)]
    init: Option<InitHeader>,
}

/// What is saved of a picture to begin from, beside its files.
#[derive(Serialize, Deserialize)]
struct InitHeader {
    strength: Option<f64>,
    #[serde(default)]
    mask_blur_px: u32,
    #[serde(default)]
    only_masked_padding_px: Option<u32>,
    #[serde(default)]
    borders: Borders,
}

/// A saved generation, taken apart and checked.
pub(crate) struct Saved {
    pub(crate) request: Request,
    pub(crate) settings: Settings,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) sampler: SamplerState,
    pub(crate) noise: noise::Generator,
    pub(crate) latents: Vec<f32>,
    pub(crate) is_in_second_pass: bool,
}

impl Saved {
    /// Reads what [`Generation::save`] wrote. Fails on any damage.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let mut blocks = Blocks::open(bytes, MAGIC, "saved generation")?;
        let [header, sampler, noise, latents, image, mask] = blocks.next_ones()?;
        let mut header: Header = serde_json::from_slice(header)
            .map_err(|error| blocks.damaged("header cannot be read").with_source(error))?;
        header.request.init = header.init.map(|init| InitImage {
            mask: Some(mask)
                .filter(|mask| !mask.is_empty())
                .map(Bytes::copy_from_slice),
            strength: init.strength,
            mask_blur_px: init.mask_blur_px,
            only_masked_padding_px: init.only_masked_padding_px,
            borders: init.borders,
            ..InitImage::new(Bytes::copy_from_slice(image))
        });
        for control in &mut header.request.controls {
            control.image = Bytes::copy_from_slice(blocks.next()?);
        }
        for picture in &mut header.request.ref_images {
            picture.image = Bytes::copy_from_slice(blocks.next()?);
        }
        let (values, tail) = latents.as_chunks::<4>();
        if !tail.is_empty() {
            return Err(blocks.damaged("latents are cut off"));
        }
        Ok(Self {
            is_in_second_pass: header.is_in_second_pass,
            request: header.request,
            settings: header.settings,
            fingerprint: header.fingerprint,
            sampler: SamplerState::from_bytes(sampler)?,
            noise: noise::Generator::restore(&header.noise, noise)?,
            latents: values
                .iter()
                .map(|value| f32::from_le_bytes(*value))
                .collect(),
        })
    }
}
