//! The half from pixels down, and what both halves have.
//!
//! Source: diffusers `Encoder`, `DownEncoderBlock2D`.

use candle_core::Tensor;

use super::blocks::{EPSILON, MidBlock, resnet};
use super::config::Config;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{
    BandedImage, Conv2d, Conv2dConfig, Downsample2D, GroupNorm, ResnetBlock2D, normed_conv,
};

/// The last layers of both halves.
#[derive(Debug, Clone)]
pub(super) struct Head {
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Head {
    pub(super) fn load(
        loader: &Loader,
        channels: usize,
        out_channels: usize,
        groups: usize,
    ) -> Result<Self> {
        Ok(Self {
            conv_norm_out: GroupNorm::load(&loader.pp("conv_norm_out"), groups, channels, EPSILON)?,
            conv_out: Conv2d::load(
                &loader.pp("conv_out"),
                Conv2dConfig::same(channels, out_channels, 3),
            )?,
        })
    }

    pub(super) fn forward(&self, x: BandedImage) -> Result<BandedImage> {
        normed_conv(x, &self.conv_norm_out, &self.conv_out)
    }
}

pub(super) fn resnets(
    loader: &Loader,
    count: usize,
    from: usize,
    to: usize,
    groups: usize,
) -> Result<Vec<ResnetBlock2D>> {
    let resnets = loader.pp("resnets");
    (0..count)
        .map(|i| resnet(&resnets.pp(i), if i == 0 { from } else { to }, to, groups))
        .collect()
}

/// Pixels to moments.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<(Vec<ResnetBlock2D>, Option<Downsample2D>)>,
    mid_block: MidBlock,
    head: Head,
}

impl Encoder {
    pub(super) fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let (channels, groups) = (&config.block_out_channels, config.norm_num_groups);
        let block = |i: usize| {
            let loader = loader.pp("down_blocks").pp(i);
            let from = channels[i.saturating_sub(1)];
            let downsample =
                || Downsample2D::load(&loader.pp("downsamplers").pp(0), channels[i], 0);
            Ok((
                resnets(&loader, config.layers_per_block, from, channels[i], groups)?,
                (i + 1 < channels.len()).then(downsample).transpose()?,
            ))
        };
        let deepest = channels[channels.len() - 1];
        Ok(Self {
            conv_in: Conv2d::load(
                &loader.pp("conv_in"),
                Conv2dConfig::same(config.in_channels, channels[0], 3),
            )?,
            down_blocks: (0..channels.len()).map(block).collect::<Result<_>>()?,
            mid_block: MidBlock::load(
                &loader.pp("mid_block"),
                deepest,
                groups,
                config.mid_block_add_attention,
            )?,
            head: Head::load(loader, deepest, 2 * config.latent_channels, groups)?,
        })
    }

    /// `(1, h, w, in_channels)` to `(1, h / f, w / f, 2 * latent_channels)`.
    pub(super) fn forward(&self, pixels: &Tensor, band_pixels: usize) -> Result<Tensor> {
        let pixels = BandedImage::from_tensor(pixels, band_pixels)?;
        let mut hidden = self.conv_in.forward_banded(pixels)?;
        for (resnets, downsampler) in &self.down_blocks {
            for resnet in resnets {
                hidden = resnet.end(resnet.begin(hidden)?)?;
            }
            if let Some(downsampler) = downsampler {
                hidden = downsampler.forward_banded(hidden)?;
            }
        }
        let hidden = self.mid_block.forward(&hidden.into_tensor()?)?;
        let hidden = BandedImage::from_tensor(&hidden, band_pixels)?;
        self.head.forward(hidden)?.into_tensor()
    }
}
