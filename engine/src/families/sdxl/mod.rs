//! Stable Diffusion XL and SDXL-Turbo: two CLIP text encoders, a UNet that also takes pooled text and sizes.
//!
//! Source: diffusers `StableDiffusionXLPipeline`.

mod single_file;

use candle_core::{Device, Tensor};
use serde_json::Value;

use super::{
    Autoencoder, Conditioning, Description, EncodedPrompt, Family, FamilyEntry, LatentShape,
    ModelFiles, NetworkInput, PromptPair,
    clip_prompt::{self, ClipPrompt},
    defaults,
    latent_diffusion::{self, LatentDiffusion},
};
use crate::{
    Notice, Result,
    denoise::unet_2d_condition::{self, AddedConditioning},
    embeddings::Slot,
    keys::unet,
    request::{Guidance, Precision},
};

pub(super) const ENTRY: FamilyEntry = FamilyEntry {
    name: "sdxl",
    pipeline_classes: &[
        "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusionXLInpaintPipeline",
    ],
    weighted_parts: &["text_encoder", "text_encoder_2", "unet", "vae"],
    optional_parts: &[],
    ref_images: 0,
    preview_decoder: Some("taesdxl"),
    single_file: Some(single_file::SINGLE_FILE),
    originals: unet::originals,
    describe,
    scheduler: ModelFiles::scheduler_config,
    open,
};

/// The penultimate layer, without the final norm.
const DEFAULT_CLIP_SKIP: u32 = 2;

fn describe(files: &ModelFiles) -> Result<Description> {
    let sizes = latent_diffusion::sizes(files, false)?;
    let first = clip_prompt::describe(files, "tokenizer", "text_encoder")?;
    let second = clip_prompt::describe(files, "tokenizer_2", "text_encoder_2")?;
    Ok(Description {
        size_multiple_px: sizes.size_multiple_px,
        prompt_positions: first.positions.min(second.positions),
        defaults: defaults::defaults(files, sizes.width_px, sizes.height_px, DEFAULT_CLIP_SKIP)?,
        prompt_positions_limit: None,
        repaints: sizes.repaints,
        has_controls: true,
        guidance: Guidance::ClassifierFree,
        prompt_has_grammar: true,
        clip_layers: first.layers.min(second.layers),
        working_bytes_per_pixel: sizes.working_bytes_per_pixel,
    })
}

fn open(files: &ModelFiles, device: &Device, precision: Precision) -> Result<Box<dyn Family>> {
    Ok(Box::new(StableDiffusionXl {
        text: ClipPrompt::open(files, "tokenizer", "text_encoder", false, device, precision)?,
        text_2: ClipPrompt::open(
            files,
            "tokenizer_2",
            "text_encoder_2",
            true,
            device,
            precision,
        )?,
        networks: LatentDiffusion::open(files, device, precision)?,
        force_zeros_for_empty_prompt: files
            .index_value("force_zeros_for_empty_prompt")
            .and_then(Value::as_bool)
            .unwrap_or(true),
        device: device.clone(),
    }))
}

struct StableDiffusionXl {
    text: ClipPrompt,
    text_2: ClipPrompt,
    networks: LatentDiffusion,
    force_zeros_for_empty_prompt: bool,
    device: Device,
}

impl StableDiffusionXl {
    /// Hidden states of both encoders side by side, and the second one's pooled output.
    fn encode_one(
        &self,
        (words, field): (&str, &'static str),
        prompt: &PromptPair<'_>,
        clip_skip: u32,
        time_ids: &Tensor,
        notices: &mut Vec<Notice>,
    ) -> Result<Conditioning> {
        let first = self.text.encode(words, prompt.reading(0), field, notices)?;
        let second = self
            .text_2
            .encode(words, prompt.reading(1), field, notices)?;
        let prompt_embeds = Tensor::cat(
            &[
                self.text.skipped(&first, clip_skip, false)?,
                self.text_2.skipped(&second, clip_skip, false)?,
            ],
            2,
        )?; // (1, tokens, width + width_2)
        Ok(Conditioning {
            added: Some(AddedConditioning {
                text_embeds: second.pooled()?,
                time_ids: time_ids.clone(),
            }),
            ..Conditioning::of_text(prompt_embeds)
        })
    }

    /// Original size, crop, target size: height first. Source: diffusers `_get_add_time_ids`.
    fn time_ids(&self, width_px: u32, height_px: u32) -> Result<Tensor> {
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^24")]
        let (width, height) = (width_px as f32, height_px as f32);
        Ok(Tensor::new(
            &[[height, width, 0.0, 0.0, height, width]],
            &self.device,
        )?)
    }
}

impl Family for StableDiffusionXl {
    fn autoencoder(&self) -> &Autoencoder {
        &self.networks.autoencoder
    }

    fn embedding_slots(&self) -> Result<Vec<Slot>> {
        Ok(vec![
            self.text.embedding_slot("clip_l")?,
            self.text_2.embedding_slot("clip_g")?,
        ])
    }

    /// `clip_skip` concerns the prompt alone: the pipeline always reads the negative prompt from the penultimate
    /// layer. An absent negative prompt is all zeros where the model's index says so.
    fn encode(&self, prompt: &PromptPair<'_>) -> Result<EncodedPrompt> {
        let mut notices = Vec::new();
        let time_ids = self.time_ids(prompt.width_px, prompt.height_px)?;
        let clip_skip = prompt.clip_skip.unwrap_or(DEFAULT_CLIP_SKIP);
        let positive = self.encode_one(
            (prompt.prompt, "prompt"),
            prompt,
            clip_skip,
            &time_ids,
            &mut notices,
        )?;
        let negative = if !prompt.guided {
            None
        } else if prompt.negative_prompt.is_none() && self.force_zeros_for_empty_prompt {
            Some(zeros_like(&positive)?)
        } else {
            let words = prompt.negative_prompt.unwrap_or_default();
            Some(self.encode_one(
                (words, "negative_prompt"),
                prompt,
                DEFAULT_CLIP_SKIP,
                &time_ids,
                &mut notices,
            )?)
        };
        Ok(EncodedPrompt {
            positive,
            negative,
            notices,
        })
    }

    /// The network is told sizes.
    fn at_size(
        &self,
        conditioning: &Conditioning,
        width_px: u32,
        height_px: u32,
    ) -> Result<Conditioning> {
        let mut conditioning = conditioning.clone();
        if let Some(added) = &mut conditioning.added {
            added.time_ids = self.time_ids(width_px, height_px)?;
        }
        Ok(conditioning)
    }

    fn controlled(&self) -> Option<&unet_2d_condition::Config> {
        Some(&self.networks.unet_config)
    }

    fn evaluate(&self, shape: LatentShape, inputs: &[NetworkInput<'_>]) -> Result<Vec<Vec<f32>>> {
        self.networks.evaluate(shape, inputs)
    }
}

/// No text at all, for a picture of the same size.
fn zeros_like(conditioning: &Conditioning) -> Result<Conditioning> {
    let added = conditioning
        .added
        .as_ref()
        .map(|added| {
            Ok::<_, crate::Error>(AddedConditioning {
                text_embeds: added.text_embeds.zeros_like()?,
                time_ids: added.time_ids.clone(),
            })
        })
        .transpose()?;
    Ok(Conditioning {
        added,
        ..Conditioning::of_text(conditioning.prompt_embeds.zeros_like()?)
    })
}
