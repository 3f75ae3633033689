//! The half from pixels down.
//!
//! Source: diffusers `QwenImageEncoder3d`, `QwenImageResample`.

use candle_core::Tensor;

use super::mid_block::MidBlock;
use super::{Config, FRAMES};
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{BandedImage, Conv2d, Conv2dConfig, PixelNormedConv, PixelResnet};

/// Pixels to moments.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    head: PixelNormedConv,
}

/// One of the row in which residual blocks and what halves the sides stand.
#[derive(Debug, Clone)]
enum DownBlock {
    Resnet(Box<PixelResnet>),
    Halve(Conv2d),
}

impl Encoder {
    pub(super) fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let channels = config.channels();
        let conv_in = Conv2dConfig::same(config.input_channels, config.base_dim, 3);
        let mut down_blocks = Vec::new();
        let mut from = config.base_dim;
        for (level, own) in channels.iter().copied().enumerate() {
            let next = |blocks: &Vec<DownBlock>| loader.pp("down_blocks").pp(blocks.len());
            for _ in 0..config.num_res_blocks {
                let resnet = PixelResnet::load(&next(&down_blocks), from, own)?;
                down_blocks.push(DownBlock::Resnet(Box::new(resnet)));
                from = own;
            }
            if level + 1 < channels.len() {
                let halving = Conv2dConfig {
                    in_channels: own,
                    out_channels: own,
                    kernel: 3,
                    stride: 2,
                    padding: (0, 1),
                };
                let place = next(&down_blocks).pp("resample.1");
                down_blocks.push(DownBlock::Halve(Conv2d::load(&place, halving)?));
            }
        }
        let head = [&loader.pp("norm_out"), &loader.pp("conv_out")];
        Ok(Self {
            conv_in: Conv2d::load_last_frame(&loader.pp("conv_in"), conv_in, FRAMES)?,
            down_blocks,
            mid_block: MidBlock::load(&loader.pp("mid_block"), from)?,
            head: PixelNormedConv::load(head, from, 2 * config.z_dim)?,
        })
    }

    /// `(1, h, w, 3)` to `(1, h / f, w / f, 2 * z_dim)`.
    pub(super) fn forward(&self, pixels: &Tensor, band_pixels: usize) -> Result<Tensor> {
        let pixels = BandedImage::from_tensor(pixels, band_pixels)?;
        let mut hidden = self.conv_in.forward_banded(pixels)?;
        for block in &self.down_blocks {
            hidden = match block {
                DownBlock::Resnet(resnet) => resnet.forward(hidden)?,
                DownBlock::Halve(conv) => conv.forward_banded(hidden)?,
            };
        }
        let MidBlock {
            first,
            attention,
            second,
        } = &self.mid_block;
        let hidden = attention.forward(&first.forward(hidden)?.into_tensor()?)?;
        let hidden = second.forward(BandedImage::from_tensor(&hidden, band_pixels)?)?;
        self.head.forward(hidden)?.into_tensor()
    }
}
