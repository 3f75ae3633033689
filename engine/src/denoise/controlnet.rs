//! ControlNets of UNets: a copy of the way down and of the middle that sees a picture too, and says what to add to the
//! UNet's own.
//!
//! Driven by the `config.json` of a diffusers directory; weights keep diffusers' names. Source: diffusers
//! `ControlNetModel`, without its mode of guessing.

mod config;
mod embedding;

use candle_core::{Device, Tensor};

pub use config::Config;

use self::embedding::ConditioningEmbedding;
use super::unet_2d_condition::blocks::{DownBlock, MidBlock};
use super::unet_2d_condition::time::TimeEmbedding;
use super::unet_2d_condition::{AddedConditioning, Residuals};
use crate::checkpoint::Loader;
use crate::nn::{Conv2d, Conv2dConfig, ConvExtras};
use crate::{Error, Result};

/// A ControlNet with its weights.
#[derive(Debug, Clone)]
pub struct ControlNetModel {
    in_channels: usize,
    time: TimeEmbedding,
    conv_in: Conv2d,
    controlnet_cond_embedding: ConditioningEmbedding,
    down_blocks: Vec<DownBlock>,
    mid_block: Option<MidBlock>,
    /// One pixel each, of the results of the way down.
    controlnet_down_blocks: Vec<Conv2d>,
    controlnet_mid_block: Conv2d,
}

impl ControlNetModel {
    /// Loads the network that `config` describes.
    ///
    /// Fails as `UNet2DConditionModel::load` does.
    pub fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let plan = config.check()?;
        let unet = &config.unet;
        let channels = &plan.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let mut results = vec![first];
        for (level, block) in plan.down.iter().enumerate() {
            let is_last = level + 1 == channels.len();
            let count = block.layers + usize::from(!is_last);
            results.extend(std::iter::repeat_n(channels[level], count));
        }
        let pixel = |loader: &Loader, channels| {
            Conv2d::load(loader, Conv2dConfig::same(channels, channels, 1))
        };
        let conv_in = Conv2dConfig::same(unet.in_channels, first, unet.conv_in_kernel);
        Ok(Self {
            in_channels: unet.in_channels,
            time: TimeEmbedding::load(loader, unet, &plan)?,
            conv_in: Conv2d::load(&loader.pp("conv_in"), conv_in)?,
            controlnet_cond_embedding: ConditioningEmbedding::load(
                &loader.pp("controlnet_cond_embedding"),
                config,
                first,
            )?,
            down_blocks: (0..channels.len())
                .map(|level| DownBlock::load(&loader.pp("down_blocks").pp(level), &plan, level))
                .collect::<Result<_>>()?,
            mid_block: MidBlock::load(&loader.pp("mid_block"), &plan)?,
            controlnet_down_blocks: results
                .into_iter()
                .enumerate()
                .map(|(i, channels)| pixel(&loader.pp("controlnet_down_blocks").pp(i), channels))
                .collect::<Result<_>>()?,
            controlnet_mid_block: pixel(&loader.pp("controlnet_mid_block"), last)?,
        })
    }

    /// Channels of the latents that it takes.
    pub fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// What the network makes of a picture, the same at every step.
    ///
    /// `pixels`: `(height, width, 3)` in `[0, 1]`, red first. Gives `(1, h, w, channels)`, which must be as large as the
    /// latents are.
    pub fn embed(&self, pixels: Vec<f32>, (height, width): (usize, usize)) -> Result<Tensor> {
        let picture = Tensor::from_vec(pixels, (1, height, width, 3), &Device::Cpu)?;
        self.controlnet_cond_embedding.forward(&picture)
    }

    /// One evaluation of the network.
    ///
    /// `sample`: `(b, h, w, in_channels)`. `picture`: `(b, h, w, channels)`, from [`Self::embed`]. `scales`: how strongly
    /// each element's residuals count. The others are those of the UNet, and so are the shapes of the result.
    pub fn forward(
        &self,
        sample: &Tensor,
        timesteps: &[f64],
        encoder_hidden_states: &Tensor,
        added: Option<&AddedConditioning>,
        picture: &Tensor,
        scales: &[f32],
    ) -> Result<Residuals> {
        let (batch, _, _, channels) = sample.dims4()?;
        if channels != self.in_channels || timesteps.len() != batch || scales.len() != batch {
            return Err(Error::internal(format!(
                "control net of {} channels was given {:?}, {} timesteps and {} scales",
                self.in_channels,
                sample.dims(),
                timesteps.len(),
                scales.len()
            )));
        }
        let text = &encoder_hidden_states.contiguous()?;
        let time = &self.time.forward(timesteps, added)?; // (b, time), activated
        let extras = ConvExtras {
            residual: Some(picture),
            ..ConvExtras::default()
        };
        let mut hidden = self.conv_in.forward_with(&sample.contiguous()?, extras)?;
        let mut results = vec![hidden.clone()];
        for block in &self.down_blocks {
            hidden = block.forward(hidden, time, text, &mut results)?;
        }
        if let Some(mid) = &self.mid_block {
            hidden = mid.forward(&hidden, time, text)?;
        }
        let scales = Tensor::from_slice(scales, (batch, 1, 1, 1), &Device::Cpu)?;
        let scaled = |conv: &Conv2d, x: &Tensor| Ok(conv.forward(x)?.broadcast_mul(&scales)?);
        Ok(Residuals {
            down: self
                .controlnet_down_blocks
                .iter()
                .zip(&results)
                .map(|(conv, x)| scaled(conv, x))
                .collect::<Result<_>>()?,
            mid: scaled(&self.controlnet_mid_block, &hidden)?,
        })
    }
}
