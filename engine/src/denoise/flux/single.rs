//! A block of one stream, whose attention and feed-forward network work side by side.
//!
//! Source: diffusers `FluxSingleTransformerBlock`.

use candle_core::Tensor;

use super::{Config, EPSILON};
use crate::Result;
use crate::checkpoint::Loader;
use crate::denoise::split::parts;
use crate::nn::{
    Activation, AdaLayerNorm, HeadNorm, Heads, Linear, Modulation, Rope, add_gated,
    scaled_dot_product_attention,
};

#[derive(Debug, Clone)]
pub(super) struct SingleBlock {
    modulation: Modulation,
    norm: AdaLayerNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    norm_q: HeadNorm,
    norm_k: HeadNorm,
    proj_mlp: Linear,
    /// `proj_out` in two parts, one for each of the inputs that the reference puts side by side.
    out_of_attention: Linear,
    out_of_mlp: Linear,
    heads: Heads,
    head_count: usize,
}

impl SingleBlock {
    pub(super) fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let dim = config.dim();
        let attention = loader.pp("attn");
        let project = |name| Linear::load(&attention.pp(name), dim, dim);
        let norm = |name| HeadNorm::load(&attention.pp(name), config.attention_head_dim);
        let out = |columns, bias| {
            Linear::load_columns(&loader.pp("proj_out"), 5 * dim, dim, columns, bias)
        };
        Ok(Self {
            modulation: Modulation::load(&loader.pp("norm.linear"), dim, dim, 3, true)?,
            norm: AdaLayerNorm::new(loader, dim, EPSILON),
            to_q: project("to_q")?,
            to_k: project("to_k")?,
            to_v: project("to_v")?,
            norm_q: norm("norm_q")?,
            norm_k: norm("norm_k")?,
            proj_mlp: Linear::load(&loader.pp("proj_mlp"), dim, 4 * dim)?,
            out_of_attention: out(0..dim, false)?,
            out_of_mlp: out(dim..5 * dim, true)?,
            heads: Heads::new(
                loader,
                config.num_attention_heads,
                config.attention_head_dim,
                EPSILON,
            ),
            head_count: config.num_attention_heads,
        })
    }

    /// `x`: `(b, m + n, dim)`, text before picture; `time`: `(b, dim)`. Gives the shape of `x`.
    pub(super) fn forward(&self, x: &Tensor, time: &Tensor, rope: &Rope) -> Result<Tensor> {
        let [shift, scale, gate] = parts(self.modulation.forward(time)?)?;
        let normed = self.norm.forward(x, &scale, Some(&shift))?;
        let turned = |x: &Tensor, norm| self.heads.join(&[(x, norm)], Some(rope));
        let query = turned(&self.to_q.forward(&normed)?, &self.norm_q)?;
        let key = turned(&self.to_k.forward(&normed)?, &self.norm_k)?;
        let value = self
            .heads
            .join(&[(&self.to_v.forward(&normed)?, &HeadNorm::none())], None)?;
        let seen = scaled_dot_product_attention(&query, &key, &value, self.head_count, false)?;
        let hidden = self
            .proj_mlp
            .forward_activate(&normed, Activation::GeluTanh)?;
        let out = self.out_of_attention.forward(&seen)?;
        let out = self.out_of_mlp.forward_add(&hidden, &out)?;
        add_gated(x, &gate, &out)
    }
}
