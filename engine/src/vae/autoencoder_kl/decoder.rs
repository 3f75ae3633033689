//! The half from latents up, as a list of pieces that can be run one at a time.
//!
//! Source: diffusers `Decoder`, `UpDecoderBlock2D`.

use candle_core::Tensor;

use super::blocks::{Attention, MidBlock};
use super::config::Config;
use super::encoder::{Head, resnets};
use crate::checkpoint::Loader;
use crate::nn::{Conv2d, Conv2dConfig, Double2D, Linear, ResnetBlock2D};
use crate::{Error, Result};

/// Latents to pixels, piece by piece.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    stages: Vec<Stage>,
}

/// A piece: it takes what the one before it gave, and nothing else.
#[derive(Debug, Clone)]
enum Stage {
    PostQuant(Linear),
    ConvIn(Conv2d),
    Resnet(Box<ResnetBlock2D>),
    Attention(Attention),
    Double(Double2D),
    Head(Head),
}

impl Stage {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::PostQuant(conv) => conv.forward(x),
            Self::ConvIn(conv) => conv.forward(x),
            Self::Resnet(resnet) => resnet.forward(x, None),
            Self::Attention(attention) => attention.forward(x),
            Self::Double(upsampler) => upsampler.forward(x),
            Self::Head(head) => head.forward(x),
        }
    }
}

impl Decoder {
    /// `loader` is the autoencoder's.
    pub(super) fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let (latent, groups) = (config.latent_channels, config.norm_num_groups);
        let channels: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let mut stages = Vec::new();
        if config.use_post_quant_conv {
            let conv = Linear::load_conv1x1(&loader.pp("post_quant_conv"), latent, latent)?;
            stages.push(Stage::PostQuant(conv));
        }
        let loader = loader.pp("decoder");
        let conv_in = Conv2dConfig::same(latent, channels[0], 3);
        stages.push(Stage::ConvIn(Conv2d::load(&loader.pp("conv_in"), conv_in)?));
        let attends = config.mid_block_add_attention;
        let mid_block = MidBlock::load(&loader.pp("mid_block"), channels[0], groups, attends)?;
        stages.push(Stage::Resnet(Box::new(mid_block.first)));
        stages.extend(mid_block.attention.map(Stage::Attention));
        stages.push(Stage::Resnet(Box::new(mid_block.second)));
        for (index, own) in channels.iter().copied().enumerate() {
            let loader = loader.pp("up_blocks").pp(index);
            let from = channels[index.saturating_sub(1)];
            let count = config.layers_per_block + 1;
            let resnets = resnets(&loader, count, from, own, groups)?;
            stages.extend(resnets.into_iter().map(Box::new).map(Stage::Resnet));
            if index + 1 < channels.len() {
                let upsampler = Double2D::load(&loader.pp("upsamplers").pp(0), own)?;
                stages.push(Stage::Double(upsampler));
            }
        }
        let last = channels[channels.len() - 1];
        stages.push(Stage::Head(Head::load(
            &loader,
            last,
            config.out_channels,
            groups,
        )?));
        Ok(Self { stages })
    }

    /// How many pieces there are.
    pub(super) fn stage_count(&self) -> usize {
        self.stages.len()
    }

    /// One piece, counted from 0. All of them in order take `(b, h, w, latent_channels)` to
    /// `(b, h * f, w * f, out_channels)`.
    pub(super) fn forward_stage(&self, index: usize, x: &Tensor) -> Result<Tensor> {
        let stage = self.stages.get(index);
        stage
            .ok_or_else(|| Error::internal("a piece that the decoder does not have"))?
            .forward(x)
    }
}
