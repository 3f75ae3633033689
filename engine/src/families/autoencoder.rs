//! The autoencoder of a family that works on latents: between what the sampler has and what the network makes pictures of.

use std::sync::OnceLock;

use candle_core::{Device, Tensor};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Decoding, ModelFiles, PreviewMap,
    defaults::ModelNotes,
    known_preview::known_preview,
    normalisation::{self, Normalisation},
    tiny_autoencoder,
};
use crate::{
    Error, Precision, Result,
    image::Rgb8,
    kernels,
    latent_resize::bilinear,
    vae::{
        AutoencoderNetwork, Encoded,
        autoencoder_kl::{self, AutoencoderKL},
        autoencoder_kl_qwen_image::{self, AutoencoderKLQwenImage},
    },
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

/// Keys of `vae/config.json` that the pipeline reads, not the network. Source: diffusers `AutoencoderKL`,
/// `AutoencoderKLFlux2`, `AutoencoderKLQwenImage`.
#[derive(Debug, Clone, Deserialize)]
struct PipelineConfig {
    block_out_channels: Vec<usize>,
    #[serde(default = "four")]
    latent_channels: usize,
}

impl PipelineConfig {
    /// Of an autoencoder of any kind.
    fn read(files: &ModelFiles) -> Result<Self> {
        let Some(videos) = of_videos(files)? else {
            return files.config("vae");
        };
        Ok(Self {
            block_out_channels: videos.channels(),
            latent_channels: videos.z_dim,
        })
    }
}

/// The configuration of an autoencoder of videos, checked; `None` where it is one of images.
fn of_videos(files: &ModelFiles) -> Result<Option<autoencoder_kl_qwen_image::Config>> {
    let config: Value = files.config("vae")?;
    if config.get("z_dim").is_none() {
        return Ok(None);
    }
    let config: autoencoder_kl_qwen_image::Config = files.config("vae")?;
    config.check()?;
    Ok(Some(config))
}

/// What says how the sampler's latents differ.
fn between(files: &ModelFiles) -> Result<normalisation::Config> {
    match of_videos(files)? {
        Some(videos) => Ok(normalisation::Config::per_channel(
            videos.latents_mean,
            videos.latents_std,
        )),
        None => files.config("vae"),
    }
}

/// Loads the half that decodes.
fn network(
    files: &ModelFiles,
    loader: &crate::checkpoint::Loader,
) -> Result<Box<dyn AutoencoderNetwork>> {
    if let Some(config) = of_videos(files)? {
        return Ok(Box::new(AutoencoderKLQwenImage::load(loader, &config)?));
    }
    let config: autoencoder_kl::Config = files.config("vae")?;
    Ok(Box::new(AutoencoderKL::load(loader, &config)?))
}

fn four() -> usize {
    4
}

/// Sizes that follow from the configuration alone, or from the headers of the weights.
pub(crate) struct Sizes {
    /// Pixels a latent of the autoencoder stands for, on a side.
    pub(crate) scale_factor: u32,
    /// Channels of the autoencoder's latents.
    pub(crate) latent_channels: usize,
    /// Memory that a picture takes besides the weights, in bytes for each of its pixels.
    pub(crate) working_bytes_per_pixel: u64,
}

/// Most channels of an autoencoder's latents; real ones have 4 to 128.
const MOST_LATENT_CHANNELS: usize = 256;
/// Pixels of a picture that takes so much memory that it is given back at once.
const LARGE_PX: usize = 768 * 768;

/// What decoding takes, in quarters of the decoder's widest feature map. Measured with the autoencoder of SDXL, in bf16 and
/// f32: 1.25 and 1.33 maps at 512x512, 0.87 and 1.18 at 768x768, 0.83 and 1.08 at 1024x1024, where the widest map is not
/// kept whole.
const DECODER_QUARTER_MAPS: u64 = 5;

/// Reads the sizes.
pub(crate) fn sizes(files: &ModelFiles) -> Result<Sizes> {
    if let Some(tiny) = tiny_autoencoder::sizes(files)? {
        return Ok(tiny);
    }
    let config = PipelineConfig::read(files)?;
    let levels = config.block_out_channels.len();
    if !(1..=8).contains(&levels) {
        return Err(Error::model(format!(
            "vae/config.json: `block_out_channels` has {levels} levels, not 1 to 8"
        )));
    }
    let channels = config.latent_channels;
    if !(1..=MOST_LATENT_CHANNELS).contains(&channels) {
        return Err(Error::model(format!(
            "vae/config.json: `latent_channels` is {channels}, outside 1 to {MOST_LATENT_CHANNELS}"
        )));
    }
    Ok(Sizes {
        scale_factor: 1u32 << (levels - 1),
        latent_channels: config.latent_channels,
        working_bytes_per_pixel: widest_map(&config.block_out_channels) * 4 * DECODER_QUARTER_MAPS
            / 4,
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

/// A loaded autoencoder.
pub(crate) struct Autoencoder {
    vae: Box<dyn AutoencoderNetwork>,
    normalisation: Normalisation,
    sizes: Sizes,
    noted_preview: Option<PreviewMap>,
    fitted_preview: OnceLock<PreviewMap>,
    device: Device,
}

impl Autoencoder {
    /// Loads the autoencoder.
    pub(crate) fn open(files: &ModelFiles, device: &Device, precision: Precision) -> Result<Self> {
        let loader = files.loader("vae", device, precision)?;
        let sizes = sizes(files)?;
        let between = between(files)?;
        let (vae, normalisation) = match tiny_autoencoder::open(files, &loader, &between)? {
            Some((vae, normalisation)) => {
                let vae: Box<dyn AutoencoderNetwork> = Box::new(vae);
                (vae, normalisation)
            }
            None => {
                let normalisation = Normalisation::read(&between, sizes.latent_channels, &loader)?;
                (network(files, &loader)?, normalisation)
            }
        };
        let patch = normalisation.patch();
        let channels = sizes.latent_channels * patch * patch;
        let noted = ModelNotes::read(files.source())?.preview;
        let preview = noted
            .or_else(|| known_preview(between.scaling_factor, between.latents_mean.as_deref()))
            .filter(|map| map.channels() == channels);
        Ok(Self {
            vae,
            normalisation,
            sizes,
            noted_preview: preview,
            fitted_preview: OnceLock::new(),
            device: device.clone(),
        })
    }

    /// Shape of the sampler's latents of a picture.
    pub(crate) fn latent_shape(&self, width_px: u32, height_px: u32) -> LatentShape {
        let patch = self.normalisation.patch();
        let side = |pixels: u32| (pixels / self.sizes.scale_factor) as usize / patch;
        LatentShape {
            height: side(height_px),
            width: side(width_px),
            channels: self.sizes.latent_channels * patch * patch,
        }
    }

    /// One piece of the way from latents to the picture. Source: diffusers
    /// `vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor)`, or with mean and deviation where the
    /// autoencoder has both.
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
                // What the evaluations used would lie beside what decoding uses.
                give_memory_back(self.pixel_count(shape));
                let latents = self.to_decoder(shape, latents)?;
                (0, self.vae.begin_decode(&latents)?)
            }
        };
        let decoded = self.vae.decode_stage(stage, hidden)?;
        let stages_done = stage + 1;
        if stages_done < self.vae.decode_stage_count() {
            return Ok(Decoding::UnderWay {
                stages_done,
                hidden: decoded,
            });
        }
        let decoded = decoded.into_tensor()?;
        let (_, height, width, _) = decoded.dims4()?; // (1, height, width, 3)
        let pixels: Vec<f32> = decoded.flatten_all()?.to_vec1()?;
        let picture = Rgb8::from_decoded(&pixels, side_px(width)?, side_px(height)?)?;
        drop((decoded, pixels));
        give_memory_back(self.pixel_count(shape));
        Ok(Decoding::Done(picture))
    }

    /// Pixels of a picture of these latents.
    fn pixel_count(&self, shape: LatentShape) -> usize {
        let scale = self.sizes.scale_factor as usize * self.normalisation.patch();
        shape.height * shape.width * scale * scale
    }

    /// Whether a picture is a distribution of latents, of which a pipeline takes a sample.
    pub(crate) fn is_sampled(&self) -> bool {
        self.vae.is_sampled()
    }

    /// The latents of a picture, channels last.
    ///
    /// `pixels`: `(height, width, 3)` in `[-1, 1]`, of a size that the model can draw. `noise`: called once where the
    /// pipeline takes a sample of the autoencoder's distribution, not its mean. Source: diffusers `retrieve_latents`.
    pub(crate) fn encode(
        &self,
        pixels: &[f32],
        (height, width): (usize, usize),
        noise: &mut dyn FnMut() -> Vec<f32>,
    ) -> Result<Vec<f32>> {
        let pixels = Tensor::from_slice(pixels, (1, height, width, 3), &self.device)?;
        let (mean, log_variance) = match self.vae.to_latents(&pixels)? {
            Encoded::Distribution(mean, log_variance) => (mean, Some(log_variance)),
            Encoded::Latents(latents) => (latents, None),
        };
        give_memory_back(height * width);
        let (_, rows, columns, channels) = mean.dims4()?;
        let mut latents: Vec<f32> = mean.flatten_all()?.to_vec1()?;
        if let Some(log_variance) = log_variance.filter(|_| !self.normalisation.is_patched()) {
            let log_variance: Vec<f32> = log_variance.flatten_all()?.to_vec1()?;
            for ((value, log), noise) in latents.iter_mut().zip(log_variance).zip(noise()) {
                *value += (0.5 * log).exp() * noise;
            }
        }
        let shape = LatentShape {
            height: rows,
            width: columns,
            channels,
        };
        Ok(self.normalisation.apply(shape, latents))
    }

    /// The sampler's latents at a larger size. Patches are taken apart first: what is enlarged is the autoencoder's
    /// latents.
    pub(crate) fn enlarged(&self, latents: &[f32], from: LatentShape, to: LatentShape) -> Vec<f32> {
        if !self.normalisation.is_patched() {
            return bilinear(latents, from, to);
        }
        let (_, inside) = self.normalisation.undo(from, latents);
        let [from, to] = [from, to].map(|shape| self.normalisation.inside(shape));
        self.normalisation.apply(to, bilinear(&inside, from, to))
    }

    /// Channels of the sampler's latents.
    fn channels(&self) -> usize {
        let patch = self.normalisation.patch();
        self.sizes.latent_channels * patch * patch
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
        let channels = self.channels();
        let fitted = PreviewMap::fit(channels, |side, latents| {
            let shape = LatentShape {
                height: side,
                width: side,
                channels,
            };
            self.vae.decode(&self.to_decoder(shape, latents)?)
        })?;
        Ok(self.fitted_preview.get_or_init(|| fitted))
    }

    /// The sampler's latents as a tiny autoencoder takes them: `(1, height, width, channels)`.
    pub(crate) fn to_tiny(&self, shape: LatentShape, latents: &[f32]) -> Result<Tensor> {
        let (shape, latents) = self.normalisation.apart(shape, latents);
        let shape = (1, shape.height, shape.width, shape.channels);
        Ok(Tensor::from_vec(latents, shape, &self.device)?)
    }

    /// Channels of the autoencoder's latents.
    pub(crate) fn latent_channels(&self) -> usize {
        self.sizes.latent_channels
    }

    /// The sampler's latents to those that the decoder takes: `(1, height, width, channels)`.
    fn to_decoder(&self, shape: LatentShape, latents: &[f32]) -> Result<Tensor> {
        let (shape, latents) = self.normalisation.undo(shape, latents);
        let shape = (1, shape.height, shape.width, shape.channels);
        Ok(Tensor::from_vec(latents, shape, &self.device)?)
    }
}

/// Gives unused memory back to the system where a picture takes so much that it should not be kept for the next one.
fn give_memory_back(pixel_count: usize) {
    if pixel_count >= LARGE_PX {
        kernels::cpu::release();
    }
}

fn side_px(side: usize) -> Result<u32> {
    u32::try_from(side).map_err(|_too_large| Error::internal("the picture is too large"))
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
}
