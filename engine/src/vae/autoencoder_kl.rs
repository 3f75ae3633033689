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

pub use config::Config;

use self::decoder::Decoder;
use self::encoder::Encoder;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::Linear;

/// An autoencoder with its weights.
#[derive(Clone)]
pub struct AutoencoderKL {
    config: Config,
    loader: Loader,
    decoder: Decoder,
    encoder: OnceLock<(Encoder, Option<Linear>)>,
}

impl AutoencoderKL {
    /// Loads the half that decodes. The half that encodes is read from the same files when it is first needed.
    ///
    /// Fails when the config asks for something that is not supported (names field and value) or does not fit the
    /// weights (names the tensor, the expected and the found shape).
    pub fn load(loader: &Loader, config: &Config) -> Result<Self> {
        config.check()?;
        Ok(Self {
            config: config.clone(),
            loader: loader.clone(),
            decoder: Decoder::load(loader, config)?,
            encoder: OnceLock::new(),
        })
    }

    /// Latents to pixels.
    ///
    /// `latents`: `(b, h, w, latent_channels)`, already divided by `scaling_factor` and shifted. Gives
    /// `(b, h * f, w * f, out_channels)`, nominally in `[-1, 1]`, with `f` the [`Config::scale_factor`].
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        let mut hidden = latents.contiguous()?;
        for stage in 0..self.decode_stage_count() {
            hidden = self.decode_stage(stage, &hidden)?;
        }
        Ok(hidden)
    }

    /// Pieces that decoding consists of: each residual block, attention, upsampler, and what is around them.
    pub fn decode_stage_count(&self) -> usize {
        self.decoder.stage_count()
    }

    /// One piece of [`Self::decode`], counted from 0; it takes what the one before it gave, the first one the latents.
    pub fn decode_stage(&self, stage: usize, hidden: &Tensor) -> Result<Tensor> {
        self.decoder.forward_stage(stage, hidden)
    }

    /// Pixels to the distribution of their latents: mean and logarithm of the variance (within -30 to 20).
    ///
    /// `pixels`: `(b, height, width, in_channels)` in `[-1, 1]`. Gives two tensors
    /// `(b, height / f, width / f, latent_channels)`, neither shifted nor scaled.
    pub fn encode(&self, pixels: &Tensor) -> Result<(Tensor, Tensor)> {
        let (encoder, quant_conv) = self.encoder()?;
        let moments = encoder.forward(&pixels.contiguous()?)?;
        let moments = match quant_conv {
            Some(conv) => conv.forward(&moments)?,
            None => moments,
        };
        let latent = self.config.latent_channels;
        let mean = moments.narrow(3, 0, latent)?.contiguous()?;
        let log_variance = moments
            .narrow(3, latent, latent)?
            .contiguous()?
            .clamp(-30f32, 20f32)?;
        Ok((mean, log_variance))
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
