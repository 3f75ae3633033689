//! A block with a stream for the text and one for the picture, which meet in the attention.
//!
//! Source: diffusers `Flux2TransformerBlock`.

use candle_core::Tensor;

use super::Config;
use crate::Result;
use crate::checkpoint::Loader;
use crate::denoise::joint_attention::{JointAttention, JointAttentionConfig};
use crate::nn::{AdaLayerNorm, GatedLinear, Linear, Rope, add_gated};

#[derive(Debug, Clone)]
struct FeedForward {
    linear_in: GatedLinear,
    linear_out: Linear,
}

impl FeedForward {
    fn load(loader: &Loader, config: &Config) -> Result<Self> {
        let (dim, inner) = (config.dim(), config.mlp_dim());
        Ok(Self {
            linear_in: GatedLinear::load_swiglu(&loader.pp("linear_in"), 2 * inner, dim, inner)?,
            linear_out: Linear::load_no_bias(&loader.pp("linear_out"), inner, dim)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.linear_out.forward(&self.linear_in.forward(x)?)
    }
}

#[derive(Debug, Clone)]
pub(super) struct DoubleBlock {
    norm: AdaLayerNorm,
    attn: JointAttention,
    ff: FeedForward,
    ff_context: FeedForward,
}

impl DoubleBlock {
    pub(super) fn load(loader: &Loader, config: &Config) -> Result<Self> {
        Ok(Self {
            norm: AdaLayerNorm::new(loader, config.dim(), config.eps),
            attn: JointAttention::load(
                &loader.pp("attn"),
                JointAttentionConfig {
                    dim: config.dim(),
                    heads: config.num_attention_heads,
                    head_dim: config.attention_head_dim,
                    bias: false,
                    head_norms: true,
                    text_goes_on: true,
                    text_first: true,
                },
            )?,
            ff: FeedForward::load(&loader.pp("ff"), config)?,
            ff_context: FeedForward::load(&loader.pp("ff_context"), config)?,
        })
    }

    /// Each stream `(b, n, dim)` with its modulation: shift, scale and gate of the attention, then of the network.
    pub(super) fn forward(
        &self,
        (picture, of_picture): (&Tensor, &[Tensor]),
        (text, of_text): (&Tensor, &[Tensor]),
        rope: &Rope,
    ) -> Result<(Tensor, Tensor)> {
        let (attended, text_attended) = self.attn.forward(
            &self
                .norm
                .forward(picture, &of_picture[1], Some(&of_picture[0]))?,
            &self.norm.forward(text, &of_text[1], Some(&of_text[0]))?,
            Some(rope),
        )?;
        let picture = self.finish(picture, &attended, of_picture, &self.ff)?;
        let text = match text_attended {
            Some(attended) => self.finish(text, &attended, of_text, &self.ff_context)?,
            None => text.clone(),
        };
        Ok((picture, text))
    }

    fn finish(
        &self,
        x: &Tensor,
        attended: &Tensor,
        modulation: &[Tensor],
        ff: &FeedForward,
    ) -> Result<Tensor> {
        let x = add_gated(x, &modulation[2], attended)?;
        let normed = self
            .norm
            .forward(&x, &modulation[4], Some(&modulation[3]))?;
        add_gated(&x, &modulation[5], &ff.forward(&normed)?)
    }
}
