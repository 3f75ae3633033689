//! A block of one stream, whose attention and gated network are one product before and one after.
//!
//! Source: diffusers `Flux2SingleTransformerBlock`, `Flux2ParallelSelfAttention`.

use candle_core::Tensor;

use super::Config;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{
    AdaLayerNorm, GatedLinear, HeadNorm, Heads, Linear, Rope, add_gated,
    scaled_dot_product_attention,
};

#[derive(Debug, Clone)]
pub(super) struct SingleBlock {
    norm: AdaLayerNorm,
    /// `to_qkv_mlp_proj` in its parts.
    query: Linear,
    key: Linear,
    value: Linear,
    mlp: GatedLinear,
    norm_q: HeadNorm,
    norm_k: HeadNorm,
    /// `to_out` in two parts, one for each of the inputs that the reference puts side by side.
    out_of_attention: Linear,
    out_of_mlp: Linear,
    heads: Heads,
    head_count: usize,
}

impl SingleBlock {
    pub(super) fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let (dim, inner) = (config.dim(), config.mlp_dim());
        let attn = loader.pp("attn");
        let fused = attn.pp("to_qkv_mlp_proj");
        let rows = 3 * dim + 2 * inner;
        let part = |index| Linear::load_rows(&fused, dim, rows, index * dim..(index + 1) * dim);
        let norm = |name| HeadNorm::load(&attn.pp(name), config.attention_head_dim);
        let out =
            |columns| Linear::load_columns(&attn.pp("to_out"), dim + inner, dim, columns, false);
        Ok(Self {
            norm: AdaLayerNorm::new(loader, dim, config.eps),
            query: part(0)?,
            key: part(1)?,
            value: part(2)?,
            mlp: GatedLinear::load_swiglu(&fused, rows, dim, inner)?,
            norm_q: norm("norm_q")?,
            norm_k: norm("norm_k")?,
            out_of_attention: out(0..dim)?,
            out_of_mlp: out(dim..dim + inner)?,
            heads: Heads::new(
                loader,
                config.num_attention_heads,
                config.attention_head_dim,
                config.eps,
            ),
            head_count: config.num_attention_heads,
        })
    }

    /// `x`: `(b, m + n, dim)`, text before picture; `modulation`: shift, scale and gate. Gives the shape of `x`.
    pub(super) fn forward(&self, x: &Tensor, modulation: &[Tensor], rope: &Rope) -> Result<Tensor> {
        let normed = self.norm.forward(x, &modulation[1], Some(&modulation[0]))?;
        let turned = |x: &Tensor, norm| self.heads.join(&[(x, norm)], Some(rope));
        let query = turned(&self.query.forward(&normed)?, &self.norm_q)?;
        let key = turned(&self.key.forward(&normed)?, &self.norm_k)?;
        let value = self
            .heads
            .join(&[(&self.value.forward(&normed)?, &HeadNorm::none())], None)?;
        let seen = scaled_dot_product_attention(&query, &key, &value, self.head_count, false)?;
        let out = self.out_of_attention.forward(&seen)?;
        let out = self
            .out_of_mlp
            .forward_add(&self.mlp.forward(&normed)?, &out)?;
        add_gated(x, &modulation[2], &out)
    }
}
