//! The tiny autoencoders: TAESD and its kin, a few million multiplications a latent.
//!
//! They work on the sampler's latents: what the large ones scale and shift is in their weights. Source: diffusers
//! `AutoencoderTiny`, `EncoderTiny`, `DecoderTiny`.

mod layers;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use candle_core::Tensor;
use serde::Deserialize;

pub use layers::Sizes;

use self::layers::{Half, Layer};
use super::{AutoencoderNetwork, Encoded, Hidden, hidden::State};
use crate::checkpoint::Loader;
use crate::nn::BandedImage;
use crate::{Error, ErrorKind, Result};

/// Latents beyond this, in either direction, come no nearer to it than a tanh.
const LARGEST_LATENT: f32 = 3.0;

/// Keys of diffusers' `config.json` that the weights do not tell.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    act_fn: Option<String>,
    upsample_fn: Option<String>,
    upsampling_scaling_factor: Option<u32>,
}

impl Config {
    /// Fails naming field and value where the network would be another one.
    pub fn check(&self) -> Result<()> {
        let factor = self.upsampling_scaling_factor.map(|by| by.to_string());
        for (field, value, supported) in [
            ("act_fn", &self.act_fn, "relu"),
            ("upsample_fn", &self.upsample_fn, "nearest"),
            ("upsampling_scaling_factor", &factor, "2"),
        ] {
            if let Some(value) = value.as_ref().filter(|value| *value != supported) {
                return Err(Error::model(format!(
                    "vae/config.json: `{field}` is {value}, and a tiny autoencoder is supported with {supported}"
                )));
            }
        }
        Ok(())
    }
}

/// A tiny autoencoder with its weights.
#[derive(Clone)]
pub struct AutoencoderTiny {
    loader: Loader,
    sizes: Sizes,
    band_pixels: usize,
    decoder: Vec<Layer>,
    encoder: OnceLock<Vec<Layer>>,
}

impl AutoencoderTiny {
    /// Loads the half that decodes. The half that encodes is read from the same files when it is first needed.
    ///
    /// Fails when the weights do not fit together, naming the tensor.
    pub fn load(loader: &Loader, sizes: &Sizes) -> Result<Self> {
        // Bands with enough work for all threads.
        let band_pixels = 8 * 1024 * rayon::current_num_threads().max(2);
        Self::load_in_bands(loader, sizes, band_pixels)
    }

    fn load_in_bands(loader: &Loader, sizes: &Sizes, band_pixels: usize) -> Result<Self> {
        Ok(Self {
            loader: loader.clone(),
            sizes: sizes.clone(),
            band_pixels,
            decoder: layers::load(loader, Half::Decoder, &sizes.decoder)?,
            encoder: OnceLock::new(),
        })
    }

    /// Pixels to latents, of which there is no distribution.
    ///
    /// `pixels`: `(1, height, width, 3)` in `[-1, 1]`. Gives `(1, height / f, width / f, latent_channels)`.
    ///
    /// Fails with [`ErrorKind::InvalidArgument`] when the file has no such half.
    pub fn encode(&self, pixels: &Tensor) -> Result<Tensor> {
        let mut hidden = mapped(pixels, self.band_pixels, |value| (value + 1.0) / 2.0)?;
        for layer in self.encoder()? {
            hidden = layer.forward(hidden)?;
        }
        hidden.into_tensor()
    }

    fn encoder(&self) -> Result<&[Layer]> {
        if let Some(encoder) = self.encoder.get() {
            return Ok(encoder);
        }
        let kinds = self.sizes.encoder.as_ref().ok_or_else(no_encoder)?;
        let encoder = layers::load(&self.loader, Half::Encoder, kinds)?;
        Ok(self.encoder.get_or_init(|| encoder))
    }
}

impl AutoencoderNetwork for AutoencoderTiny {
    fn begin_decode(&self, latents: &Tensor) -> Result<Hidden> {
        let shape = latents.shape();
        let values: Vec<f32> = latents.flatten_all()?.to_vec1()?;
        let clamped = values
            .into_iter()
            .map(|value| (value / LARGEST_LATENT).tanh() * LARGEST_LATENT);
        let clamped = Tensor::from_vec(clamped.collect(), shape, latents.device())?;
        let image = BandedImage::from_tensor(&clamped, self.band_pixels)?;
        Ok(Hidden(State::Image(image)))
    }

    /// A layer or block each, and what brings the colours into their range.
    fn decode_stage_count(&self) -> usize {
        self.decoder.len() + 1
    }

    fn decode_stage(&self, stage: usize, hidden: Hidden) -> Result<Hidden> {
        let image = hidden.into_image()?;
        let image = match self.decoder.get(stage) {
            Some(layer) => layer.forward(image)?,
            // From [0, 1].
            None => mapped(&image.into_tensor()?, self.band_pixels, |value| {
                value * 2.0 - 1.0
            })?,
        };
        Ok(Hidden(State::Image(image)))
    }

    fn to_latents(&self, pixels: &Tensor) -> Result<Encoded> {
        self.encode(pixels).map(Encoded::Latents)
    }

    fn is_sampled(&self) -> bool {
        false
    }
}

fn no_encoder() -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        "the tiny autoencoder has no encoder, so that it can draw, but not look at a picture",
    )
    .with_field("model_parts")
    .with_hint(
        "give a file with both halves, such as diffusers' `diffusion_pytorch_model.safetensors`, or the model's own autoencoder",
    )
}

fn mapped(image: &Tensor, band_pixels: usize, map: impl Fn(f32) -> f32) -> Result<BandedImage> {
    let values: Vec<f32> = image.flatten_all()?.to_vec1()?;
    let values: Vec<f32> = values.into_iter().map(map).collect();
    let image = Tensor::from_vec(values, image.shape(), image.device())?;
    BandedImage::from_tensor(&image, band_pixels)
}
