//! The networks between pixels and latents.

pub mod autoencoder_kl;
pub mod autoencoder_kl_qwen_image;
mod hidden;
mod keeping;
pub mod tiny;

use candle_core::Tensor;

pub use self::hidden::Hidden;
use crate::Result;

/// An autoencoder of any kind. The half that decodes is a row of pieces, so that other work can go between them.
pub trait AutoencoderNetwork: Send + Sync {
    /// What the first piece takes; `latents`: `(1, h, w, latent_channels)`, already divided by `scaling_factor` and shifted.
    fn begin_decode(&self, latents: &Tensor) -> Result<Hidden>;

    /// Pieces that decoding consists of.
    fn decode_stage_count(&self) -> usize;

    /// One piece, counted from 0; it takes what the one before it gave. The last gives `(1, h * f, w * f, out_channels)`,
    /// nominally in `[-1, 1]`.
    fn decode_stage(&self, stage: usize, hidden: Hidden) -> Result<Hidden>;

    /// Pixels to what they are to the network.
    ///
    /// `pixels`: `(b, height, width, in_channels)` in `[-1, 1]`.
    fn to_latents(&self, pixels: &Tensor) -> Result<Encoded>;

    /// Whether a picture is a distribution of latents, of which a pipeline takes a sample.
    fn is_sampled(&self) -> bool {
        true
    }

    /// Latents to pixels, all pieces of them.
    ///
    /// `latents`: `(b, h, w, latent_channels)`, as of [`Self::begin_decode`]. Gives `(b, h * f, w * f, out_channels)`.
    fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        each(latents, |latents| {
            let mut hidden = self.begin_decode(latents)?;
            for stage in 0..self.decode_stage_count() {
                hidden = self.decode_stage(stage, hidden)?;
            }
            hidden.into_tensor()
        })
    }
}

/// What a picture is to the network; each `(b, height / f, width / f, latent_channels)`, neither shifted nor scaled.
pub enum Encoded {
    /// Mean and logarithm of the variance (within -30 to 20).
    Distribution(Tensor, Tensor),
    /// The latents themselves.
    Latents(Tensor),
}

/// Runs `task` for each element of a batch, one after the other: their maps are not there at the same time.
fn each(batch: &Tensor, task: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let elements = (0..batch.dim(0)?).map(|element| task(&batch.narrow(0, element, 1)?));
    match &elements.collect::<Result<Vec<_>>>()?[..] {
        [one] => Ok(one.clone()),
        all => Ok(Tensor::cat(all, 0)?),
    }
}

/// Mean and bounded logarithm of the variance from the two that an encoder gives side by side, `(b, h, w, 2 * channels)`.
fn distribution(moments: &Tensor, channels: usize) -> Result<(Tensor, Tensor)> {
    let mean = moments.narrow(3, 0, channels)?.contiguous()?;
    let log_variance = moments
        .narrow(3, channels, channels)?
        .contiguous()?
        .clamp(-30f32, 20f32)?;
    Ok((mean, log_variance))
}
