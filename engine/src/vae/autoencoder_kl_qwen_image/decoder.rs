//! The half from latents up, as a list of pieces that can be run one at a time.
//!
//! Source: diffusers `QwenImageDecoder3d`, `QwenImageUpBlock`, `QwenImageResample`.

use candle_core::Tensor;

use super::mid_block::{Attention, MidBlock};
use super::{Config, FRAMES};
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{
    BandedImage, Conv2d, Conv2dConfig, Double2D, Linear, PixelNormedConv, PixelResnet,
};
use crate::vae::hidden::{Hidden, State, no_such_piece};

/// Latents to pixels, piece by piece.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    stages: Vec<Stage>,
    band_pixels: usize,
}

/// A piece: an image to an image.
#[derive(Debug, Clone)]
enum Stage {
    PostQuant(Linear),
    ConvIn(Conv2d),
    Resnet(Box<PixelResnet>),
    Attention(Box<Attention>),
    Double(Box<Double2D>),
    Head(Box<PixelNormedConv>),
}

impl Decoder {
    /// `loader` is the autoencoder's.
    pub(super) fn load(loader: &Loader, config: &Config, band_pixels: usize) -> Result<Self> {
        let latent = config.z_dim;
        let channels: Vec<usize> = config.channels().into_iter().rev().collect();
        let post_quant = Linear::load_conv1x1x1(&loader.pp("post_quant_conv"), latent, latent)?;
        let loader = loader.pp("decoder");
        let conv_in = Conv2d::load_last_frame(
            &loader.pp("conv_in"),
            Conv2dConfig::same(latent, channels[0], 3),
            FRAMES,
        )?;
        let mid_block = MidBlock::load(&loader.pp("mid_block"), channels[0])?;
        let mut stages = vec![
            Stage::PostQuant(post_quant),
            Stage::ConvIn(conv_in),
            Stage::Resnet(Box::new(mid_block.first)),
            Stage::Attention(Box::new(mid_block.attention)),
            Stage::Resnet(Box::new(mid_block.second)),
        ];
        let mut from = channels[0];
        for (index, own) in channels.iter().copied().enumerate() {
            let loader = loader.pp("up_blocks").pp(index);
            for resnet in 0..=config.num_res_blocks {
                let place = loader.pp("resnets").pp(resnet);
                stages.push(Stage::Resnet(Box::new(PixelResnet::load(
                    &place, from, own,
                )?)));
                from = own;
            }
            if index + 1 < channels.len() {
                let place = loader.pp("upsamplers.0.resample.1");
                let narrowing = Double2D::load_conv(&place, own, own / 2)?;
                stages.push(Stage::Double(Box::new(narrowing)));
                from = own / 2;
            }
        }
        let head = [&loader.pp("norm_out"), &loader.pp("conv_out")];
        let head = PixelNormedConv::load(head, from, config.input_channels)?;
        stages.push(Stage::Head(Box::new(head)));
        Ok(Self {
            stages,
            band_pixels,
        })
    }

    /// How many pieces there are.
    pub(super) fn stage_count(&self) -> usize {
        self.stages.len()
    }

    /// What the first piece takes, of `(1, h, w, z_dim)`.
    pub(super) fn begin(&self, latents: &Tensor) -> Result<Hidden> {
        let image = BandedImage::from_tensor(latents, self.band_pixels)?;
        Ok(Hidden(State::Image(image)))
    }

    /// One piece, counted from 0. All of them in order take latents to `(1, h * f, w * f, 3)`.
    pub(super) fn forward_stage(&self, index: usize, x: Hidden) -> Result<Hidden> {
        let stage = self.stages.get(index).ok_or_else(no_such_piece)?;
        let x = x.into_image()?;
        let whole = |x: BandedImage, layer: &dyn Fn(&Tensor) -> Result<Tensor>| {
            BandedImage::from_tensor(&layer(&x.into_tensor()?)?, self.band_pixels)
        };
        let image = match stage {
            Stage::PostQuant(conv) => whole(x, &|x| conv.forward(x))?,
            Stage::ConvIn(conv) => conv.forward_banded(x)?,
            Stage::Resnet(resnet) => resnet.forward(x)?,
            Stage::Attention(attention) => whole(x, &|x| attention.forward(x))?,
            Stage::Double(by) => by.forward_banded(x)?,
            Stage::Head(head) => head.forward(x)?,
        };
        Ok(Hidden(State::Image(image)))
    }
}
