//! Z-Image (Turbo and base): Qwen3's tokens, a transformer of one stream, FLUX.1's autoencoder.
//!
//! Source: diffusers `ZImagePipeline`.

mod single_file;

use candle_core::Device;

use super::{
    Autoencoder, Conditioning, Description, EncodedPrompt, Family, FamilyEntry, LatentShape,
    ModelFiles, NetworkInput, PromptPair, autoencoder,
    defaults::{Course, with_course},
    groups::{self, Patching},
    patches::Patches,
    qwen_prompt::QwenPrompt,
};
use crate::{
    Error, Notice, Result,
    denoise::z_image::{Config, ZImageTransformer2DModel},
    request::{Guidance, Precision},
    sampling::{DynamicShift, Flow, FlowLevels, SchedulerConfig},
    text::qwen3,
};

pub(super) const ENTRY: FamilyEntry = FamilyEntry {
    name: "z_image",
    pipeline_classes: &["ZImagePipeline"],
    weighted_parts: &["text_encoder", "transformer", "vae"],
    optional_parts: &[],
    ref_images: 0,
    preview_decoder: Some("taef1"),
    single_file: Some(single_file::SINGLE_FILE),
    originals: single_file::originals,
    describe,
    scheduler,
    open,
};

/// Tokens that a prompt may have.
const PROMPT_TOKENS: usize = 512;
/// Side of the default picture in latents.
const DEFAULT_LATENTS: u32 = 128;

const FULL: Course = Course {
    steps: 50,
    guidance: 5.0,
};
/// Nine levels are eight evaluations that count: the authors' own setting.
const TURBO: Course = Course {
    steps: 9,
    guidance: 0.0,
};

fn describe(files: &ModelFiles) -> Result<Description> {
    let sizes = autoencoder::sizes(files)?;
    let side = DEFAULT_LATENTS * sizes.scale_factor;
    Ok(Description {
        size_multiple_px: multiple(files)?,
        prompt_positions: PROMPT_TOKENS,
        repaints: false,
        prompt_positions_limit: Some(PROMPT_TOKENS),
        guidance: Guidance::FromPrompt,
        defaults: with_course(files, [FULL, TURBO], [side, side], 1)?,
        has_controls: false,
        prompt_has_grammar: false,
        clip_layers: 1,
        working_bytes_per_pixel: sizes.working_bytes_per_pixel,
    })
}

/// Pixels that a token stands for, on a side.
fn multiple(files: &ModelFiles) -> Result<u32> {
    let config: Config = files.config("transformer")?;
    u32::try_from(config.patch_size())
        .ok()
        .and_then(|patch| patch.checked_mul(autoencoder::sizes(files).ok()?.scale_factor))
        .filter(|multiple| (1..=256).contains(multiple))
        .ok_or_else(|| {
            Error::model("transformer/config.json: `all_patch_size` gives no usable picture size")
        })
}

fn scheduler(files: &ModelFiles) -> Result<SchedulerConfig> {
    Ok(files.scheduler_config()?.with_flow(Flow {
        pixels_per_token: multiple(files)?,
        levels: FlowLevels::ToLastStep,
        shift: DynamicShift::Linear,
    }))
}

fn open(files: &ModelFiles, device: &Device, precision: Precision) -> Result<Box<dyn Family>> {
    let config: Config = files.config("transformer")?;
    let channels = autoencoder::sizes(files)?.latent_channels;
    if config.in_channels != channels {
        return Err(Error::model(format!(
            "transformer/config.json: `in_channels` is {}, and the autoencoder's latents have {channels}",
            config.in_channels
        )));
    }
    // The last layer but one.
    let text: qwen3::Config = files.config("text_encoder")?;
    let layer = text.num_hidden_layers.saturating_sub(1);
    Ok(Box::new(ZImage {
        text: QwenPrompt::open(files, &text, &[layer], device, precision)?,
        transformer: ZImageTransformer2DModel::load(
            &files.loader("transformer", device, precision)?,
            &config,
        )?,
        autoencoder: Autoencoder::open(files, device, precision)?,
        patch: config.patch_size(),
    }))
}

struct ZImage {
    text: QwenPrompt,
    transformer: ZImageTransformer2DModel,
    autoencoder: Autoencoder,
    patch: usize,
}

impl ZImage {
    /// The prompt's own tokens, without padding.
    fn encode_one(
        &self,
        words: &str,
        field: &'static str,
        positions: usize,
        notices: &mut Vec<Notice>,
    ) -> Result<Conditioning> {
        let mut encoded = self.text.encode(words, field, true, positions, notices)?;
        let state = encoded
            .states
            .pop()
            .ok_or_else(|| Error::internal("a text encoder without an answer"))?;
        let tokens = state.narrow(1, 0, encoded.token_count)?.contiguous()?;
        Ok(Conditioning::of_text(tokens))
    }
}

impl Family for ZImage {
    fn autoencoder(&self) -> &Autoencoder {
        &self.autoencoder
    }

    fn encode(&self, prompt: &PromptPair<'_>) -> Result<EncodedPrompt> {
        let positions = prompt.max_sequence_length;
        EncodedPrompt::of_both_sides(prompt, |words, field, notices| {
            self.encode_one(words, field, positions, notices)
        })
    }

    /// The network counts time from noise to picture, and points to the picture.
    fn evaluate(&self, shape: LatentShape, inputs: &[NetworkInput<'_>]) -> Result<Vec<Vec<f32>>> {
        let patching = Patching {
            patch: self.patch,
            order_in: Patches::ChannelsInside,
            order_out: Patches::ChannelsInside,
        };
        let mut outputs = groups::evaluate(shape, inputs, patching, |stacked| {
            let times: Vec<f64> = stacked
                .timesteps
                .iter()
                .map(|t| (1000.0 - t) / 1000.0)
                .collect();
            self.transformer.forward(
                &stacked.tokens,
                stacked.grid,
                &times,
                &stacked.prompt_embeds,
            )
        })?;
        for value in outputs.iter_mut().flatten() {
            *value = -*value;
        }
        Ok(outputs)
    }
}
