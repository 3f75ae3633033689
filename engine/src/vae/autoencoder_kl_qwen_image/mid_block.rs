//! The narrowest place of both halves, and its attention.
//!
//! Source: diffusers `QwenImageMidBlock`, `QwenImageAttentionBlock`.

use candle_core::Tensor;

use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{
    Linear, PixelNorm, PixelResnet, image_to_tokens, scaled_dot_product_attention, tokens_to_image,
};

/// Dimensions of one behind the channels of the attention's norm, which is one of images.
const DIMENSIONS: usize = 2;

/// Residual block, attention, residual block.
#[derive(Debug, Clone)]
pub(super) struct MidBlock {
    pub(super) first: PixelResnet,
    pub(super) attention: Attention,
    pub(super) second: PixelResnet,
}

impl MidBlock {
    pub(super) fn load(loader: &Loader, channels: usize) -> Result<Self> {
        let resnet =
            |number: usize| PixelResnet::load(&loader.pp("resnets").pp(number), channels, channels);
        Ok(Self {
            first: resnet(0)?,
            attention: Attention::load(&loader.pp("attentions").pp(0), channels)?,
            second: resnet(1)?,
        })
    }
}

/// Every pixel looks at every other with one head.
#[derive(Debug, Clone)]
pub(super) struct Attention {
    norm: PixelNorm,
    to_qkv: Linear,
    proj: Linear,
    channels: usize,
}

impl Attention {
    fn load(loader: &Loader, channels: usize) -> Result<Self> {
        Ok(Self {
            norm: PixelNorm::load(&loader.pp("norm"), channels, DIMENSIONS)?,
            to_qkv: Linear::load_conv1x1(&loader.pp("to_qkv"), channels, 3 * channels)?,
            proj: Linear::load_conv1x1(&loader.pp("proj"), channels, channels)?,
            channels,
        })
    }

    /// `(1, h, w, c)` to the same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (_, height, width, _) = x.dims4()?;
        let normed = image_to_tokens(&self.norm.forward(x)?)?; // (1, h*w, c)
        let all = self.to_qkv.forward_for_product(&normed)?; // (1, h*w, 3 c)
        let part = |number: usize| {
            all.narrow(2, number * self.channels, self.channels)?
                .contiguous()
        };
        let seen = scaled_dot_product_attention(&part(0)?, &part(1)?, &part(2)?, 1, false)?;
        tokens_to_image(
            &self.proj.forward_add(&seen, &image_to_tokens(x)?)?,
            height,
            width,
        )
    }
}
