//! A block with a stream for the text and one for the picture, which meet in the attention.
//!
//! Source: diffusers `FluxTransformerBlock` and `QwenImageTransformerBlock`, which differ in names.

use candle_core::Tensor;

use super::joint_attention::{JointAttention, JointAttentionConfig};
use super::split::parts;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{Activation, AdaLayerNorm, Linear, Modulation, Rope, add_gated};

/// Of the layer norms; fixed in the references.
const EPSILON: f64 = 1e-6;

/// What a stream's layers are called in checkpoints: the modulation and the feed-forward network.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamNames {
    pub(super) modulation: &'static str,
    pub(super) feed_forward: &'static str,
}

/// Shape of a block, and the names of its two streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct DoubleBlockConfig {
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    pub(super) picture: StreamNames,
    pub(super) text: StreamNames,
}

/// What a stream has of its own.
#[derive(Debug, Clone)]
struct Stream {
    modulation: Modulation,
    ff_in: Linear,
    ff_out: Linear,
}

impl Stream {
    fn load(loader: &Loader, dim: usize, names: StreamNames) -> Result<Self> {
        let ff = loader.pp(names.feed_forward).pp("net");
        Ok(Self {
            modulation: Modulation::load(&loader.pp(names.modulation), dim, dim, 6, true)?,
            ff_in: Linear::load(&ff.pp("0.proj"), dim, 4 * dim)?,
            ff_out: Linear::load(&ff.pp(2), 4 * dim, dim)?,
        })
    }

    /// The stream after its attention: `x + gate attended`, then the feed-forward network.
    fn finish(
        &self,
        x: &Tensor,
        attended: &Tensor,
        norm: &AdaLayerNorm,
        [gate_msa, shift_mlp, scale_mlp, gate_mlp]: [&Tensor; 4],
    ) -> Result<Tensor> {
        let x = add_gated(x, gate_msa, attended)?;
        let normed = norm.forward(&x, scale_mlp, Some(shift_mlp))?;
        let hidden = self.ff_in.forward_activate(&normed, Activation::GeluTanh)?;
        add_gated(&x, gate_mlp, &self.ff_out.forward(&hidden)?)
    }
}

#[derive(Debug, Clone)]
pub(super) struct DoubleBlock {
    picture: Stream,
    text: Stream,
    norm: AdaLayerNorm,
    attention: JointAttention,
}

impl DoubleBlock {
    pub(super) fn load(loader: &Loader, config: DoubleBlockConfig) -> Result<Self> {
        let dim = config.heads * config.head_dim;
        Ok(Self {
            picture: Stream::load(loader, dim, config.picture)?,
            text: Stream::load(loader, dim, config.text)?,
            norm: AdaLayerNorm::new(loader, dim, EPSILON),
            attention: JointAttention::load(
                &loader.pp("attn"),
                JointAttentionConfig {
                    dim,
                    heads: config.heads,
                    head_dim: config.head_dim,
                    bias: true,
                    head_norms: true,
                    text_goes_on: true,
                    text_first: true,
                },
            )?,
        })
    }

    /// `picture`: `(b, n, dim)`; `text`: `(b, m, dim)`; `time`: `(b, dim)`. Gives both streams.
    pub(super) fn forward(
        &self,
        picture: &Tensor,
        text: &Tensor,
        time: &Tensor,
        rope: &Rope,
    ) -> Result<(Tensor, Tensor)> {
        let [shift, scale, gate, shift_mlp, scale_mlp, gate_mlp] =
            parts(self.picture.modulation.forward(time)?)?;
        let [
            c_shift,
            c_scale,
            c_gate,
            c_shift_mlp,
            c_scale_mlp,
            c_gate_mlp,
        ] = parts(self.text.modulation.forward(time)?)?;
        let (attended, text_attended) = self.attention.forward(
            &self.norm.forward(picture, &scale, Some(&shift))?,
            &self.norm.forward(text, &c_scale, Some(&c_shift))?,
            Some(rope),
        )?;
        let of_picture = [&gate, &shift_mlp, &scale_mlp, &gate_mlp];
        let picture = self
            .picture
            .finish(picture, &attended, &self.norm, of_picture)?;
        let of_text = [&c_gate, &c_shift_mlp, &c_scale_mlp, &c_gate_mlp];
        let text = match text_attended {
            Some(attended) => self.text.finish(text, &attended, &self.norm, of_text)?,
            None => text.clone(),
        };
        Ok((picture, text))
    }
}
