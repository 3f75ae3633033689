//! One layer of the encoder: attention to the tokens before, then a small network for each token.

use candle_core::Tensor;

use super::config::Config;
use crate::Result;
use crate::checkpoint::Loader;
use crate::kernels::Activation;
use crate::nn::{LayerNorm, Linear, scaled_dot_product_attention};

#[derive(Debug, Clone)]
pub(super) struct EncoderLayer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    activation: Activation,
}

impl EncoderLayer {
    pub(super) fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let (dim, inner) = (config.hidden_size, config.intermediate_size);
        let norm = |name| LayerNorm::load(&loader.pp(name), dim, config.layer_norm_eps);
        let projection = |name| Linear::load(&loader.pp("self_attn").pp(name), dim, dim);
        Ok(Self {
            layer_norm1: norm("layer_norm1")?,
            q_proj: projection("q_proj")?,
            k_proj: projection("k_proj")?,
            v_proj: projection("v_proj")?,
            out_proj: projection("out_proj")?,
            layer_norm2: norm("layer_norm2")?,
            fc1: Linear::load(&loader.pp("mlp").pp("fc1"), dim, inner)?,
            fc2: Linear::load(&loader.pp("mlp").pp("fc2"), inner, dim)?,
            heads: config.num_attention_heads,
            activation: config.activation()?,
        })
    }

    /// `(1, n, d)` to `(1, n, d)`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let normed = self.layer_norm1.forward(x)?;
        let query = self.q_proj.forward_for_product(&normed)?;
        let key = self.k_proj.forward_for_product(&normed)?;
        let value = self.v_proj.forward_for_product(&normed)?;
        let seen = scaled_dot_product_attention(&query, &key, &value, self.heads, true)?;
        let x = self.out_proj.forward_add(&seen, x)?;
        let hidden = self
            .fc1
            .forward_activate(&self.layer_norm2.forward(&x)?, self.activation)?;
        self.fc2.forward_add(&hidden, &x)
    }
}
