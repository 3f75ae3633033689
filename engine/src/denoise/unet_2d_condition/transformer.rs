//! The transformer between two residual blocks: pixels look at each other, then at the prompt.
//!
//! Source: diffusers `Transformer2DModel`, `BasicTransformerBlock`.

use candle_core::Tensor;

use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{
    GatedLinear, GroupNorm, LayerNorm, Linear, image_to_tokens, scaled_dot_product_attention,
    tokens_to_image,
};

/// Shape of one transformer.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransformerConfig {
    pub(super) channels: usize,
    pub(super) heads: usize,
    pub(super) layers: usize,
    pub(super) cross_attention_dim: usize,
    pub(super) groups: usize,
    pub(super) use_linear_projection: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Transformer2D {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<BasicTransformerBlock>,
    proj_out: Linear,
}

impl Transformer2D {
    /// Of the group norm; fixed in the reference.
    const EPSILON: f64 = 1e-6;

    pub(super) fn load(loader: &Loader, config: TransformerConfig) -> Result<Self> {
        let channels = config.channels;
        let project = |name| {
            let loader = loader.pp(name);
            if config.use_linear_projection {
                Linear::load(&loader, channels, channels)
            } else {
                Linear::load_conv1x1(&loader, channels, channels)
            }
        };
        let blocks = loader.pp("transformer_blocks");
        Ok(Self {
            norm: GroupNorm::load(&loader.pp("norm"), config.groups, channels, Self::EPSILON)?,
            proj_in: project("proj_in")?,
            transformer_blocks: (0..config.layers)
                .map(|i| BasicTransformerBlock::load(&blocks.pp(i), config))
                .collect::<Result<_>>()?,
            proj_out: project("proj_out")?,
        })
    }

    /// `x`: `(b, h, w, channels)`; `text`: `(b, n, cross_attention_dim)`. Gives the shape of `x`.
    pub(super) fn forward(&self, x: &Tensor, text: &Tensor) -> Result<Tensor> {
        let (_, height, width, _) = x.dims4()?;
        let residual = image_to_tokens(x)?; // (b, h*w, c)
        let mut hidden = self
            .proj_in
            .forward(&image_to_tokens(&self.norm.forward(x)?)?)?;
        for block in &self.transformer_blocks {
            hidden = block.forward(&hidden, text)?;
        }
        tokens_to_image(
            &self.proj_out.forward_add(&hidden, &residual)?,
            height,
            width,
        )
    }
}

#[derive(Debug, Clone)]
struct BasicTransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff_in: GatedLinear,
    ff_out: Linear,
}

impl BasicTransformerBlock {
    /// Of the layer norms; fixed in the reference.
    const EPSILON: f64 = 1e-5;

    fn load(loader: &Loader, config: TransformerConfig) -> Result<Self> {
        let TransformerConfig {
            channels,
            heads,
            cross_attention_dim,
            ..
        } = config;
        let norm = |name| LayerNorm::load(&loader.pp(name), channels, Self::EPSILON);
        let ff = loader.pp("ff").pp("net");
        Ok(Self {
            norm1: norm("norm1")?,
            attn1: Attention::load(&loader.pp("attn1"), channels, channels, heads)?,
            norm2: norm("norm2")?,
            attn2: Attention::load(&loader.pp("attn2"), channels, cross_attention_dim, heads)?,
            norm3: norm("norm3")?,
            ff_in: GatedLinear::load_geglu(&ff.pp(0), channels, 4 * channels)?,
            ff_out: Linear::load(&ff.pp(2), 4 * channels, channels)?,
        })
    }

    fn forward(&self, x: &Tensor, text: &Tensor) -> Result<Tensor> {
        let normed = self.norm1.forward(x)?;
        let x = self.attn1.forward(&normed, &normed, x)?;
        let x = self.attn2.forward(&self.norm2.forward(&x)?, text, &x)?;
        let hidden = self.ff_in.forward(&self.norm3.forward(&x)?)?; // (b, n, 4c)
        self.ff_out.forward_add(&hidden, &x)
    }
}

#[derive(Debug, Clone)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
}

impl Attention {
    fn load(loader: &Loader, channels: usize, context_dim: usize, heads: usize) -> Result<Self> {
        Ok(Self {
            to_q: Linear::load_no_bias(&loader.pp("to_q"), channels, channels)?,
            to_k: Linear::load_no_bias(&loader.pp("to_k"), context_dim, channels)?,
            to_v: Linear::load_no_bias(&loader.pp("to_v"), context_dim, channels)?,
            to_out: Linear::load(&loader.pp("to_out").pp(0), channels, channels)?,
            heads,
        })
    }

    /// `x` looks at `context`; the result is added to `residual`.
    fn forward(&self, x: &Tensor, context: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let query = self.to_q.forward_for_product(x)?;
        let key = self.to_k.forward_for_product(context)?;
        let value = self.to_v.forward_for_product(context)?;
        let seen = scaled_dot_product_attention(&query, &key, &value, self.heads, false)?;
        self.to_out.forward_add(&seen, residual)
    }
}
