//! The autoencoder of Qwen-Image, which is one of videos: here for a single image.
//!
//! Its convolutions see the frames before an image, of which there are none; the layers that halve and double the number of
//! frames do nothing with one. So it is an autoencoder of images, whose norms are of single pixels.
//!
//! Source: diffusers `AutoencoderKLQwenImage`.

mod config;
mod decoder;
mod encoder;
mod mid_block;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use candle_core::Tensor;

pub use config::{Config, LATENTS_MEAN};

use self::decoder::Decoder;
use self::encoder::Encoder;
use super::keeping::Keeping;
use super::{AutoencoderNetwork, Encoded, Hidden, distribution, each};
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::Linear;

/// Frames that the convolutions see.
const FRAMES: usize = 3;

/// An autoencoder with its weights.
#[derive(Clone)]
pub struct AutoencoderKLQwenImage {
    config: Config,
    loader: Loader,
    band_pixels: usize,
    decoder: Decoder,
    encoder: OnceLock<(Encoder, Linear)>,
}

impl AutoencoderKLQwenImage {
    /// Loads the half that decodes. The half that encodes is read from the same files when it is first needed.
    ///
    /// Fails when the config asks for something that is not supported (names field and value) or does not fit the
    /// weights (names the tensor, the expected and the found shape).
    pub fn load(loader: &Loader, config: &Config) -> Result<Self> {
        Self::load_banded(loader, config, Keeping::usual().band_pixels)
    }

    fn load_banded(loader: &Loader, config: &Config, band_pixels: usize) -> Result<Self> {
        config.check()?;
        Ok(Self {
            config: config.clone(),
            loader: loader.clone(),
            band_pixels,
            decoder: Decoder::load(loader, config, band_pixels)?,
            encoder: OnceLock::new(),
        })
    }

    /// Pixels to the distribution of their latents: mean and logarithm of the variance (within -30 to 20).
    ///
    /// `pixels`: `(b, height, width, in_channels)` in `[-1, 1]`. Gives two tensors
    /// `(b, height / f, width / f, latent_channels)`, neither shifted nor scaled.
    pub fn encode(&self, pixels: &Tensor) -> Result<(Tensor, Tensor)> {
        let (encoder, quant_conv) = self.encoder()?;
        let moments = each(pixels, |pixels| {
            encoder.forward(&pixels.contiguous()?, self.band_pixels)
        })?;
        distribution(&quant_conv.forward(&moments)?, self.config.z_dim)
    }

    fn encoder(&self) -> Result<&(Encoder, Linear)> {
        if let Some(encoder) = self.encoder.get() {
            return Ok(encoder);
        }
        let moments = 2 * self.config.z_dim;
        let quant_conv = Linear::load_conv1x1x1(&self.loader.pp("quant_conv"), moments, moments)?;
        let encoder = Encoder::load(&self.loader.pp("encoder"), &self.config)?;
        Ok(self.encoder.get_or_init(|| (encoder, quant_conv)))
    }
}

impl AutoencoderNetwork for AutoencoderKLQwenImage {
    fn begin_decode(&self, latents: &Tensor) -> Result<Hidden> {
        self.decoder.begin(&latents.contiguous()?)
    }

    /// Each residual block, attention, upsampler, and what is around them.
    fn decode_stage_count(&self) -> usize {
        self.decoder.stage_count()
    }

    fn decode_stage(&self, stage: usize, hidden: Hidden) -> Result<Hidden> {
        self.decoder.forward_stage(stage, hidden)
    }

    fn to_latents(&self, pixels: &Tensor) -> Result<Encoded> {
        let (mean, log_variance) = self.encode(pixels)?;
        Ok(Encoded::Distribution(mean, log_variance))
    }
}
