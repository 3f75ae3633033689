//! Stable Diffusion 1.x and 2.x, SD-Turbo and models of their shape: one CLIP text encoder, UNet, autoencoder.
//!
//! Source: diffusers `StableDiffusionPipeline`.

use candle_core::Device;
use serde_json::Value;

use super::{
    Conditioning, Decoding, Description, EncodedPrompt, Family, FamilyEntry, ModelFiles,
    NetworkInput, PreviewMap, PromptPair,
    clip_prompt::{self, ClipPrompt},
    defaults,
    latent_diffusion::{self, LatentDiffusion, LatentShape},
};
use crate::{Result, request::Precision, sampling::SchedulerConfig};

pub(super) const ENTRY: FamilyEntry = FamilyEntry {
    name: "sd",
    pipeline_classes: &["StableDiffusionPipeline"],
    weighted_parts: &["text_encoder", "unet", "vae"],
    describe,
    scheduler,
    open,
};

/// The last layer with its norm: the encoder's own output.
const DEFAULT_CLIP_SKIP: u32 = 1;

fn describe(files: &ModelFiles) -> Result<Description> {
    let sizes = latent_diffusion::sizes(files, true)?;
    let clip = clip_prompt::describe(files, "tokenizer", "text_encoder")?;
    Ok(Description {
        size_multiple_px: sizes.size_multiple_px,
        prompt_positions: clip.positions,
        defaults: defaults::defaults(files, sizes.width_px, sizes.height_px, DEFAULT_CLIP_SKIP)?,
        clip_layers: clip.layers,
        working_bytes_per_pixel: sizes.working_bytes_per_pixel,
    })
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
        networks: LatentDiffusion::open(files, device, precision, known_preview)?,
    }))
}

/// The map for the autoencoder of Stable Diffusion 1 and 2, known by its scaling factor. Source: ComfyUI
/// `latent_formats.SD15`.
fn known_preview(scaling_factor: f64) -> Option<PreviewMap> {
    ((scaling_factor - 0.18215).abs() < 1e-9).then(|| {
        PreviewMap::new(
            vec![
                [0.3512, 0.2297, 0.3227],
                [0.3250, 0.4974, 0.2350],
                [-0.2829, 0.1762, 0.2721],
                [-0.2120, -0.2616, -0.7177],
            ],
            [0.0; 3],
        )
    })
}

struct StableDiffusion {
    text: ClipPrompt,
    networks: LatentDiffusion,
}

impl Family for StableDiffusion {
    fn latent_shape(&self, width_px: u32, height_px: u32) -> LatentShape {
        self.networks.latent_shape(width_px, height_px)
    }

    /// `clip_skip` concerns the prompt alone: the pipeline always reads the negative prompt from the encoder's
    /// output.
    fn encode(&self, prompt: &PromptPair<'_>) -> Result<EncodedPrompt> {
        let mut notices = Vec::new();
        let output = self.text.encode(prompt.prompt, "prompt", &mut notices)?;
        let prompt_embeds = match prompt.clip_skip {
            None => output.last_hidden_state,
            Some(clip_skip) => self
                .text
                .final_layer_norm(self.text.hidden_state(&output, clip_skip)?)?,
        };
        let negative = prompt
            .guided
            .then(|| {
                let words = prompt.negative_prompt.unwrap_or_default();
                let output = self.text.encode(words, "negative_prompt", &mut notices)?;
                Ok::<_, crate::Error>(Conditioning {
                    prompt_embeds: output.last_hidden_state,
                    added: None,
                })
            })
            .transpose()?;
        Ok(EncodedPrompt {
            positive: Conditioning {
                prompt_embeds,
                added: None,
            },
            negative,
            notices,
        })
    }

    fn evaluate(&self, shape: LatentShape, inputs: &[NetworkInput<'_>]) -> Result<Vec<Vec<f32>>> {
        self.networks.evaluate(shape, inputs)
    }

    fn decode(
        &self,
        shape: LatentShape,
        latents: &[f32],
        decoding: Option<Decoding>,
    ) -> Result<Decoding> {
        self.networks.decode(shape, latents, decoding)
    }

    fn preview_map(&self) -> Result<&PreviewMap> {
        self.networks.preview_map()
    }
}
