//! The autoencoder of the Stable Diffusion family (and, with 16 channels, of its successors).
//!
//! Source: diffusers `AutoencoderKL`.

mod blocks;
mod config;
mod decoder;
mod encoder;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use candle_core::Tensor;

use self::decoder::Decoder;
use self::encoder::Encoder;
use super::keeping::Keeping;
use super::{AutoencoderNetwork, Encoded, Hidden, distribution, each};
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::Linear;
pub use config::Config;

/// An autoencoder with its weights.
#[derive(Clone)]
pub struct AutoencoderKL {
    config: Config,
    loader: Loader,
    keeping: Keeping,
    decoder: Decoder,
    encoder: OnceLock<(Encoder, Option<Linear>)>,
}

impl AutoencoderKL {
    /// Loads the half that decodes. The half that encodes is read from the same files when it is first needed.
    ///
    /// Fails when the config asks for something that is not supported (names field and value) or does not fit the
    /// weights (names the tensor, the expected and the found shape).
    pub fn load(loader: &Loader, config: &Config) -> Result<Self> {
        Self::load_keeping(loader, config, Keeping::usual())
    }

    fn load_keeping(loader: &Loader, config: &Config, keeping: Keeping) -> Result<Self> {
        config.check()?;
        Ok(Self {
            config: config.clone(),
            loader: loader.clone(),
            keeping,
            decoder: Decoder::load(loader, config, keeping)?,
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
            encoder.forward(&pixels.contiguous()?, self.keeping.band_pixels)
        })?;
        let moments = match quant_conv {
            Some(conv) => conv.forward(&moments)?,
            None => moments,
        };
        distribution(&moments, self.config.latent_channels)
    }

    fn encoder(&self) -> Result<&(Encoder, Option<Linear>)> {
        if let Some(encoder) = self.encoder.get() {
            return Ok(encoder);
        }
        let moments = 2 * self.config.latent_channels;
        let quant = || Linear::load_conv1x1(&self.loader.pp("quant_conv"), moments, moments);
        let quant_conv = self.config.use_quant_conv.then(quant).transpose()?;
        let encoder = Encoder::load(&self.loader.pp("encoder"), &self.config)?;
        Ok(self.encoder.get_or_init(|| (encoder, quant_conv)))
    }
}

impl AutoencoderNetwork for AutoencoderKL {
    fn begin_decode(&self, latents: &Tensor) -> Result<Hidden> {
        self.decoder.begin(&latents.contiguous()?)
    }

    /// Each half of a residual block, attention, upsampler, and what is around them.
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
