//! Stable Diffusion 1.x and 2.x, SD-Turbo and models of their shape: one CLIP text encoder, UNet, autoencoder.
//!
//! Source: diffusers `StableDiffusionPipeline`.

mod single_file;

use candle_core::Device;
use serde_json::Value;

use super::{
    Autoencoder, Conditioning, Description, EncodedPrompt, Family, FamilyEntry, LatentShape,
    ModelFiles, NetworkInput, PromptPair,
    clip_prompt::{self, ClipPrompt},
    defaults,
    latent_diffusion::{self, LatentDiffusion},
};
use crate::{
    Error, Result,
    denoise::unet_2d_condition,
    embeddings::Slot,
    keys::unet,
    request::{Guidance, Precision},
    sampling::SchedulerConfig,
};

pub(super) const ENTRY: FamilyEntry = FamilyEntry {
    name: "sd",
    pipeline_classes: &[
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
    ],
    weighted_parts: &["text_encoder", "unet", "vae"],
    optional_parts: &[],
    ref_images: 0,
    preview_decoder: Some("taesd"),
    single_file: Some(single_file::SINGLE_FILE),
    originals: unet::originals,
    describe,
    scheduler,
    open,
};

/// The last layer with its norm: the encoder's own output.
const DEFAULT_CLIP_SKIP: u32 = 1;

fn describe(files: &ModelFiles) -> Result<Description> {
    check_unet(files)?;
    let sizes = latent_diffusion::sizes(files, true)?;
    let clip = clip_prompt::describe(files, "tokenizer", "text_encoder")?;
    Ok(Description {
        size_multiple_px: sizes.size_multiple_px,
        prompt_positions: clip.positions,
        defaults: defaults::defaults(files, sizes.width_px, sizes.height_px, DEFAULT_CLIP_SKIP)?,
        prompt_positions_limit: None,
        repaints: sizes.repaints,
        has_controls: true,
        guidance: Guidance::ClassifierFree,
        prompt_has_grammar: true,
        clip_layers: clip.layers,
        working_bytes_per_pixel: sizes.working_bytes_per_pixel,
    })
}

/// Fails where the network takes more than a text: it belongs to a pipeline of another class.
fn check_unet(files: &ModelFiles) -> Result<()> {
    let unet: unet_2d_condition::Config = files.config("unet")?;
    let Some(added) = unet.addition_embed_type else {
        return Ok(());
    };
    let class = files.pipeline_class();
    Err(Error::model(format!(
        "unet/config.json: the network takes `{added}` beside the text (`addition_embed_type`), which a {class} has none of"
    ))
    .with_hint("this network is another family's: take the whole of one model, or name its own class in `model_index.json`"))
}

/// Early files of these models were wrong, so the pipeline corrects them when it is put together.
fn scheduler(files: &ModelFiles) -> Result<SchedulerConfig> {
    let corrections = [
        ("steps_offset", Value::from(1)),
        ("clip_sample", Value::from(false)),
    ];
    Ok(files.scheduler_config()?.corrected(&corrections))
}

fn open(files: &ModelFiles, device: &Device, precision: Precision) -> Result<Box<dyn Family>> {
    Ok(Box::new(StableDiffusion {
        text: ClipPrompt::open(files, "tokenizer", "text_encoder", false, device, precision)?,
        networks: LatentDiffusion::open(files, device, precision)?,
    }))
}

struct StableDiffusion {
    text: ClipPrompt,
    networks: LatentDiffusion,
}

impl Family for StableDiffusion {
    fn autoencoder(&self) -> &Autoencoder {
        &self.networks.autoencoder
    }

    fn embedding_slots(&self) -> Result<Vec<Slot>> {
        Ok(vec![self.text.embedding_slot("")?])
    }

    /// `clip_skip` concerns the prompt alone: the pipeline always reads the negative prompt from the encoder's
    /// output.
    fn encode(&self, prompt: &PromptPair<'_>) -> Result<EncodedPrompt> {
        let mut notices = Vec::new();
        let (reading, text) = (prompt.reading(0), &self.text);
        let encoded = text.encode(prompt.prompt, reading, "prompt", &mut notices)?;
        let prompt_embeds = match prompt.clip_skip {
            None => text.last_hidden_state(&encoded)?,
            Some(clip_skip) => text.skipped(&encoded, clip_skip, true)?,
        };
        let negative = prompt
            .guided
            .then(|| {
                let words = prompt.negative_prompt.unwrap_or_default();
                let encoded = text.encode(words, reading, "negative_prompt", &mut notices)?;
                text.last_hidden_state(&encoded).map(Conditioning::of_text)
            })
            .transpose()?;
        Ok(EncodedPrompt {
            positive: Conditioning::of_text(prompt_embeds),
            negative,
            notices,
        })
    }

    fn controlled(&self) -> Option<&unet_2d_condition::Config> {
        Some(&self.networks.unet_config)
    }

    fn evaluate(&self, shape: LatentShape, inputs: &[NetworkInput<'_>]) -> Result<Vec<Vec<f32>>> {
        self.networks.evaluate(shape, inputs)
    }
}
