//! The UNet of the Stable Diffusion family: 1.x, 2.x, XL and their Turbo variants.
//!
//! Everything is driven by the `config.json` of a diffusers directory; weights keep diffusers' names. What a config
//! asks for and this network cannot do is refused when it loads. Source: diffusers `UNet2DConditionModel`.

pub(super) mod blocks;
mod config;
pub(super) mod plan;
#[cfg(test)]
mod tests;
pub(super) mod time;
mod transformer;

use candle_core::Tensor;

pub use config::{Config, OneOrMany, TransformerLayers};

use self::blocks::{DownBlock, MidBlock, UpBlock};
use self::time::TimeEmbedding;
use crate::checkpoint::Loader;
use crate::nn::{Activation, Conv2d, Conv2dConfig, GroupNorm, activate};
use crate::{Error, ErrorKind, Result};

/// What SDXL adds to the time embedding.
#[derive(Debug, Clone)]
pub struct AddedConditioning {
    /// The pooled prompt, `(b, d)`.
    pub text_embeds: Tensor,
    /// Original height and width, crop top and left, target height and width: `(b, 6)`.
    pub time_ids: Tensor,
}

/// What ControlNets add to the results of the way down and of the middle block.
#[derive(Debug, Clone)]
pub struct Residuals {
    /// Of the shapes of the skips, in the order in which the way down makes them.
    pub down: Vec<Tensor>,
    /// Of the shape of the middle block's result.
    pub mid: Tensor,
}

/// A UNet with its weights.
#[derive(Debug, Clone)]
pub struct UNet2DConditionModel {
    in_channels: usize,
    center_input_sample: bool,
    time: TimeEmbedding,
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: Option<MidBlock>,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl UNet2DConditionModel {
    /// Loads the network that `config` describes.
    ///
    /// Fails when the config asks for something that is not supported (names field and value), contradicts itself, or
    /// does not fit the weights (names the tensor, the expected and the found shape).
    pub fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let plan = config.check()?;
        let first = plan.block_out_channels[0];
        let out = Conv2dConfig::same(first, config.out_channels, config.conv_out_kernel);
        let conv_in = Conv2dConfig::same(config.in_channels, first, config.conv_in_kernel);
        let count = plan.block_out_channels.len();
        Ok(Self {
            in_channels: config.in_channels,
            center_input_sample: config.center_input_sample,
            time: TimeEmbedding::load(loader, config, &plan)?,
            conv_in: Conv2d::load(&loader.pp("conv_in"), conv_in)?,
            down_blocks: (0..count)
                .map(|i| DownBlock::load(&loader.pp("down_blocks").pp(i), &plan, i))
                .collect::<Result<_>>()?,
            mid_block: MidBlock::load(&loader.pp("mid_block"), &plan)?,
            up_blocks: (0..count)
                .map(|i| UpBlock::load(&loader.pp("up_blocks").pp(i), &plan, i))
                .collect::<Result<_>>()?,
            conv_norm_out: GroupNorm::load(
                &loader.pp("conv_norm_out"),
                plan.groups,
                first,
                plan.epsilon,
            )?,
            conv_out: Conv2d::load(&loader.pp("conv_out"), out)?,
        })
    }

    /// One evaluation of the network.
    ///
    /// `sample`: `(b, h, w, in_channels)`, any `h` and `w`. `timesteps`: one for each element, may be fractional.
    /// `encoder_hidden_states`: `(b, n, cross_attention_dim)`. `added`: needed if and only if the config's
    /// `addition_embed_type` is `text_time`. Gives `(b, h, w, out_channels)`.
    pub fn forward(
        &self,
        sample: &Tensor,
        timesteps: &[f64],
        encoder_hidden_states: &Tensor,
        added: Option<&AddedConditioning>,
    ) -> Result<Tensor> {
        self.forward_controlled(sample, timesteps, encoder_hidden_states, added, None)
    }

    /// As [`Self::forward`], with what ControlNets add. Source: diffusers' `down_block_additional_residuals` and
    /// `mid_block_additional_residual`.
    pub fn forward_controlled(
        &self,
        sample: &Tensor,
        timesteps: &[f64],
        encoder_hidden_states: &Tensor,
        added: Option<&AddedConditioning>,
        residuals: Option<&Residuals>,
    ) -> Result<Tensor> {
        let (batch, _, _, channels) = sample.dims4()?;
        let (text_batch, _, _) = encoder_hidden_states.dims3()?;
        if channels != self.in_channels || timesteps.len() != batch || text_batch != batch {
            return Err(Error::new(
                ErrorKind::Internal,
                format!(
                    "unet of {} channels was given {:?}, {} timesteps and text {:?}",
                    self.in_channels,
                    sample.dims(),
                    timesteps.len(),
                    encoder_hidden_states.dims()
                ),
            ));
        }
        let sample = sample.contiguous()?;
        let text = &encoder_hidden_states.contiguous()?;
        let time = &self.time.forward(timesteps, added)?; // (b, time), activated

        let centered = if self.center_input_sample {
            sample.affine(2.0, -1.0)?
        } else {
            sample
        };
        let mut hidden = self.conv_in.forward(&centered)?;
        let mut skips = vec![hidden.clone()];
        for block in &self.down_blocks {
            hidden = block.forward(hidden, time, text, &mut skips)?;
        }
        if let Some(mid) = &self.mid_block {
            hidden = mid.forward(&hidden, time, text)?;
        }
        if let Some(Residuals { down, mid }) = residuals {
            if down.len() != skips.len() {
                return Err(Error::internal(format!(
                    "{} residuals for {} skips of a unet",
                    down.len(),
                    skips.len()
                )));
            }
            skips = skips
                .iter()
                .zip(down)
                .map(|(skip, residual)| Ok((skip + residual)?))
                .collect::<Result<_>>()?;
            hidden = (hidden + mid)?;
        }
        for block in &self.up_blocks {
            hidden = block.forward(hidden, time, text, &mut skips)?;
        }
        let hidden = self
            .conv_norm_out
            .forward_activate(&hidden, Activation::Silu)?;
        self.conv_out.forward(&hidden)
    }
}

/// SiLU of a time embedding, as every residual block takes it.
fn activated(time: &Tensor) -> Result<Tensor> {
    activate(time, Activation::Silu)
}
