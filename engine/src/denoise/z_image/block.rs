//! One block: attention, then a gated network, each between two norms; the time scales and gates them.
//!
//! Source: diffusers `ZImageTransformerBlock`.

use candle_core::Tensor;

use super::Config;
use crate::Result;
use crate::checkpoint::Loader;
use crate::denoise::split::parts;
use crate::nn::{
    Activation, GatedLinear, HeadNorm, Heads, Linear, Modulation, RmsNorm, Rope, add_gated,
    scaled_dot_product_attention,
};

/// Of the norms of queries and keys; fixed in the reference.
const HEAD_EPSILON: f64 = 1e-5;

#[derive(Debug, Clone)]
pub(super) struct Block {
    attention_norm1: RmsNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    norm_q: HeadNorm,
    norm_k: HeadNorm,
    to_out: Linear,
    attention_norm2: RmsNorm,
    ffn_norm1: RmsNorm,
    w13: GatedLinear,
    w2: Linear,
    ffn_norm2: RmsNorm,
    modulation: Option<Modulation>,
    heads: Heads,
    head_count: usize,
}

impl Block {
    pub(super) fn load(loader: &Loader, config: &Config, has_time: bool) -> Result<Self> {
        let (dim, inner) = (config.dim, config.ff_dim());
        let attention = loader.pp("attention");
        let norm = |name| RmsNorm::load(&loader.pp(name), dim, config.norm_eps);
        let project = |name| Linear::load_no_bias(&attention.pp(name), dim, dim);
        let head_norm = |name| HeadNorm::load(&attention.pp(name), config.head_dim());
        let ff = loader.pp("feed_forward");
        let modulation = || {
            let loader = loader.pp("adaLN_modulation.0");
            Modulation::load(&loader, config.time_dim(), dim, 4, true)
        };
        Ok(Self {
            attention_norm1: norm("attention_norm1")?,
            to_q: project("to_q")?,
            to_k: project("to_k")?,
            to_v: project("to_v")?,
            norm_q: head_norm("norm_q")?,
            norm_k: head_norm("norm_k")?,
            to_out: project("to_out.0")?,
            attention_norm2: norm("attention_norm2")?,
            ffn_norm1: norm("ffn_norm1")?,
            w13: GatedLinear::load_pair(
                [&ff.pp("w3"), &ff.pp("w1")],
                Activation::Silu,
                dim,
                inner,
            )?,
            w2: Linear::load_no_bias(&ff.pp("w2"), inner, dim)?,
            ffn_norm2: norm("ffn_norm2")?,
            modulation: has_time.then(modulation).transpose()?,
            heads: Heads::new(loader, config.n_heads, config.head_dim(), HEAD_EPSILON),
            head_count: config.n_heads,
        })
    }

    /// `x`: `(b, n, dim)`; `time`: `(b, time_dim)`, for blocks that have a modulation. Gives the shape of `x`.
    pub(super) fn forward(&self, x: &Tensor, rope: &Rope, time: Option<&Tensor>) -> Result<Tensor> {
        let Some((modulation, time)) = self.modulation.as_ref().zip(time) else {
            let seen = self.attend(&self.attention_norm1.forward(x)?, rope)?;
            let x = (x + self.attention_norm2.forward_f32(&seen)?)?;
            let hidden = self.feed_forward(&self.ffn_norm1.forward(&x)?)?;
            return Ok((&x + self.ffn_norm2.forward_f32(&hidden)?)?);
        };
        let [scale_msa, gate_msa, scale_mlp, gate_mlp] = parts(modulation.forward(time)?)?;
        let (gate_msa, gate_mlp) = (gate_msa.tanh()?, gate_mlp.tanh()?);
        let normed = self.attention_norm1.forward_scaled(x, &scale_msa)?;
        let seen = self.attend(&normed, rope)?;
        let x = add_gated(x, &gate_msa, &self.attention_norm2.forward_f32(&seen)?)?;
        let normed = self.ffn_norm1.forward_scaled(&x, &scale_mlp)?;
        let hidden = self.feed_forward(&normed)?;
        add_gated(&x, &gate_mlp, &self.ffn_norm2.forward_f32(&hidden)?)
    }

    fn attend(&self, x: &Tensor, rope: &Rope) -> Result<Tensor> {
        let turned = |x: &Tensor, norm| self.heads.join(&[(x, norm)], Some(rope));
        let query = turned(&self.to_q.forward(x)?, &self.norm_q)?;
        let key = turned(&self.to_k.forward(x)?, &self.norm_k)?;
        let value = self
            .heads
            .join(&[(&self.to_v.forward(x)?, &HeadNorm::none())], None)?;
        let seen = scaled_dot_product_attention(&query, &key, &value, self.head_count, false)?;
        self.to_out.forward(&seen)
    }

    fn feed_forward(&self, x: &Tensor) -> Result<Tensor> {
        self.w2.forward(&self.w13.forward(x)?)
    }
}
