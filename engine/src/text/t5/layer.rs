//! One block of the encoder: attention with relative positions, then a gated network for each token.

use candle_core::Tensor;

use super::config::Config;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{Activation, GatedLinear, Linear, RmsNorm, biased_attention};

#[derive(Debug, Clone)]
pub(super) struct Block {
    attention_norm: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    ff_norm: RmsNorm,
    wi: GatedLinear,
    wo: Linear,
    heads: usize,
}

impl Block {
    pub(super) fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let (dim, inner) = (config.d_model, config.num_heads * config.d_kv);
        let (attention, ff) = (loader.pp("layer.0"), loader.pp("layer.1"));
        let projection =
            |name| Linear::load_no_bias(&attention.pp("SelfAttention").pp(name), dim, inner);
        let norm = |loader: &Loader| {
            RmsNorm::load(&loader.pp("layer_norm"), dim, config.layer_norm_epsilon)
        };
        let dense = ff.pp("DenseReluDense");
        Ok(Self {
            attention_norm: norm(&attention)?,
            q: projection("q")?,
            k: projection("k")?,
            v: projection("v")?,
            o: Linear::load_no_bias(&attention.pp("SelfAttention.o"), inner, dim)?,
            ff_norm: norm(&ff)?,
            wi: GatedLinear::load_pair(
                [&dense.pp("wi_1"), &dense.pp("wi_0")],
                Activation::GeluTanh,
                dim,
                config.d_ff,
            )?,
            wo: Linear::load_no_bias(&dense.pp("wo"), config.d_ff, dim)?,
            heads: config.num_heads,
        })
    }

    /// `x`: `(1, n, d)`; `bias`: `(heads, n, n)`. Gives `(1, n, d)`.
    pub(super) fn forward(&self, x: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let normed = self.attention_norm.forward(x)?;
        let query = self.q.forward_for_product(&normed)?;
        let key = self.k.forward_for_product(&normed)?;
        let value = self.v.forward_for_product(&normed)?;
        let seen = biased_attention(&query, &key, &value, self.heads, bias)?;
        let x = self.o.forward_add(&seen, x)?;
        let hidden = self.wi.forward(&self.ff_norm.forward(&x)?)?;
        self.wo.forward_add(&hidden, &x)
    }
}
