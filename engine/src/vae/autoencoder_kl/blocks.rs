//! The narrowest place of both halves, and its attention.
//!
//! Source: diffusers `UNetMidBlock2D`, `Attention` as the autoencoder uses it.

use candle_core::Tensor;

use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{
    GroupNorm, Linear, ResnetBlock2D, ResnetConfig, image_to_tokens, scaled_dot_product_attention,
    tokens_to_image,
};

/// Of every normalisation; fixed in the reference.
pub(super) const EPSILON: f64 = 1e-6;

/// A residual block without time.
pub(super) fn resnet(
    loader: &Loader,
    in_channels: usize,
    out_channels: usize,
    groups: usize,
) -> Result<ResnetBlock2D> {
    ResnetBlock2D::load(
        loader,
        ResnetConfig {
            in_channels,
            out_channels,
            groups,
            epsilon: EPSILON,
            time_embed_dim: None,
        },
    )
}

/// Residual block, attention (in most models), residual block.
#[derive(Debug, Clone)]
pub(super) struct MidBlock {
    pub(super) first: ResnetBlock2D,
    pub(super) attention: Option<Attention>,
    pub(super) second: ResnetBlock2D,
}

impl MidBlock {
    pub(super) fn load(
        loader: &Loader,
        channels: usize,
        groups: usize,
        attends: bool,
    ) -> Result<Self> {
        let resnets = loader.pp("resnets");
        let attention = || Attention::load(&loader.pp("attentions").pp(0), channels, groups);
        Ok(Self {
            first: resnet(&resnets.pp(0), channels, channels, groups)?,
            attention: attends.then(attention).transpose()?,
            second: resnet(&resnets.pp(1), channels, channels, groups)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.first.forward(x, None)?;
        match &self.attention {
            Some(attention) => self.second.forward(&attention.forward(&hidden)?, None),
            None => self.second.forward(&hidden, None),
        }
    }
}

/// Every pixel looks at every other with one head.
#[derive(Debug, Clone)]
pub(super) struct Attention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

/// Names of today, and those of the first checkpoints.
const KEYS: [(&str, &str); 4] = [
    ("to_q", "query"),
    ("to_k", "key"),
    ("to_v", "value"),
    ("to_out.0", "proj_attn"),
];

impl Attention {
    fn load(loader: &Loader, channels: usize, groups: usize) -> Result<Self> {
        let projection = |index: usize| {
            let (name, old_name) = KEYS[index];
            let old = loader.pp(old_name);
            let place = if old.contains("weight") {
                old
            } else {
                loader.pp(name)
            };
            // The first checkpoints have convolutions of one pixel here.
            match place.shape("weight") {
                Some(shape) if shape.len() == 4 => Linear::load_conv1x1(&place, channels, channels),
                _ => Linear::load(&place, channels, channels),
            }
        };
        Ok(Self {
            group_norm: GroupNorm::load(&loader.pp("group_norm"), groups, channels, EPSILON)?,
            to_q: projection(0)?,
            to_k: projection(1)?,
            to_v: projection(2)?,
            to_out: projection(3)?,
        })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (_, height, width, _) = x.dims4()?;
        let normed = image_to_tokens(&self.group_norm.forward(x)?)?; // (b, h*w, c)
        let query = self.to_q.forward_for_product(&normed)?;
        let key = self.to_k.forward_for_product(&normed)?;
        let value = self.to_v.forward_for_product(&normed)?;
        let seen = scaled_dot_product_attention(&query, &key, &value, 1, false)?;
        tokens_to_image(
            &self.to_out.forward_add(&seen, &image_to_tokens(x)?)?,
            height,
            width,
        )
    }
}
