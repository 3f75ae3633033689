//! The two halves: from pixels down, and from latents up.
//!
//! Source: diffusers `Encoder`, `Decoder`, `DownEncoderBlock2D`, `UpDecoderBlock2D`.

use candle_core::Tensor;

use super::blocks::{EPSILON, MidBlock, resnet};
use super::config::Config;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{
    Activation, Conv2d, Conv2dConfig, Downsample2D, GroupNorm, ResnetBlock2D, Upsample2D,
};

/// The last layers of both halves.
#[derive(Debug, Clone)]
struct Head {
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Head {
    fn load(loader: &Loader, channels: usize, out_channels: usize, groups: usize) -> Result<Self> {
        Ok(Self {
            conv_norm_out: GroupNorm::load(&loader.pp("conv_norm_out"), groups, channels, EPSILON)?,
            conv_out: Conv2d::load(
                &loader.pp("conv_out"),
                Conv2dConfig::same(channels, out_channels, 3),
            )?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.conv_out
            .forward(&self.conv_norm_out.forward_activate(x, Activation::Silu)?)
    }
}

fn resnets(
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

    /// `(b, h, w, in_channels)` to `(b, h / f, w / f, 2 * latent_channels)`.
    pub(super) fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let mut hidden = self.conv_in.forward(pixels)?;
        for (resnets, downsampler) in &self.down_blocks {
            for resnet in resnets {
                hidden = resnet.forward(&hidden, None)?;
            }
            if let Some(downsampler) = downsampler {
                hidden = downsampler.forward(&hidden)?;
            }
        }
        self.head.forward(&self.mid_block.forward(&hidden)?)
    }
}

/// Latents to pixels.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<(Vec<ResnetBlock2D>, Option<Upsample2D>)>,
    head: Head,
}

impl Decoder {
    pub(super) fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let groups = config.norm_num_groups;
        let channels: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let block = |i: usize| {
            let loader = loader.pp("up_blocks").pp(i);
            let from = channels[i.saturating_sub(1)];
            let upsample = || Upsample2D::load(&loader.pp("upsamplers").pp(0), channels[i]);
            Ok((
                resnets(
                    &loader,
                    config.layers_per_block + 1,
                    from,
                    channels[i],
                    groups,
                )?,
                (i + 1 < channels.len()).then(upsample).transpose()?,
            ))
        };
        let conv_in = Conv2dConfig::same(config.latent_channels, channels[0], 3);
        Ok(Self {
            conv_in: Conv2d::load(&loader.pp("conv_in"), conv_in)?,
            mid_block: MidBlock::load(
                &loader.pp("mid_block"),
                channels[0],
                groups,
                config.mid_block_add_attention,
            )?,
            up_blocks: (0..channels.len()).map(block).collect::<Result<_>>()?,
            head: Head::load(
                loader,
                channels[channels.len() - 1],
                config.out_channels,
                groups,
            )?,
        })
    }

    /// `(b, h, w, latent_channels)` to `(b, h * f, w * f, out_channels)`.
    pub(super) fn forward(&self, latents: &Tensor) -> Result<Tensor> {
        let mut hidden = self.mid_block.forward(&self.conv_in.forward(latents)?)?;
        for (resnets, upsampler) in &self.up_blocks {
            for resnet in resnets {
                hidden = resnet.forward(&hidden, None)?;
            }
            if let Some(upsampler) = upsampler {
                let (_, height, width, _) = hidden.dims4()?;
                hidden = upsampler.forward(&hidden, (2 * height, 2 * width))?;
            }
        }
        self.head.forward(&hidden)
    }
}
