//! From a picture to what is added to the latents: convolutions that halve it until it is as small.
//!
//! Source: diffusers `ControlNetConditioningEmbedding`.

use candle_core::Tensor;

use super::Config;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{Activation, Conv2d, Conv2dConfig, activate};

#[derive(Debug, Clone)]
pub(super) struct ConditioningEmbedding {
    conv_in: Conv2d,
    /// Pairs: one that keeps the size, one that halves it.
    blocks: Vec<Conv2d>,
    conv_out: Conv2d,
    is_bgr: bool,
}

/// Channels of pictures.
pub(super) const PICTURE_CHANNELS: usize = 3;

impl ConditioningEmbedding {
    /// `channels`: those of the result.
    pub(super) fn load(loader: &Loader, config: &Config, channels: usize) -> Result<Self> {
        let sizes = &config.conditioning_embedding_out_channels;
        let same =
            |name: &str, from, to| Conv2d::load(&loader.pp(name), Conv2dConfig::same(from, to, 3));
        let mut blocks = Vec::new();
        for pair in sizes.windows(2) {
            for (out, stride) in [(pair[0], 1), (pair[1], 2)] {
                let config = Conv2dConfig {
                    stride,
                    ..Conv2dConfig::same(pair[0], out, 3)
                };
                blocks.push(Conv2d::load(&loader.pp("blocks").pp(blocks.len()), config)?);
            }
        }
        Ok(Self {
            conv_in: same("conv_in", PICTURE_CHANNELS, sizes[0])?,
            blocks,
            conv_out: same("conv_out", sizes[sizes.len() - 1], channels)?,
            is_bgr: config.is_bgr(),
        })
    }

    /// `picture`: `(b, height, width, 3)`, red first; gives `(b, h, w, channels)`.
    pub(super) fn forward(&self, picture: &Tensor) -> Result<Tensor> {
        let picture = if self.is_bgr {
            let channel = |i| picture.narrow(3, i, 1);
            &Tensor::cat(&[channel(2)?, channel(1)?, channel(0)?], 3)?.contiguous()?
        } else {
            picture
        };
        let mut hidden = activate(&self.conv_in.forward(picture)?, Activation::Silu)?;
        for block in &self.blocks {
            hidden = activate(&block.forward(&hidden)?, Activation::Silu)?;
        }
        self.conv_out.forward(&hidden)
    }
}
