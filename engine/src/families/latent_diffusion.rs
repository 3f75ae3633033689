//! A UNet and an autoencoder working on latents: what the families of Stable Diffusion share.

use candle_core::{Device, Tensor};
use serde::Deserialize;

use super::{
    Conditioning, ModelFiles, NetworkInput,
    autoencoder::{self, Autoencoder, LatentShape},
    groups,
};
use crate::{
    Error, Precision, Result, controls,
    denoise::unet_2d_condition::{self, AddedConditioning, UNet2DConditionModel},
};

/// A side of the UNet's own picture, or both.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum SampleSize {
    Square(u32),
    HeightWidth(u32, u32),
}

/// Keys of `unet/config.json` that the pipeline reads, not the network.
#[derive(Debug, Deserialize)]
struct UnetPipelineConfig {
    #[serde(default)]
    sample_size: Option<SampleSize>,
    in_channels: usize,
    #[serde(default)]
    time_cond_proj_dim: Option<u32>,
    #[serde(default, rename = "_diffusers_version")]
    diffusers_version: Option<String>,
}

/// Sizes that follow from the configuration alone.
pub(crate) struct Sizes {
    /// Width and height must be multiples of this, in pixels.
    pub(crate) size_multiple_px: u32,
    /// Default width in pixels.
    pub(crate) width_px: u32,
    /// Default height in pixels.
    pub(crate) height_px: u32,
    /// Memory that a picture takes besides the weights, in bytes for each of its pixels.
    pub(crate) working_bytes_per_pixel: u64,
    /// Whether the UNet takes a mask and the kept part of a picture beside the latents.
    pub(crate) repaints: bool,
}

/// diffusers refuses pictures whose sides are no multiples of this, whatever the autoencoder is.
const PIPELINE_MULTIPLE_PX: u32 = 8;
/// Side of the latents when the UNet's configuration names none.
const FALLBACK_SAMPLE_SIZE: u32 = 64;

/// Reads the sizes. `before_0_9_means_64` is the Stable Diffusion pipeline's rule for old files.
pub(crate) fn sizes(files: &ModelFiles, before_0_9_means_64: bool) -> Result<Sizes> {
    let unet: UnetPipelineConfig = files.config("unet")?;
    let vae = autoencoder::sizes(files)?;
    let (mut height, mut width) = match unet.sample_size {
        Some(SampleSize::Square(side)) => (side, side),
        Some(SampleSize::HeightWidth(height, width)) => (height, width),
        None => (FALLBACK_SAMPLE_SIZE, FALLBACK_SAMPLE_SIZE),
    };
    if before_0_9_means_64
        && height < 64
        && unet
            .diffusers_version
            .is_some_and(|version| is_before_0_9(&version))
    {
        (height, width) = (64, 64);
    }
    let size_multiple_px = PIPELINE_MULTIPLE_PX.max(vae.scale_factor);
    let side = |latents: u32| {
        latents
            .checked_mul(vae.scale_factor)
            .filter(|pixels| (1..=16_384).contains(pixels))
            .ok_or_else(|| {
                Error::model(format!(
                    "unet/config.json: `sample_size` {latents} gives no usable picture size"
                ))
            })
    };
    let (height_px, width_px) = (side(height)?, side(width)?);
    Ok(Sizes {
        size_multiple_px,
        // A default must be a size that a request could ask for.
        width_px: width_px.next_multiple_of(size_multiple_px),
        height_px: height_px.next_multiple_of(size_multiple_px),
        working_bytes_per_pixel: vae.working_bytes_per_pixel,
        repaints: unet.in_channels == repainting_channels(vae.latent_channels),
    })
}

/// Whether a diffusers version is older than 0.9.
fn is_before_0_9(version: &str) -> bool {
    let mut numbers = version
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (0, 9)
}

/// The loaded networks.
pub(crate) struct LatentDiffusion {
    unet: UNet2DConditionModel,
    pub(crate) unet_config: unet_2d_condition::Config,
    pub(crate) autoencoder: Autoencoder,
    device: Device,
}

impl LatentDiffusion {
    /// Loads UNet and autoencoder.
    pub(crate) fn open(files: &ModelFiles, device: &Device, precision: Precision) -> Result<Self> {
        let unet_keys: UnetPipelineConfig = files.config("unet")?;
        check_channels(&unet_keys, autoencoder::sizes(files)?.latent_channels)?;
        let unet_config: unet_2d_condition::Config = files.config("unet")?;
        let unet =
            UNet2DConditionModel::load(&files.loader("unet", device, precision)?, &unet_config)?;
        Ok(Self {
            unet,
            unet_config,
            autoencoder: Autoencoder::open(files, device, precision)?,
            device: device.clone(),
        })
    }

    /// One evaluation of the UNet for all of `inputs`.
    pub(crate) fn evaluate(
        &self,
        shape: LatentShape,
        inputs: &[NetworkInput<'_>],
    ) -> Result<Vec<Vec<f32>>> {
        groups::each(shape, inputs, |group| self.evaluate_group(shape, group))
    }

    /// The same for inputs whose prompts have the same number of tokens and that have the same ControlNets, one after the
    /// other.
    fn evaluate_group(&self, shape: LatentShape, inputs: &[&NetworkInput<'_>]) -> Result<Vec<f32>> {
        let mut samples = Vec::with_capacity(inputs.len() * shape.len());
        for input in inputs {
            match input.beside {
                None => samples.extend_from_slice(input.sample),
                Some(beside) => {
                    let more = beside.len() / (shape.height * shape.width).max(1);
                    let pixels = input.sample.chunks_exact(shape.channels);
                    for (latent, beside) in pixels.zip(beside.chunks_exact(more.max(1))) {
                        samples.extend_from_slice(latent);
                        samples.extend_from_slice(beside);
                    }
                }
            }
        }
        let channels = samples.len() / (inputs.len() * shape.height * shape.width).max(1);
        let samples = Tensor::from_vec(
            samples,
            (inputs.len(), shape.height, shape.width, channels),
            &self.device,
        )?;
        let timesteps: Vec<f64> = inputs.iter().map(|input| input.timestep).collect();
        let conditionings: Vec<&Conditioning> =
            inputs.iter().map(|input| input.conditioning).collect();
        let prompt_embeds = concat(&conditionings, |conditioning| {
            Some(&conditioning.prompt_embeds)
        })?
        .ok_or_else(|| Error::internal("an evaluation without inputs"))?; // (b, tokens, width)
        let text_embeds = concat(&conditionings, |conditioning| {
            conditioning.added.as_ref().map(|added| &added.text_embeds)
        })?;
        let time_ids = concat(&conditionings, |conditioning| {
            conditioning.added.as_ref().map(|added| &added.time_ids)
        })?;
        let added = text_embeds
            .zip(time_ids)
            .map(|(text_embeds, time_ids)| AddedConditioning {
                text_embeds,
                time_ids,
            });
        let residuals = controls::residuals(
            inputs,
            || self.latents(shape, inputs),
            &timesteps,
            &prompt_embeds,
            added.as_ref(),
        )?;
        let output = self.unet.forward_controlled(
            &samples,
            &timesteps,
            &prompt_embeds,
            added.as_ref(),
            residuals.as_ref(),
        )?;
        Ok(output.flatten_all()?.to_vec1()?)
    }

    /// The latents alone, `(b, h, w, c)`: what ControlNets see.
    fn latents(&self, shape: LatentShape, inputs: &[&NetworkInput<'_>]) -> Result<Tensor> {
        let latents: Vec<f32> = inputs
            .iter()
            .flat_map(|input| input.sample.iter().copied())
            .collect();
        let dims = (inputs.len(), shape.height, shape.width, shape.channels);
        Ok(Tensor::from_vec(latents, dims, &self.device)?)
    }
}

/// Channels of a UNet that repaints: latents, mask, latents of what is kept.
fn repainting_channels(latent_channels: usize) -> usize {
    2 * latent_channels + 1
}

/// Refuses UNets that need more than noise and text.
fn check_channels(unet: &UnetPipelineConfig, latent_channels: usize) -> Result<()> {
    if unet.time_cond_proj_dim.is_some() {
        return Err(Error::model(
            "unet/config.json: `time_cond_proj_dim` (guidance embedded in the network) is not supported",
        ));
    }
    if unet.in_channels != latent_channels
        && unet.in_channels != repainting_channels(latent_channels)
    {
        return Err(Error::model(format!(
            "unet/config.json: `in_channels` is {}, but the autoencoder has {latent_channels} latent channels",
            unet.in_channels
        ))
        .with_hint("instruction models take a picture as well; that is not supported"));
    }
    Ok(())
}

/// Stacks one tensor of each conditioning; `None` where they have none.
pub(super) fn concat<'a>(
    conditionings: &[&'a Conditioning],
    part: impl Fn(&'a Conditioning) -> Option<&'a Tensor>,
) -> Result<Option<Tensor>> {
    let parts: Option<Vec<&Tensor>> = conditionings
        .iter()
        .map(|conditioning| part(conditioning))
        .collect();
    match parts {
        Some(parts) if !parts.is_empty() => Ok(Some(Tensor::cat(&parts, 0)?)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_told_from_new_ones() {
        assert!(is_before_0_9("0.8.1"));
        assert!(is_before_0_9("0.2.2"));
        assert!(!is_before_0_9("0.9.0"));
        assert!(!is_before_0_9("0.42.1"));
        assert!(!is_before_0_9("1.0.0"));
    }
}
