//! Qwen-Image: Qwen2.5-VL's last layer, a transformer of two streams, an autoencoder of videos.
//!
//! Source: diffusers `QwenImagePipeline`.

mod single_file;

use candle_core::Device;
use serde_json::Value;

use super::{
    Autoencoder, Conditioning, Description, EncodedPrompt, Family, FamilyEntry, LatentShape,
    ModelFiles, NetworkInput, PromptPair, autoencoder,
    defaults::{Course, with_course},
    groups::{self, Patching},
    patches::{Patches, keep_lengths},
    qwen_prompt::QwenPrompt,
    t5_prompt::truncated,
};
use crate::{
    Error, Notice, Result,
    denoise::qwen_image::{Config, QwenImageTransformer2DModel},
    request::{Guidance, Precision},
    sampling::{DynamicShift, Flow, FlowLevels, SchedulerConfig},
    text::qwen2_5_vl,
};

pub(super) const ENTRY: FamilyEntry = FamilyEntry {
    name: "qwen_image",
    pipeline_classes: &["QwenImagePipeline"],
    weighted_parts: &["text_encoder", "transformer", "vae"],
    optional_parts: &[],
    ref_images: 0,
    preview_decoder: None,
    single_file: Some(single_file::SINGLE_FILE),
    // The names of adapters are the checkpoint's own.
    originals: |_| Vec::new(),
    describe,
    scheduler,
    open,
};

/// What stands around a prompt: the authors' instruction, and the turn of who answers.
const BEFORE: &str = "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial \
                      relationships of the objects and background:<|im_end|>\n<|im_start|>user\n";
const AFTER: &str = "<|im_end|>\n<|im_start|>assistant\n";
/// Tokens of what stands before; the transformer does not see them.
const BEFORE_TOKENS: usize = 34;
/// Tokens that a prompt may have with what stands after it, and how many a request may ask for.
const PROMPT_TOKENS: usize = 512;
const PROMPT_TOKENS_LIMIT: usize = 1024;
/// Side of the default picture in latents.
const DEFAULT_LATENTS: u32 = 128;
/// Latents on a side of a patch; fixed in the pipeline.
const PATCH: u32 = 2;

const COURSE: Course = Course {
    steps: 50,
    guidance: 4.0,
};

fn describe(files: &ModelFiles) -> Result<Description> {
    let sizes = autoencoder::sizes(files)?;
    let side = DEFAULT_LATENTS * sizes.scale_factor;
    Ok(Description {
        size_multiple_px: sizes.scale_factor * PATCH,
        prompt_positions: PROMPT_TOKENS,
        prompt_positions_limit: Some(PROMPT_TOKENS_LIMIT),
        repaints: false,
        guidance: Guidance::ClassifierFree,
        defaults: with_course(files, [COURSE, COURSE], [side, side], 1)?,
        has_controls: false,
        prompt_has_grammar: false,
        clip_layers: 1,
        working_bytes_per_pixel: sizes.working_bytes_per_pixel,
    })
}

fn scheduler(files: &ModelFiles) -> Result<SchedulerConfig> {
    Ok(files.scheduler_config()?.with_flow(Flow {
        pixels_per_token: autoencoder::sizes(files)?.scale_factor * PATCH,
        levels: FlowLevels::ToLastStep,
        shift: DynamicShift::Linear,
    }))
}

fn open(files: &ModelFiles, device: &Device, precision: Precision) -> Result<Box<dyn Family>> {
    let config: Config = files.config("transformer")?;
    let of_patch = autoencoder::sizes(files)?.latent_channels * (PATCH * PATCH) as usize;
    for (field, channels) in [
        ("in_channels", config.in_channels),
        ("out_channels", config.patch_channels()),
    ] {
        if channels != of_patch {
            return Err(Error::model(format!(
                "transformer/config.json: `{field}` makes patches of {channels} numbers, and those of the autoencoder's latents \
                 have {of_patch}"
            )));
        }
    }
    let text = qwen2_5_vl::config(&files.config::<Value>("text_encoder")?)?;
    let last = text.num_hidden_layers;
    Ok(Box::new(QwenImage {
        text: QwenPrompt::open(files, &text, &[last], device, precision)?,
        transformer: QwenImageTransformer2DModel::load(
            &files.loader("transformer", device, precision)?,
            &config,
        )?,
        autoencoder: Autoencoder::open(files, device, precision)?,
    }))
}

struct QwenImage {
    text: QwenPrompt,
    transformer: QwenImageTransformer2DModel,
    autoencoder: Autoencoder,
}

impl QwenImage {
    /// The tokens of the prompt and of what stands after it, without padding.
    fn encode_one(
        &self,
        words: &str,
        field: &'static str,
        positions: usize,
        notices: &mut Vec<Notice>,
    ) -> Result<Conditioning> {
        let text = format!("{BEFORE}{words}{AFTER}");
        let encoded = self.text.tokens(&text, field, BEFORE_TOKENS + positions)?;
        if encoded.is_truncated {
            notices.push(truncated(field, positions));
        }
        let seen = encoded.token_count;
        if seen <= BEFORE_TOKENS {
            return Err(Error::model(format!(
                "`tokenizer` makes {seen} tokens of a prompt with the instruction before it, which has {BEFORE_TOKENS} by itself: \
                 it is not Qwen's"
            )));
        }
        let mut states = self.text.states(&encoded.ids[..seen], seen)?;
        let state = states
            .pop()
            .ok_or_else(|| Error::internal("a text encoder without an answer"))?;
        let own = state.narrow(1, BEFORE_TOKENS, seen - BEFORE_TOKENS)?;
        Ok(Conditioning::of_text(own.contiguous()?))
    }
}

const PATCHING: Patching = Patching {
    patch: PATCH as usize,
    order_in: Patches::ChannelsOutside,
    order_out: Patches::ChannelsOutside,
};

impl Family for QwenImage {
    fn autoencoder(&self) -> &Autoencoder {
        &self.autoencoder
    }

    fn encode(&self, prompt: &PromptPair<'_>) -> Result<EncodedPrompt> {
        let positions = prompt.max_sequence_length;
        EncodedPrompt::of_both_sides(prompt, |words, field, notices| {
            self.encode_one(words, field, positions, notices)
        })
    }

    /// Every patch is as long as it is with the prompt alone.
    fn after_guidance(&self, shape: LatentShape, guided: &mut [f32], conditional: &[f32]) {
        keep_lengths(guided, conditional, shape, PATCH as usize);
    }

    fn evaluate(&self, shape: LatentShape, inputs: &[NetworkInput<'_>]) -> Result<Vec<Vec<f32>>> {
        groups::evaluate(shape, inputs, PATCHING, |stacked| {
            let times: Vec<f64> = stacked.timesteps.iter().map(|t| t / 1000.0).collect();
            self.transformer.forward(
                &stacked.tokens,
                stacked.grid,
                &times,
                &stacked.prompt_embeds,
            )
        })
    }
}
