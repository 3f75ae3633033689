//! Stable Diffusion 3 and 3.5: two CLIP text encoders, T5 if it is there, a multimodal transformer, an autoencoder of 16
//! channels.
//!
//! Source: diffusers `StableDiffusion3Pipeline`.

mod single_file;

use candle_core::{DType, Device, Tensor};

use super::{
    Autoencoder, Conditioning, Description, EncodedPrompt, Family, FamilyEntry, LatentShape,
    ModelFiles, NetworkInput, PromptPair, autoencoder,
    clip_prompt::{self, ClipPrompt},
    defaults::{Course, with_course},
    groups::{self, Patching},
    patches::Patches,
    t5_prompt::T5Prompt,
};
use crate::{
    Error, Notice, Result,
    denoise::sd3::{Config, Sd3Transformer2DModel},
    request::{Guidance, Precision},
    sampling::{DynamicShift, Flow, FlowLevels, SchedulerConfig},
};

pub(super) const ENTRY: FamilyEntry = FamilyEntry {
    name: "sd3",
    pipeline_classes: &["StableDiffusion3Pipeline"],
    weighted_parts: &[
        "text_encoder",
        "text_encoder_2",
        "text_encoder_3",
        "transformer",
        "vae",
    ],
    optional_parts: &["text_encoder_3"],
    ref_images: 0,
    preview_decoder: Some("taesd3"),
    single_file: Some(single_file::SINGLE_FILE),
    originals: single_file::originals,
    describe,
    scheduler,
    open,
};

/// The penultimate layer, without the final norm.
const DEFAULT_CLIP_SKIP: u32 = 2;
/// Tokens of T5 that the pipeline gives, and the most that it takes.
const PROMPT_TOKENS: usize = 256;
const PROMPT_TOKENS_LIMIT: usize = 512;

const FULL: Course = Course {
    steps: 28,
    guidance: 7.0,
};
const TURBO: Course = Course {
    steps: 4,
    guidance: 0.0,
};

fn describe(files: &ModelFiles) -> Result<Description> {
    let config: Config = files.config("transformer")?;
    let sizes = autoencoder::sizes(files)?;
    let clip = clip_prompt::describe(files, "tokenizer", "text_encoder")?;
    let clip_2 = clip_prompt::describe(files, "tokenizer_2", "text_encoder_2")?;
    let side = u32::try_from(config.sample_size)
        .ok()
        .and_then(|side| side.checked_mul(sizes.scale_factor))
        .filter(|side| (1..=16_384).contains(side))
        .ok_or_else(|| {
            Error::model("transformer/config.json: `sample_size` gives no usable picture size")
        })?;
    let multiple = multiple(files)?;
    let side = side.next_multiple_of(multiple);
    Ok(Description {
        size_multiple_px: multiple,
        prompt_positions: PROMPT_TOKENS,
        repaints: false,
        prompt_positions_limit: Some(PROMPT_TOKENS_LIMIT),
        has_controls: false,
        guidance: Guidance::ClassifierFree,
        defaults: with_course(files, [FULL, TURBO], [side, side], DEFAULT_CLIP_SKIP)?,
        prompt_has_grammar: false,
        clip_layers: clip.layers.min(clip_2.layers),
        working_bytes_per_pixel: sizes.working_bytes_per_pixel,
    })
}

/// Pixels that a token stands for, on a side.
fn multiple(files: &ModelFiles) -> Result<u32> {
    let config: Config = files.config("transformer")?;
    let patch = u32::try_from(config.patch_size).unwrap_or(0);
    autoencoder::sizes(files)?
        .scale_factor
        .checked_mul(patch)
        .filter(|multiple| (1..=256).contains(multiple))
        .ok_or_else(|| {
            Error::model("transformer/config.json: `patch_size` gives no usable picture size")
        })
}

fn scheduler(files: &ModelFiles) -> Result<SchedulerConfig> {
    Ok(files.scheduler_config()?.with_flow(Flow {
        pixels_per_token: multiple(files)?,
        levels: FlowLevels::TrainingRange,
        shift: DynamicShift::Linear,
    }))
}

fn open(files: &ModelFiles, device: &Device, precision: Precision) -> Result<Box<dyn Family>> {
    let config: Config = files.config("transformer")?;
    let channels = autoencoder::sizes(files)?.latent_channels;
    if config.in_channels != channels || config.out_channels != channels {
        return Err(Error::model(format!(
            "transformer/config.json: `in_channels` is {}, and the autoencoder's latents have {channels}",
            config.in_channels
        )));
    }
    let clip =
        |tokenizer, encoder| ClipPrompt::open(files, tokenizer, encoder, true, device, precision);
    let t5 = || T5Prompt::open(files, "tokenizer_3", "text_encoder_3", device, precision);
    Ok(Box::new(StableDiffusion3 {
        clip: clip("tokenizer", "text_encoder")?,
        clip_2: clip("tokenizer_2", "text_encoder_2")?,
        t5: files.has("text_encoder_3").then(t5).transpose()?,
        transformer: Sd3Transformer2DModel::load(
            &files.loader("transformer", device, precision)?,
            &config,
        )?,
        autoencoder: Autoencoder::open(files, device, precision)?,
        config,
        device: device.clone(),
    }))
}

struct StableDiffusion3 {
    clip: ClipPrompt,
    clip_2: ClipPrompt,
    t5: Option<T5Prompt>,
    transformer: Sd3Transformer2DModel,
    autoencoder: Autoencoder,
    config: Config,
    device: Device,
}

impl StableDiffusion3 {
    /// Hidden states of both CLIP encoders side by side, then those of T5 (zeros without it), and both pooled outputs.
    fn encode_one(
        &self,
        words: &str,
        field: &'static str,
        clip_skip: u32,
        positions: usize,
        notices: &mut Vec<Notice>,
    ) -> Result<Conditioning> {
        // CLIP reads the beginning of a long prompt only; where T5 reads on, nobody need hear of it.
        let mut of_clip = Vec::new();
        let first = self.clip.encode_plain(words, field, &mut of_clip)?;
        let second = self.clip_2.encode_plain(words, field, &mut of_clip)?;
        if self.t5.is_none() {
            notices.append(&mut of_clip);
        }
        let width = self.config.joint_attention_dim;
        let clip = Tensor::cat(
            &[
                self.clip.hidden_state(&first, clip_skip)?,
                self.clip_2.hidden_state(&second, clip_skip)?,
            ],
            2,
        )?; // (1, 77, width_1 + width_2)
        let clip_width = clip.dim(2)?;
        let missing = width.checked_sub(clip_width).ok_or_else(|| {
            Error::model(format!(
                "transformer/config.json: `joint_attention_dim` is {width}, less than the text encoders' {clip_width}"
            ))
        })?;
        let clip = clip.pad_with_zeros(2, 0, missing)?;
        let t5 = match &self.t5 {
            Some(t5) => t5.encode(words, field, positions, notices)?,
            None => Tensor::zeros((1, positions, width), DType::F32, &self.device)?,
        };
        let pooled = Tensor::cat(&[&first.pooled, &second.pooled], 1)?;
        Ok(Conditioning {
            pooled_prompt_embeds: Some(pooled),
            ..Conditioning::of_text(Tensor::cat(&[&clip, &t5], 1)?)
        })
    }
}

impl Family for StableDiffusion3 {
    fn autoencoder(&self) -> &Autoencoder {
        &self.autoencoder
    }

    /// `clip_skip` concerns the prompt alone: the pipeline always reads the negative prompt from the penultimate layer.
    fn encode(&self, prompt: &PromptPair<'_>) -> Result<EncodedPrompt> {
        let mut notices = Vec::new();
        let clip_skip = prompt.clip_skip.unwrap_or(DEFAULT_CLIP_SKIP);
        let positions = prompt.max_sequence_length;
        let positive =
            self.encode_one(prompt.prompt, "prompt", clip_skip, positions, &mut notices)?;
        let negative = prompt
            .guided
            .then(|| {
                let words = prompt.negative_prompt.unwrap_or_default();
                self.encode_one(
                    words,
                    "negative_prompt",
                    DEFAULT_CLIP_SKIP,
                    positions,
                    &mut notices,
                )
            })
            .transpose()?;
        Ok(EncodedPrompt {
            positive,
            negative,
            notices,
        })
    }

    fn evaluate(&self, shape: LatentShape, inputs: &[NetworkInput<'_>]) -> Result<Vec<Vec<f32>>> {
        let patching = Patching {
            patch: self.config.patch_size,
            order_in: Patches::ChannelsOutside,
            order_out: Patches::ChannelsInside,
        };
        groups::evaluate(shape, inputs, patching, |stacked| {
            self.transformer.forward(
                &stacked.tokens,
                stacked.grid,
                &stacked.timesteps,
                &stacked.prompt_embeds,
                stacked.pooled()?,
            )
        })
    }
}
