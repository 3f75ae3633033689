//! A UNet and an autoencoder working on latents: what the families of Stable Diffusion share.

use candle_core::{Device, Tensor};
use serde::Deserialize;

use super::{Conditioning, Decoding, ModelFiles, NetworkInput, PreviewMap, defaults::ModelNotes};
use crate::{
    Error, Precision, Result,
    denoise::unet_2d_condition::{self, AddedConditioning, UNet2DConditionModel},
    image::Rgb8,
    vae::autoencoder_kl::{self, AutoencoderKL},
};

/// Shape of one picture's latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LatentShape {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl LatentShape {
    /// Number of values.
    pub(crate) fn len(self) -> usize {
        self.height * self.width * self.channels
    }
}

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

/// Keys of `vae/config.json` that the pipeline reads, not the network. Source: diffusers `AutoencoderKL`.
#[derive(Debug, Clone, Deserialize)]
struct VaePipelineConfig {
    block_out_channels: Vec<usize>,
    #[serde(default = "four")]
    latent_channels: usize,
    #[serde(default = "sd_scaling_factor")]
    scaling_factor: f64,
    #[serde(default)]
    latents_mean: Option<Vec<f32>>,
    #[serde(default)]
    latents_std: Option<Vec<f32>>,
}

fn four() -> usize {
    4
}

fn sd_scaling_factor() -> f64 {
    0.18215
}

/// Sizes that follow from the configuration alone.
pub(crate) struct Sizes {
    /// Pixels a latent stands for, on a side.
    pub(crate) vae_scale_factor: u32,
    /// Width and height must be multiples of this, in pixels.
    pub(crate) size_multiple_px: u32,
    /// Default width in pixels.
    pub(crate) width_px: u32,
    /// Default height in pixels.
    pub(crate) height_px: u32,
    /// Memory that a picture takes besides the weights, in bytes for each of its pixels.
    pub(crate) working_bytes_per_pixel: u64,
}

/// diffusers refuses pictures whose sides are no multiples of this, whatever the autoencoder is.
const PIPELINE_MULTIPLE_PX: u32 = 8;
/// Side of the latents when the UNet's configuration names none.
const FALLBACK_SAMPLE_SIZE: u32 = 64;
/// Live feature maps in the widest part of the decoder, in halves. Measured at 512x512, in bf16 and f32: the worker's
/// peak grows by 2.8 of the starter's maps and by 2.8 and 2.9 of SD 1.5's; by 3.2 and 4.9 of those of a tiny model whose
/// latents are half as wide as the picture, with an attention over 65,536 pixels.
const DECODER_HALF_MAPS: u64 = 7;

/// Reads the sizes. `before_0_9_means_64` is the Stable Diffusion pipeline's rule for old files.
pub(crate) fn sizes(files: &ModelFiles, before_0_9_means_64: bool) -> Result<Sizes> {
    let unet: UnetPipelineConfig = files.config("unet")?;
    let vae: VaePipelineConfig = files.config("vae")?;
    let levels = vae.block_out_channels.len();
    if !(1..=8).contains(&levels) {
        return Err(Error::model(format!(
            "vae/config.json: `block_out_channels` has {levels} levels, not 1 to 8"
        )));
    }
    let vae_scale_factor = 1u32 << (levels - 1);
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
    let size_multiple_px = PIPELINE_MULTIPLE_PX.max(vae_scale_factor);
    let side = |latents: u32| {
        latents
            .checked_mul(vae_scale_factor)
            .filter(|pixels| (1..=16_384).contains(pixels))
            .ok_or_else(|| {
                Error::model(format!(
                    "unet/config.json: `sample_size` {latents} gives no usable picture size"
                ))
            })
    };
    let (height_px, width_px) = (side(height)?, side(width)?);
    Ok(Sizes {
        vae_scale_factor,
        size_multiple_px,
        // A default must be a size that a request could ask for.
        width_px: width_px.next_multiple_of(size_multiple_px),
        height_px: height_px.next_multiple_of(size_multiple_px),
        working_bytes_per_pixel: widest_map(&vae.block_out_channels) * 4 * DECODER_HALF_MAPS / 2,
    })
}

/// Numbers for each pixel of the picture in the decoder's widest feature map.
///
/// The decoder goes through the levels from the last to the first and doubles the sides at the end of each but the
/// first, where it still has the channels of the level it comes from. The UNet needs less: its maps have a pixel for
/// each latent.
fn widest_map(block_out_channels: &[usize]) -> u64 {
    let levels = block_out_channels.iter().enumerate();
    levels
        .map(|(level, own)| {
            let from_below = block_out_channels.get(level + 1).unwrap_or(own);
            let channels = (*own).max(*from_below).min(65_536) as u64;
            (channels >> (2 * level)).max(1)
        })
        .max()
        .unwrap_or(1)
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
    vae: AutoencoderKL,
    vae_config: VaePipelineConfig,
    vae_scale_factor: u32,
    noted_preview: Option<PreviewMap>,
    fitted_preview: std::sync::OnceLock<PreviewMap>,
    device: Device,
}

impl LatentDiffusion {
    /// Loads UNet and autoencoder. `known_preview` is the family's map, if this autoencoder is the one it is for.
    pub(crate) fn open(
        files: &ModelFiles,
        device: &Device,
        precision: Precision,
        known_preview: impl Fn(f64) -> Option<PreviewMap>,
    ) -> Result<Self> {
        let unet_keys: UnetPipelineConfig = files.config("unet")?;
        let vae_config: VaePipelineConfig = files.config("vae")?;
        check_channels(&unet_keys, &vae_config)?;
        let unet_config: unet_2d_condition::Config = files.config("unet")?;
        let decoder_config: autoencoder_kl::Config = files.config("vae")?;
        let unet =
            UNet2DConditionModel::load(&files.loader("unet", device, precision)?, &unet_config)?;
        let vae = AutoencoderKL::load(&files.loader("vae", device, precision)?, &decoder_config)?;
        let noted = ModelNotes::read(files.source())?.preview;
        let preview = noted
            .or_else(|| known_preview(vae_config.scaling_factor))
            .filter(|map| map.channels() == vae_config.latent_channels);
        Ok(Self {
            unet,
            vae,
            vae_scale_factor: sizes(files, false)?.vae_scale_factor,
            vae_config,
            noted_preview: preview,
            fitted_preview: std::sync::OnceLock::new(),
            device: device.clone(),
        })
    }

    /// Shape of the latents of a picture.
    pub(crate) fn latent_shape(&self, width_px: u32, height_px: u32) -> LatentShape {
        let side = |pixels: u32| (pixels / self.vae_scale_factor) as usize;
        LatentShape {
            height: side(height_px),
            width: side(width_px),
            channels: self.vae_config.latent_channels,
        }
    }

    /// One evaluation of the UNet for all of `inputs`.
    pub(crate) fn evaluate(
        &self,
        shape: LatentShape,
        inputs: &[NetworkInput<'_>],
    ) -> Result<Vec<Vec<f32>>> {
        let mut samples = Vec::with_capacity(inputs.len() * shape.len());
        for input in inputs {
            samples.extend_from_slice(input.sample);
        }
        let samples = Tensor::from_vec(
            samples,
            (inputs.len(), shape.height, shape.width, shape.channels),
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
        let output = self
            .unet
            .forward(&samples, &timesteps, &prompt_embeds, added.as_ref())?;
        let output: Vec<f32> = output.flatten_all()?.to_vec1()?;
        Ok(output
            .chunks_exact(shape.len())
            .map(<[f32]>::to_vec)
            .collect())
    }

    /// One piece of the way from latents to the picture. Source: diffusers `vae.decode(latents / vae.config.scaling_factor)`, or with mean
    /// and deviation where the autoencoder's configuration has both.
    pub(crate) fn decode(
        &self,
        shape: LatentShape,
        latents: &[f32],
        decoding: Option<Decoding>,
    ) -> Result<Decoding> {
        let (stage, hidden) = match decoding {
            Some(Decoding::Done(picture)) => return Ok(Decoding::Done(picture)),
            Some(Decoding::UnderWay {
                stages_done,
                hidden,
            }) => (stages_done, hidden),
            None => {
                let mut latents = latents.to_vec();
                self.to_decoder(&mut latents);
                let shape = (1, shape.height, shape.width, shape.channels);
                (0, Tensor::from_vec(latents, shape, &self.device)?)
            }
        };
        let decoded = self.vae.decode_stage(stage, &hidden)?;
        drop(hidden);
        let stages_done = stage + 1;
        if stages_done < self.vae.decode_stage_count() {
            return Ok(Decoding::UnderWay {
                stages_done,
                hidden: decoded,
            });
        }
        let (_, height, width, _) = decoded.dims4()?; // (1, height, width, 3)
        let pixels: Vec<f32> = decoded.flatten_all()?.to_vec1()?;
        let picture = Rgb8::from_decoded(&pixels, side_px(width)?, side_px(height)?)?;
        Ok(Decoding::Done(picture))
    }

    /// The map for previews: noted or known, else fitted to the autoencoder when it is first asked for.
    pub(crate) fn preview_map(&self) -> Result<&PreviewMap> {
        if let Some(map) = self
            .noted_preview
            .as_ref()
            .or_else(|| self.fitted_preview.get())
        {
            return Ok(map);
        }
        let fitted = PreviewMap::fit(&self.vae, self.vae_config.latent_channels, |latents| {
            self.to_decoder(latents)
        })?;
        Ok(self.fitted_preview.get_or_init(|| fitted))
    }

    /// The generation's latents to those that the decoder takes.
    fn to_decoder(&self, latents: &mut [f32]) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "torch divides a float32 tensor by it"
        )]
        let scaling_factor = self.vae_config.scaling_factor as f32;
        match (&self.vae_config.latents_mean, &self.vae_config.latents_std) {
            (Some(mean), Some(std)) if mean.len() == std.len() && !mean.is_empty() => {
                for (index, value) in latents.iter_mut().enumerate() {
                    let channel = index % mean.len();
                    *value = *value * std[channel] / scaling_factor + mean[channel];
                }
            }
            _ => latents
                .iter_mut()
                .for_each(|value| *value /= scaling_factor),
        }
    }
}

fn side_px(side: usize) -> Result<u32> {
    u32::try_from(side).map_err(|_too_large| Error::internal("the picture is too large"))
}

/// Refuses UNets that need more than noise and text.
fn check_channels(unet: &UnetPipelineConfig, vae: &VaePipelineConfig) -> Result<()> {
    if unet.time_cond_proj_dim.is_some() {
        return Err(Error::model(
            "unet/config.json: `time_cond_proj_dim` (guidance embedded in the network) is not supported",
        ));
    }
    if unet.in_channels != vae.latent_channels {
        return Err(Error::model(format!(
            "unet/config.json: `in_channels` is {}, but the autoencoder has {} latent channels",
            unet.in_channels, vae.latent_channels
        ))
        .with_hint(
            "inpainting and instruction models take a picture as well; that is not supported yet",
        ));
    }
    if let Some(mean) = &vae.latents_mean
        && mean.len() != vae.latent_channels
    {
        return Err(Error::model(format!(
            "vae/config.json: `latents_mean` has {} values, but there are {} latent channels",
            mean.len(),
            vae.latent_channels
        )));
    }
    if !(vae.scaling_factor.is_finite() && vae.scaling_factor != 0.0) {
        return Err(Error::model(
            "vae/config.json: `scaling_factor` must be a number other than 0",
        ));
    }
    Ok(())
}

/// Stacks one tensor of each conditioning; `None` where they have none.
fn concat<'a>(
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
    fn the_widest_map_is_where_the_decoder_reaches_full_size() {
        // Stable Diffusion: 256 channels come up to the full size, 512 to half of it.
        assert_eq!(widest_map(&[128, 256, 512, 512]), 256);
        assert_eq!(widest_map(&[32, 64, 128, 128]), 64);
        // Very wide inner levels count by their own size.
        assert_eq!(widest_map(&[8, 16, 4096]), 1024);
        assert_eq!(widest_map(&[64]), 64);
        assert_eq!(widest_map(&[]), 1);
    }

    #[test]
    fn old_versions_are_told_from_new_ones() {
        assert!(is_before_0_9("0.8.1"));
        assert!(is_before_0_9("0.2.2"));
        assert!(!is_before_0_9("0.9.0"));
        assert!(!is_before_0_9("0.42.1"));
        assert!(!is_before_0_9("1.0.0"));
    }
}
