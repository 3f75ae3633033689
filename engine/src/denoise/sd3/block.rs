//! One block: text and picture meet in an attention; in some, the picture also looks at itself.
//!
//! Source: diffusers `JointTransformerBlock`, `SD35AdaLayerNormZeroX`.

use candle_core::Tensor;

use super::{Config, EPSILON};
use crate::Result;
use crate::checkpoint::Loader;
use crate::denoise::joint_attention::{JointAttention, JointAttentionConfig};
use crate::denoise::split::parts;
use crate::nn::{
    Activation, AdaLayerNorm, HeadNorm, Heads, Linear, Modulation, add_gated,
    scaled_dot_product_attention,
};

/// Two linear layers with GELU between them.
#[derive(Debug, Clone)]
struct FeedForward {
    ff_in: Linear,
    ff_out: Linear,
}

impl FeedForward {
    fn load(loader: &Loader, dim: usize) -> Result<Self> {
        let net = loader.pp("net");
        Ok(Self {
            ff_in: Linear::load(&net.pp("0.proj"), dim, 4 * dim)?,
            ff_out: Linear::load(&net.pp(2), 4 * dim, dim)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.ff_in.forward_activate(x, Activation::GeluTanh)?;
        self.ff_out.forward(&hidden)
    }
}

/// The picture's attention to itself.
#[derive(Debug, Clone)]
struct SelfAttention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    norm_q: HeadNorm,
    norm_k: HeadNorm,
    heads: Heads,
    head_count: usize,
}

impl SelfAttention {
    fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let dim = config.dim();
        let project = |name| Linear::load(&loader.pp(name), dim, dim);
        let norm = |name| match config.qk_norm {
            Some(_) => HeadNorm::load(&loader.pp(name), config.attention_head_dim),
            None => Ok(HeadNorm::none()),
        };
        Ok(Self {
            to_q: project("to_q")?,
            to_k: project("to_k")?,
            to_v: project("to_v")?,
            to_out: project("to_out.0")?,
            norm_q: norm("norm_q")?,
            norm_k: norm("norm_k")?,
            heads: Heads::new(
                loader,
                config.num_attention_heads,
                config.attention_head_dim,
                EPSILON,
            ),
            head_count: config.num_attention_heads,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let join = |x: &Tensor, norm| self.heads.join(&[(x, norm)], None);
        let query = join(&self.to_q.forward(x)?, &self.norm_q)?;
        let key = join(&self.to_k.forward(x)?, &self.norm_k)?;
        let value = join(&self.to_v.forward(x)?, &HeadNorm::none())?;
        let seen = scaled_dot_product_attention(&query, &key, &value, self.head_count, false)?;
        self.to_out.forward(&seen)
    }
}

#[derive(Debug, Clone)]
pub(super) struct JointBlock {
    modulation: Modulation,
    context_modulation: Modulation,
    norm: AdaLayerNorm,
    attn: JointAttention,
    attn2: Option<SelfAttention>,
    ff: FeedForward,
    /// None in the last block, after which the text is not needed.
    ff_context: Option<FeedForward>,
}

impl JointBlock {
    pub(super) fn load(loader: &Loader, config: &Config, index: usize) -> Result<Self> {
        let dim = config.dim();
        let is_dual = config.dual_attention_layers.contains(&index);
        let is_last = index + 1 == config.num_layers;
        let modulation = |name: &str, parts| {
            Modulation::load(&loader.pp(name).pp("linear"), dim, dim, parts, true)
        };
        let second = || SelfAttention::load(&loader.pp("attn2"), config);
        let context = || FeedForward::load(&loader.pp("ff_context"), dim);
        Ok(Self {
            modulation: modulation("norm1", if is_dual { 9 } else { 6 })?,
            context_modulation: modulation("norm1_context", if is_last { 2 } else { 6 })?,
            norm: AdaLayerNorm::new(loader, dim, EPSILON),
            attn: JointAttention::load(
                &loader.pp("attn"),
                JointAttentionConfig {
                    dim,
                    heads: config.num_attention_heads,
                    head_dim: config.attention_head_dim,
                    bias: true,
                    head_norms: config.qk_norm.is_some(),
                    text_goes_on: !is_last,
                    text_first: false,
                },
            )?,
            attn2: is_dual.then(second).transpose()?,
            ff: FeedForward::load(&loader.pp("ff"), dim)?,
            ff_context: (!is_last).then(context).transpose()?,
        })
    }

    /// `picture`: `(b, n, dim)`; `text`: `(b, m, dim)`; `time`: `(b, dim)`. Gives both streams; the last block leaves the
    /// text as it is.
    pub(super) fn forward(
        &self,
        picture: &Tensor,
        text: &Tensor,
        time: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let mut of_picture = self.modulation.forward(time)?;
        let second = of_picture.split_off(6);
        let [shift, scale, gate, shift_mlp, scale_mlp, gate_mlp] = parts(of_picture)?;
        let mut of_text = self.context_modulation.forward(time)?;
        // The last block names its scale first.
        if self.ff_context.is_none() {
            of_text.swap(0, 1);
        }
        let (attended, text_attended) = self.attn.forward(
            &self.norm.forward(picture, &scale, Some(&shift))?,
            &self.norm.forward(text, &of_text[1], Some(&of_text[0]))?,
            None,
        )?;
        let mut x = add_gated(picture, &gate, &attended)?;
        if let Some(attention) = &self.attn2 {
            let [shift, scale, gate] = parts(second)?;
            let normed = self.norm.forward(picture, &scale, Some(&shift))?;
            x = add_gated(&x, &gate, &attention.forward(&normed)?)?;
        }
        let normed = self.norm.forward(&x, &scale_mlp, Some(&shift_mlp))?;
        let picture = add_gated(&x, &gate_mlp, &self.ff.forward(&normed)?)?;
        let (Some(ff), Some(attended)) = (&self.ff_context, text_attended) else {
            return Ok((picture, text.clone()));
        };
        let [_, _, gate, shift_mlp, scale_mlp, gate_mlp] = parts(of_text)?;
        let text = add_gated(text, &gate, &attended)?;
        let normed = self.norm.forward(&text, &scale_mlp, Some(&shift_mlp))?;
        let text = add_gated(&text, &gate_mlp, &ff.forward(&normed)?)?;
        Ok((picture, text))
    }
}
