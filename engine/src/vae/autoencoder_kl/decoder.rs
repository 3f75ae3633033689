//! The half from latents up, as a list of pieces that can be run one at a time.
//!
//! A picture of 1024x1024 pixels would need 3.5 feature maps of a gigabyte each. So maps are kept in bands of rows, which
//! are made and used up one after the other, and the largest one is not kept at all: it is made twice. The bits of the
//! picture are those of the decoder in one piece.
//!
//! Source: diffusers `Decoder`, `UpDecoderBlock2D`.

use std::sync::Arc;

use candle_core::Tensor;

use super::blocks::{Attention, MidBlock};
use super::config::Config;
use super::encoder::{Head, resnets};
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{BandedImage, Conv2d, Conv2dConfig, Double2D, Linear, ResnetBlock2D};
use crate::vae::hidden::{Hidden, State, no_such_piece, out_of_order};
use crate::vae::keeping::Keeping;

/// Latents to pixels, piece by piece.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    stages: Vec<Stage>,
    keeping: Keeping,
}

/// A piece: it takes what the one before it gave, and nothing else.
#[derive(Debug, Clone)]
enum Stage {
    PostQuant(Linear),
    ConvIn(Conv2d),
    /// The first half of a residual block, and what enlarges its input, if it is enlarged.
    Begin(Arc<ResnetBlock2D>, Option<Arc<Double2D>>),
    End(Arc<ResnetBlock2D>),
    Attention(Box<Attention>),
    /// And whether the residual block that is next keeps less than it is given.
    Double(Arc<Double2D>, bool),
    Head(Head),
}

impl Stage {
    fn forward(&self, x: State, keeping: Keeping) -> Result<State> {
        let whole = |image: BandedImage, layer: &dyn Fn(&Tensor) -> Result<Tensor>| {
            let result = layer(&image.into_tensor()?)?;
            BandedImage::from_tensor(&result, keeping.band_pixels)
        };
        let image = match (self, x) {
            (Self::PostQuant(conv), State::Image(x)) => whole(x, &|x| conv.forward(x))?,
            (Self::ConvIn(conv), State::Image(x)) => conv.forward_banded(x)?,
            (Self::Begin(resnet, _), State::Image(x)) => {
                return Ok(State::Begun(Box::new(resnet.begin(x)?)));
            }
            (Self::Begin(resnet, Some(by)), State::Enlarged { of, sums }) => {
                let begun = resnet.begin_doubled(of, sums, by)?;
                return Ok(State::Begun(Box::new(begun)));
            }
            (Self::End(resnet), State::Begun(begun)) => resnet.end(*begun)?,
            (Self::Attention(attention), State::Image(x)) => whole(x, &|x| attention.forward(x))?,
            (Self::Double(by, narrows), State::Image(of)) => {
                let bytes = of.count() * 4 * size_of::<f32>();
                if *narrows && bytes > keeping.most_bytes {
                    let sums = by.sums(&of)?;
                    return Ok(State::Enlarged { of, sums });
                }
                by.forward_banded(of)?
            }
            (Self::Head(head), State::Image(x)) => head.forward(x)?,
            _ => return Err(out_of_order()),
        };
        Ok(State::Image(image))
    }
}

impl Decoder {
    /// `loader` is the autoencoder's.
    pub(super) fn load(loader: &Loader, config: &Config, keeping: Keeping) -> Result<Self> {
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
        let halves = |resnet, by| {
            let resnet = Arc::new(resnet);
            [Stage::Begin(Arc::clone(&resnet), by), Stage::End(resnet)]
        };
        stages.extend(halves(mid_block.first, None));
        stages.extend(mid_block.attention.map(Box::new).map(Stage::Attention));
        stages.extend(halves(mid_block.second, None));
        let mut by = None;
        for (index, own) in channels.iter().copied().enumerate() {
            let loader = loader.pp("up_blocks").pp(index);
            let from = channels[index.saturating_sub(1)];
            let count = config.layers_per_block + 1;
            let resnets = resnets(&loader, count, from, own, groups)?;
            for resnet in resnets {
                stages.extend(halves(resnet, by.take()));
            }
            if let Some(next) = channels.get(index + 1) {
                let upsampler = Double2D::load(&loader.pp("upsamplers").pp(0), own)?;
                let upsampler = Arc::new(upsampler);
                stages.push(Stage::Double(Arc::clone(&upsampler), *next < own));
                by = Some(upsampler);
            }
        }
        let last = channels[channels.len() - 1];
        stages.push(Stage::Head(Head::load(
            &loader,
            last,
            config.out_channels,
            groups,
        )?));
        Ok(Self { stages, keeping })
    }

    /// How many pieces there are.
    pub(super) fn stage_count(&self) -> usize {
        self.stages.len()
    }

    /// What the first piece takes, of `(1, h, w, latent_channels)`.
    pub(super) fn begin(&self, latents: &Tensor) -> Result<Hidden> {
        let image = BandedImage::from_tensor(latents, self.keeping.band_pixels)?;
        Ok(Hidden(State::Image(image)))
    }

    /// One piece, counted from 0. All of them in order take latents to `(1, h * f, w * f, out_channels)`.
    pub(super) fn forward_stage(&self, index: usize, x: Hidden) -> Result<Hidden> {
        let stage = self.stages.get(index);
        stage
            .ok_or_else(no_such_piece)?
            .forward(x.0, self.keeping)
            .map(Hidden)
    }
}
