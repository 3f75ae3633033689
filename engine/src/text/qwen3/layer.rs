//! One layer: attention to the tokens before, with heads that share keys, then a gated network for each token.

use candle_core::Tensor;

use super::config::{Config, Projections};
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{
    Activation, GatedLinear, HeadNorm, Heads, Linear, RmsNorm, Rope, scaled_dot_product_attention,
};

#[derive(Debug, Clone)]
pub(super) struct DecoderLayer {
    input_layernorm: RmsNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: HeadNorm,
    k_norm: HeadNorm,
    post_attention_layernorm: RmsNorm,
    gate_up: GatedLinear,
    down_proj: Linear,
    query_heads: Heads,
    key_heads: Heads,
    heads: usize,
    /// Heads of queries for each head of keys.
    shared_by: usize,
    head_dim: usize,
}

impl DecoderLayer {
    pub(super) fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let (dim, head_dim) = (config.hidden_size, config.head_dim());
        let (heads, key_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let attention = loader.pp("self_attn");
        let norm = |name| RmsNorm::load(&loader.pp(name), dim, config.rms_norm_eps);
        let has_bias = config.projections == Projections::Biased;
        let projection =
            |name, heads| Linear::load_with(&attention.pp(name), dim, heads * head_dim, has_bias);
        let head_norm = |name| match config.projections {
            Projections::Normed => HeadNorm::load(&attention.pp(name), head_dim),
            Projections::Biased => Ok(HeadNorm::none()),
        };
        let mlp = loader.pp("mlp");
        let of = |heads| Heads::new(loader, heads, head_dim, config.rms_norm_eps);
        Ok(Self {
            input_layernorm: norm("input_layernorm")?,
            q_proj: projection("q_proj", heads)?,
            k_proj: projection("k_proj", key_heads)?,
            v_proj: projection("v_proj", key_heads)?,
            o_proj: Linear::load_no_bias(&attention.pp("o_proj"), heads * head_dim, dim)?,
            q_norm: head_norm("q_norm")?,
            k_norm: head_norm("k_norm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            gate_up: GatedLinear::load_pair(
                [&mlp.pp("up_proj"), &mlp.pp("gate_proj")],
                Activation::Silu,
                dim,
                config.intermediate_size,
            )?,
            down_proj: Linear::load_no_bias(&mlp.pp("down_proj"), config.intermediate_size, dim)?,
            query_heads: of(heads),
            key_heads: of(key_heads),
            heads,
            shared_by: heads / key_heads,
            head_dim,
        })
    }

    /// `x`: `(1, n, d)`, of which the first `seen` tokens are no padding. Gives `(1, n, d)`.
    pub(super) fn forward(&self, x: &Tensor, seen: usize, rope: &Rope) -> Result<Tensor> {
        let normed = self.input_layernorm.forward(x)?;
        let query = self.q_proj.forward(&normed)?;
        let query = self
            .query_heads
            .join(&[(&query, &self.q_norm)], Some(rope))?;
        let key = self.k_proj.forward(&normed)?;
        let key = self.key_heads.join(&[(&key, &self.k_norm)], Some(rope))?;
        let value = self.v_proj.forward(&normed)?;
        let value = self.key_heads.join(&[(&value, &HeadNorm::none())], None)?;
        let (key, value) = (self.share(&key, seen)?, self.share(&value, seen)?);
        let tokens = x.dim(1)?;
        let part = |from, count| query.narrow(1, from, count)?.contiguous();
        let attend = |query: &Tensor, causal| {
            scaled_dot_product_attention(query, &key, &value, self.heads, causal)
        };
        let mut attended = attend(&part(0, seen)?, true)?;
        if tokens > seen {
            let padding = attend(&part(seen, tokens - seen)?, false)?;
            attended = Tensor::cat(&[&attended, &padding], 1)?;
        }
        let x = self.o_proj.forward_add(&attended, x)?;
        let hidden = self
            .gate_up
            .forward(&self.post_attention_layernorm.forward(&x)?)?;
        self.down_proj.forward_add(&hidden, &x)
    }

    /// The first `seen` tokens, each head as often as heads of queries share it.
    fn share(&self, x: &Tensor, seen: usize) -> Result<Tensor> {
        let heads = self.heads / self.shared_by;
        let x = x
            .narrow(1, 0, seen)?
            .contiguous()?
            .reshape((1, seen, heads, 1, self.head_dim))?
            .repeat((1, 1, 1, self.shared_by, 1))?;
        Ok(x.reshape((1, seen, self.heads * self.head_dim))?)
    }
}
