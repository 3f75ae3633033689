//! FLUX.1 (schnell and dev): CLIP's pooled text, T5's tokens, a transformer, an autoencoder of 16 channels.
//!
//! Source: diffusers `FluxPipeline`.

mod single_file;

use candle_core::Device;

use super::{
    Autoencoder, Conditioning, Description, EncodedPrompt, Family, FamilyEntry, LatentShape,
    ModelFiles, NetworkInput, PromptPair, autoencoder,
    clip_prompt::ClipPrompt,
    defaults::{Course, with_course},
    groups::{self, Patching},
    patches::Patches,
    t5_prompt::T5Prompt,
};
use crate::{
    Error, Notice, Result,
    denoise::flux::{Config, FluxConditioning, FluxTransformer2DModel},
    request::{Guidance, Precision},
    sampling::{DynamicShift, Flow, FlowLevels, SchedulerConfig},
};

pub(super) const ENTRY: FamilyEntry = FamilyEntry {
    name: "flux",
    pipeline_classes: &["FluxPipeline"],
    weighted_parts: &["text_encoder", "text_encoder_2", "transformer", "vae"],
    optional_parts: &[],
    ref_images: 0,
    preview_decoder: Some("taef1"),
    single_file: Some(single_file::SINGLE_FILE),
    originals: single_file::originals,
    describe,
    scheduler,
    open,
};

/// Latents on a side of a token.
const PATCH: usize = 2;
/// Side of the default picture in latents.
const DEFAULT_LATENTS: u32 = 128;
/// Tokens of T5 that the pipeline gives, and the most that it takes.
const PROMPT_TOKENS: usize = 512;

/// Of models whose guidance is embedded.
const DEV: Course = Course {
    steps: 28,
    guidance: 3.5,
};
/// Of those that were distilled to do without.
const SCHNELL: Course = Course {
    steps: 4,
    guidance: 0.0,
};

fn describe(files: &ModelFiles) -> Result<Description> {
    let config: Config = files.config("transformer")?;
    let sizes = autoencoder::sizes(files)?;
    let side = DEFAULT_LATENTS * sizes.scale_factor;
    let course = if config.guidance_embeds { DEV } else { SCHNELL };
    Ok(Description {
        size_multiple_px: multiple(sizes.scale_factor),
        prompt_positions: PROMPT_TOKENS,
        repaints: false,
        prompt_positions_limit: Some(PROMPT_TOKENS),
        has_controls: false,
        guidance: if config.guidance_embeds {
            Guidance::Embedded
        } else {
            Guidance::None
        },
        defaults: with_course(files, [course, SCHNELL], [side, side], 1)?,
        prompt_has_grammar: false,
        clip_layers: 1,
        working_bytes_per_pixel: sizes.working_bytes_per_pixel,
    })
}

/// Pixels that a token stands for, on a side.
fn multiple(scale_factor: u32) -> u32 {
    scale_factor * 2
}

fn scheduler(files: &ModelFiles) -> Result<SchedulerConfig> {
    Ok(files.scheduler_config()?.with_flow(Flow {
        pixels_per_token: multiple(autoencoder::sizes(files)?.scale_factor),
        levels: FlowLevels::ToLastStep,
        shift: DynamicShift::Linear,
    }))
}

fn open(files: &ModelFiles, device: &Device, precision: Precision) -> Result<Box<dyn Family>> {
    let config: Config = files.config("transformer")?;
    let channels = autoencoder::sizes(files)?.latent_channels * PATCH * PATCH;
    if config.in_channels != channels || config.out_channels() != channels {
        return Err(Error::model(format!(
            "transformer/config.json: `in_channels` is {}, and patches of the autoencoder's latents have {channels}",
            config.in_channels
        )));
    }
    Ok(Box::new(Flux {
        clip: ClipPrompt::open(files, "tokenizer", "text_encoder", false, device, precision)?,
        t5: T5Prompt::open(files, "tokenizer_2", "text_encoder_2", device, precision)?,
        transformer: FluxTransformer2DModel::load(
            &files.loader("transformer", device, precision)?,
            &config,
        )?,
        autoencoder: Autoencoder::open(files, device, precision)?,
        embeds_guidance: config.guidance_embeds,
    }))
}

struct Flux {
    clip: ClipPrompt,
    t5: T5Prompt,
    transformer: FluxTransformer2DModel,
    autoencoder: Autoencoder,
    embeds_guidance: bool,
}

impl Family for Flux {
    fn autoencoder(&self) -> &Autoencoder {
        &self.autoencoder
    }

    /// CLIP reads the beginning of a long prompt only; that says nothing that T5 does not, so nobody hears of it.
    fn encode(&self, prompt: &PromptPair<'_>) -> Result<EncodedPrompt> {
        let mut notices: Vec<Notice> = Vec::new();
        let mut of_clip = Vec::new();
        let pooled = self
            .clip
            .encode_plain(prompt.prompt, "prompt", &mut of_clip)?
            .pooled;
        let positions = prompt.max_sequence_length;
        let prompt_embeds = self
            .t5
            .encode(prompt.prompt, "prompt", positions, &mut notices)?;
        Ok(EncodedPrompt {
            positive: Conditioning {
                pooled_prompt_embeds: Some(pooled),
                guidance: self.embeds_guidance.then_some(prompt.guidance_scale),
                ..Conditioning::of_text(prompt_embeds)
            },
            negative: None,
            notices,
        })
    }

    fn evaluate(&self, shape: LatentShape, inputs: &[NetworkInput<'_>]) -> Result<Vec<Vec<f32>>> {
        let patching = Patching {
            patch: PATCH,
            order_in: Patches::ChannelsOutside,
            order_out: Patches::ChannelsOutside,
        };
        groups::evaluate(shape, inputs, patching, |stacked| {
            let times: Vec<f64> = stacked.timesteps.iter().map(|t| t / 1000.0).collect();
            let conditioning = FluxConditioning {
                times: &times,
                guidance: &stacked.guidance,
                prompt_embeds: &stacked.prompt_embeds,
                pooled_prompt_embeds: stacked.pooled()?,
            };
            self.transformer
                .forward(&stacked.tokens, stacked.grid, conditioning)
        })
    }
}
