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
pub use decoder::Hidden;

use self::decoder::{Decoder, Keeping};
use self::encoder::Encoder;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::Linear;

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

    /// Latents to pixels.
    ///
    /// `latents`: `(b, h, w, latent_channels)`, already divided by `scaling_factor` and shifted. Gives
    /// `(b, h * f, w * f, out_channels)`, nominally in `[-1, 1]`, with `f` the [`Config::scale_factor`].
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        each(latents, |latents| {
            let mut hidden = self.begin_decode(latents)?;
            for stage in 0..self.decode_stage_count() {
                hidden = self.decode_stage(stage, hidden)?;
            }
            hidden.into_tensor()
        })
    }

    /// What the first piece of [`Self::decode`] takes; `latents`: `(1, h, w, latent_channels)`.
    pub fn begin_decode(&self, latents: &Tensor) -> Result<Hidden> {
        self.decoder.begin(&latents.contiguous()?)
    }

    /// Pieces that decoding consists of: each half of a residual block, attention, upsampler, and what is around them.
    pub fn decode_stage_count(&self) -> usize {
        self.decoder.stage_count()
    }

    /// One piece of [`Self::decode`], counted from 0; it takes what the one before it gave.
    pub fn decode_stage(&self, stage: usize, hidden: Hidden) -> Result<Hidden> {
        self.decoder.forward_stage(stage, hidden)
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

/// Runs `task` for each element of a batch, one after the other: their maps are not there at the same time.
fn each(batch: &Tensor, task: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let elements = (0..batch.dim(0)?).map(|element| task(&batch.narrow(0, element, 1)?));
    match &elements.collect::<Result<Vec<_>>>()?[..] {
        [one] => Ok(one.clone()),
        all => Ok(Tensor::cat(all, 0)?),
    }
}
