//! What a caller asks for, and what it becomes once the model has filled in its defaults.

use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::kernels::cpu::instruction_set;
use crate::{Error, Result};

/// Number format of the computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// The fastest mix that keeps the picture: [`Precision::Bf16`] where the processor multiplies those faster, else
    /// [`Precision::F32`].
    #[default]
    Auto,
    /// float32 throughout: the reference's numbers.
    F32,
    /// Products of bf16 numbers, summed in float32; everything between them is float32.
    Bf16,
}

impl Precision {
    /// The name in requests and metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// The format that is really used on the CPU.
    #[must_use]
    pub fn resolved(self) -> Self {
        match self {
            Self::Auto if instruction_set().is_faster_in_bf16() => Self::Bf16,
            Self::Auto => Self::F32,
            chosen => chosen,
        }
    }
}

/// How prompts are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptSyntax {
    /// As they are, cut at the text encoder's length: the reference's way.
    #[default]
    Plain,
    /// With weights as in `(word:1.2)`, in as many parts as it takes; see [`crate::text::emphasis`].
    A1111,
}

/// What a guidance scale does in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guidance {
    /// Above 1, the network is run a second time without the prompt, and the answer goes from that past the one with it.
    #[default]
    ClassifierFree,
    /// Above 0, likewise, counted from the answer with the prompt.
    FromPrompt,
    /// The network is told.
    Embedded,
    /// Nothing: the model was distilled to do without.
    None,
}

impl Guidance {
    /// Whether the network is run a second time without the prompt.
    pub fn is_guided(self, guidance_scale: f64) -> bool {
        match self {
            Self::ClassifierFree => guidance_scale > 1.0,
            Self::FromPrompt => guidance_scale > 0.0,
            Self::Embedded | Self::None => false,
        }
    }
}

/// One picture to make. What is `None` takes the model's default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// What the picture shows; may be empty.
    pub prompt: String,
    /// What it avoids. `None` is diffusers' `None`, which for some models is not the same as `""`.
    pub negative_prompt: Option<String>,
    /// Width in pixels, a multiple of [`crate::ModelInfo::size_multiple_px`].
    pub width_px: Option<u32>,
    /// Height in pixels, a multiple of [`crate::ModelInfo::size_multiple_px`].
    pub height_px: Option<u32>,
    /// Denoising steps, at least 1.
    pub num_inference_steps: Option<u32>,
    /// Classifier-free guidance, finite and not negative; 1 or less runs the network once a step.
    pub guidance_scale: Option<f64>,
    /// Seed of the noise, as `torch.Generator("cpu").manual_seed` takes it.
    pub seed: u64,
    /// Another seed, and how much of its noise there is. Not saved in older states.
    #[serde(default)]
    pub variation: Option<Variation>,
    /// The solver.
    pub sampler: Option<String>,
    /// The list of noise levels.
    pub schedule: Option<String>,
    /// Layer of the text encoder counted from the last: 1 last, 2 penultimate.
    pub clip_skip: Option<u32>,
    /// Tokens that the prompt is cut and filled up to, where the model's text encoder leaves that open.
    #[serde(default)]
    pub max_sequence_length: Option<u32>,
    /// How both prompts are read; `None` is with weights and parts where the model's text encoder allows them.
    #[serde(default)]
    pub prompt_syntax: Option<PromptSyntax>,
    /// Adapters, each with a weight.
    #[serde(default)]
    pub loras: Vec<Lora>,
    /// ControlNets, each with a picture.
    #[serde(default)]
    pub controls: Vec<Control>,
    /// Words of the prompts that may stand for embeddings.
    #[serde(default)]
    pub embeddings: Vec<EmbeddingWord>,
    /// Pictures to look at, where the model does that.
    #[serde(default)]
    pub ref_images: Vec<RefImage>,
    /// A second pass at a larger size.
    #[serde(default)]
    pub hires: Option<HiresFix>,
    /// A picture to begin from. Saved apart from the rest: it is no text.
    #[serde(skip)]
    pub init: Option<InitImage>,
}

/// A second pass: the latents are enlarged, noise is added, and the picture is refined.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HiresFix {
    /// How much longer each side becomes, 1.1 to 4; what becomes of it is rounded down to what the model can draw.
    pub scale: f64,
    /// How much of the way from noise the second pass goes, 0 to 1; `None` is 0.7.
    pub strength: Option<f64>,
    /// Denoising steps of the whole way, of which the second pass goes the last; `None` is as many as the first.
    pub num_inference_steps: Option<u32>,
}

/// A second pass with nothing left to a default.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UsedHiresFix {
    /// How much longer each side becomes, before rounding.
    pub scale: f64,
    /// How much of the way from noise the second pass goes.
    pub strength: f64,
    /// Denoising steps of the whole way, of which the second pass goes the last.
    pub num_inference_steps: u32,
    /// Width of the picture in pixels.
    pub width_px: u32,
    /// Height of the picture in pixels.
    pub height_px: u32,
    /// Network evaluations of the first pass.
    pub first_pass_evaluations: u32,
}

/// Noise between that of two seeds: pictures that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Variation {
    /// The other seed.
    pub seed: u64,
    /// How far the noise is on the way to the other seed's, 0 to 1; 0 changes nothing.
    pub strength: f64,
}

/// A picture to look at.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RefImage {
    /// A PNG, JPEG or WebP file, of 64 pixels on a side at least. Saved apart from the rest: it is no text.
    #[serde(skip)]
    pub image: Bytes,
}

/// Without the picture.
impl std::fmt::Debug for RefImage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.image.len();
        formatter
            .debug_struct("RefImage")
            .field("bytes", &bytes)
            .finish()
    }
}

/// An adapter that changes what the model draws: LoRA, LoHa or LoKr.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// Its safetensors file.
    pub path: PathBuf,
    /// How strongly it is applied, finite: 0 not at all, 1 as it was trained.
    pub weight: f64,
}

impl Lora {
    /// The name of its file, without what follows the dot.
    pub fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }
}

/// An adapter that was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsedLora {
    /// The name of its file, without what follows the dot.
    pub name: String,
    /// How strongly it was applied.
    pub weight: f64,
    /// SHA-256 of the file, hex.
    pub sha256: String,
}

/// A ControlNet that steers what is drawn by a picture.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Its safetensors file, or its diffusers directory.
    pub path: PathBuf,
    /// A PNG, JPEG or WebP file: a map such as the network was trained with, brought to the size of the picture that is
    /// made. Saved apart from the rest: it is no text.
    #[serde(skip)]
    pub image: Bytes,
    /// Makes the map from the picture: its edges.
    pub canny: Option<CannyThresholds>,
    /// How strongly it steers, -10 to 10: 1 as it was trained.
    pub weight: f64,
    /// Share of the evaluations after which it begins, 0 to 1.
    pub start: f64,
    /// Share of the evaluations after which it ends, 0 to 1.
    pub end: f64,
}

/// How strong edges are, 0 to 2040; see [`crate::image::canny`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CannyThresholds {
    /// Above which a pixel continues an edge.
    pub low: u32,
    /// Above which a pixel begins one.
    pub high: u32,
}

impl Default for CannyThresholds {
    fn default() -> Self {
        Self {
            low: 100,
            high: 200,
        }
    }
}

impl Control {
    /// The name of its file, without what follows the dot, or of its directory.
    pub fn name(&self) -> String {
        let is_file = self
            .path
            .extension()
            .is_some_and(|end| end == "safetensors");
        let name = if is_file {
            self.path.file_stem()
        } else {
            self.path.file_name()
        };
        name.unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Without the picture.
impl std::fmt::Debug for Control {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Control")
            .field("path", &self.path)
            .field("bytes", &self.image.len())
            .field("canny", &self.canny)
            .field("weight", &self.weight)
            .field("start", &self.start)
            .field("end", &self.end)
            .finish()
    }
}

/// A ControlNet that was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsedControl {
    /// The name of its file or directory.
    pub name: String,
    /// How strongly it steered.
    pub weight: f64,
    /// Share of the evaluations after which it began.
    pub start: f64,
    /// Share of the evaluations after which it ended.
    pub end: f64,
    /// There when its map was made from the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canny: Option<CannyThresholds>,
    /// SHA-256 of the picture's file, hex.
    pub image_sha256: String,
    /// SHA-256 of the network's file, hex; see [`crate::checkpoint::Sha256`].
    pub sha256: String,
}

/// A word that stands for a textual inversion embedding where a prompt has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingWord {
    /// `embedding:NAME`, or the name alone; see [`crate::text::embeddings`].
    pub word: String,
    /// Its safetensors file.
    pub path: PathBuf,
}

impl EmbeddingWord {
    /// The name of its file, without what follows the last dot.
    pub fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }
}

/// An embedding that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedEmbedding {
    /// The name of its file, without what follows the last dot.
    pub name: String,
    /// SHA-256 of the file, hex.
    pub sha256: String,
}

/// A picture to begin from, or to repaint in part.
#[derive(Clone, PartialEq)]
pub struct InitImage {
    /// A PNG, JPEG or WebP file; brought to the size of the picture that is made.
    pub image: Bytes,
    /// Where it is repainted: a picture's file whose light parts are. Without one, the whole is.
    pub mask: Option<Bytes>,
    /// How much of the way from noise is gone, 0 to 1: 1 keeps nothing of what is repainted.
    pub strength: Option<f64>,
    /// Standard deviation of a blur of the mask, in its picture's pixels; with one, the picture lies over what is drawn by the mask.
    pub mask_blur_px: u32,
    /// Draws only what is around the mask, and this many pixels more on each side, in the size of the request; the
    /// picture keeps its own size.
    pub only_masked_padding_px: Option<u32>,
    /// What is added around the picture.
    pub borders: Borders,
}

/// Pixels that are added on each side of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Borders {
    /// On the left.
    pub left_px: u32,
    /// On the right.
    pub right_px: u32,
    /// Above.
    pub top_px: u32,
    /// Below.
    pub bottom_px: u32,
}

impl Borders {
    /// Whether nothing is added.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }
}

impl InitImage {
    /// A picture's file that is redrawn as a whole.
    pub fn new(image: Bytes) -> Self {
        Self {
            image,
            mask: None,
            strength: None,
            mask_blur_px: 0,
            only_masked_padding_px: None,
            borders: Borders::default(),
        }
    }

    /// Whether a part of it is kept.
    pub fn keeps_a_part(&self) -> bool {
        self.mask.is_some() || !self.borders.are_none()
    }

    /// Whether it lies over what is drawn where it is kept.
    pub(crate) fn is_laid_over(&self) -> bool {
        self.only_masked_padding_px.is_some()
            || !self.borders.are_none()
            || (self.mask.is_some() && self.mask_blur_px > 0)
    }
}

/// Without the pictures.
impl std::fmt::Debug for InitImage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("InitImage")
            .field("bytes", &self.image.len())
            .field("mask", &self.mask.as_ref().map(Bytes::len))
            .field("strength", &self.strength)
            .field("mask_blur_px", &self.mask_blur_px)
            .field("only_masked_padding_px", &self.only_masked_padding_px)
            .field("borders", &self.borders)
            .finish()
    }
}

impl Request {
    /// A request for `prompt` that leaves everything else to the model.
    pub fn new(prompt: impl Into<String>, seed: u64) -> Self {
        Self {
            prompt: prompt.into(),
            negative_prompt: None,
            width_px: None,
            height_px: None,
            num_inference_steps: None,
            guidance_scale: None,
            seed,
            variation: None,
            sampler: None,
            schedule: None,
            clip_skip: None,
            max_sequence_length: None,
            prompt_syntax: None,
            loras: Vec::new(),
            controls: Vec::new(),
            embeddings: Vec::new(),
            ref_images: Vec::new(),
            hires: None,
            init: None,
        }
    }
}

/// Every setting of a picture, with nothing left to a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The model as the caller named it.
    pub model: String,
    /// Width in pixels; with a second pass that of the first.
    pub width_px: u32,
    /// Height in pixels; with a second pass that of the first.
    pub height_px: u32,
    /// Denoising steps.
    pub num_inference_steps: u32,
    /// Classifier-free guidance.
    pub guidance_scale: f64,
    /// Seed of the noise.
    pub seed: u64,
    /// Another seed, and how much of its noise there is; none where that is nothing.
    #[serde(default)]
    pub variation: Option<Variation>,
    /// The solver.
    pub sampler: String,
    /// The list of noise levels; empty when it is the sampler's own.
    pub schedule: String,
    /// What the network outputs.
    pub prediction: String,
    /// Layer of the text encoder counted from the last, 1 the last.
    pub clip_skip: u32,
    /// Number format of the computation, never `Auto`.
    pub precision: Precision,
    /// What the guidance scale does.
    #[serde(default)]
    pub guidance: Guidance,
    /// Tokens that the prompt is cut and filled up to; 0 where the text encoder has one length.
    #[serde(default)]
    pub max_sequence_length: u32,
    /// How much of the way from noise is gone, where there is a picture to begin from.
    #[serde(default)]
    pub strength: Option<f64>,
    /// How both prompts are read.
    #[serde(default)]
    pub prompt_syntax: PromptSyntax,
    /// Adapters that are used.
    #[serde(default)]
    pub loras: Vec<UsedLora>,
    /// ControlNets that are used.
    #[serde(default)]
    pub controls: Vec<UsedControl>,
    /// Embeddings that the prompts name.
    #[serde(default)]
    pub embeddings: Vec<UsedEmbedding>,
    /// SHA-256 of the file of each picture that is looked at, hex.
    #[serde(default)]
    pub ref_image_sha256: Vec<String>,
    /// A second pass at a larger size.
    #[serde(default)]
    pub hires: Option<UsedHiresFix>,
}

impl PromptSyntax {
    /// The name in requests and metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::A1111 => "a1111",
        }
    }
}

impl Settings {
    /// Whether the network is run a second time without the prompt. Source: diffusers
    /// `do_classifier_free_guidance`.
    pub fn is_guided(&self) -> bool {
        self.guidance.is_guided(self.guidance_scale)
    }
}

/// Something the user should know that is no error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What kind: `prompt_truncated`, `prompt_empty`, `setting_ignored`, `size_rounded`.
    pub reason: String,
    /// A sentence for the user.
    pub message: String,
    /// The request's field it is about.
    pub field: String,
}

impl Notice {
    pub(crate) fn new(reason: &str, field: &str, message: impl Into<String>) -> Self {
        Self {
            reason: reason.to_owned(),
            message: message.into(),
            field: field.to_owned(),
        }
    }
}

/// Largest width or height that the engine takes, in pixels.
const SIDE_LIMIT_PX: u32 = 16_384;

/// Checks one side of the picture: positive, a multiple of `multiple_px`, not absurd.
pub(crate) fn check_side(field: &'static str, side_px: u32, multiple_px: u32) -> Result<u32> {
    if side_px != 0 && side_px <= SIDE_LIMIT_PX && side_px.is_multiple_of(multiple_px) {
        return Ok(side_px);
    }
    let below = (side_px / multiple_px * multiple_px).clamp(multiple_px, SIDE_LIMIT_PX);
    let above = (below + multiple_px).min(SIDE_LIMIT_PX);
    let message = format!("`{field}` is {side_px}, but must be a multiple of {multiple_px}");
    let nearest = if side_px <= below {
        below.to_string()
    } else {
        format!("{below} or {above}")
    };
    Err(Error::invalid(field, message).with_hint(format!("the nearest is {nearest}")))
}

/// Checks the guidance scale: finite and not negative.
pub(crate) fn check_guidance(guidance_scale: f64) -> Result<f64> {
    if guidance_scale.is_finite() && guidance_scale >= 0.0 {
        return Ok(guidance_scale);
    }
    Err(Error::invalid(
        "guidance_scale",
        format!("`guidance_scale` is {guidance_scale}, but must be a number of at least 0"),
    ))
}

/// Checks how much there is of another seed's noise, 0 to 1; where that is nothing, there is no variation.
pub(crate) fn check_variation(variation: Option<Variation>) -> Result<Option<Variation>> {
    match variation {
        Some(Variation { strength, .. }) if !(0.0..=1.0).contains(&strength) => {
            Err(Error::invalid(
                "variation_strength",
                format!("`variation_strength` is {strength}, but must be from 0 to 1"),
            ))
        }
        variation => Ok(variation.filter(|variation| variation.strength > 0.0)),
    }
}

/// Checks the number of steps: at least one.
pub(crate) fn check_steps(num_inference_steps: u32) -> Result<u32> {
    if num_inference_steps >= 1 {
        return Ok(num_inference_steps);
    }
    Err(Error::invalid(
        "num_inference_steps",
        "`num_inference_steps` is 0, but must be at least 1",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_side_names_the_nearest_right_ones() {
        let error = check_side("width_px", 250, 8).unwrap_err();
        assert_eq!(error.field(), Some("width_px"));
        assert_eq!(error.hint(), Some("the nearest is 248 or 256"));
        assert_eq!(
            check_side("width_px", 0, 8).unwrap_err().hint(),
            Some("the nearest is 8")
        );
        assert!(check_side("width_px", u32::MAX, 8).is_err());
        assert_eq!(check_side("width_px", 72, 8).unwrap(), 72);
    }

    #[test]
    fn guidance_must_be_a_number() {
        for bad in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(
                check_guidance(bad).unwrap_err().field(),
                Some("guidance_scale")
            );
        }
        assert_eq!(check_guidance(0.0).unwrap(), 0.0);
    }
}
