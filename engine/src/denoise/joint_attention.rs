//! An attention of text and picture to both of them, each with its own projections.
//!
//! Source: diffusers `FluxAttention`, `Flux2Attention` and `Attention` with `JointAttnProcessor2_0`, which name their
//! weights alike.

use candle_core::Tensor;

use super::split::split_tokens;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{HeadNorm, Heads, Linear, Rope, scaled_dot_product_attention};

/// Shape of a joint attention.
#[derive(Debug, Clone, Copy)]
pub(super) struct JointAttentionConfig {
    /// Channels of both streams.
    pub(super) dim: usize,
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    /// Whether the projections have biases.
    pub(super) bias: bool,
    /// Whether queries and keys are normalised.
    pub(super) head_norms: bool,
    /// Whether the text goes on after it.
    pub(super) text_goes_on: bool,
    /// Whether the text stands before the picture.
    pub(super) text_first: bool,
}

/// Of the norms of queries and keys; fixed in the reference.
const EPSILON: f64 = 1e-6;

/// Projections of one stream.
#[derive(Debug, Clone)]
struct Stream {
    query: Linear,
    key: Linear,
    value: Linear,
    query_norm: HeadNorm,
    key_norm: HeadNorm,
}

impl Stream {
    fn load(
        loader: &Loader,
        config: JointAttentionConfig,
        names: [&str; 3],
        norms: [&str; 2],
    ) -> Result<Self> {
        let inner = config.heads * config.head_dim;
        let project = |name| Linear::load_with(&loader.pp(name), config.dim, inner, config.bias);
        let norm = |name| {
            if config.head_norms {
                HeadNorm::load(&loader.pp(name), config.head_dim)
            } else {
                Ok(HeadNorm::none())
            }
        };
        Ok(Self {
            query: project(names[0])?,
            key: project(names[1])?,
            value: project(names[2])?,
            query_norm: norm(norms[0])?,
            key_norm: norm(norms[1])?,
        })
    }
}

#[derive(Debug, Clone)]
pub(super) struct JointAttention {
    picture: Stream,
    text: Stream,
    to_out: Linear,
    to_add_out: Option<Linear>,
    heads: Heads,
    config: JointAttentionConfig,
}

impl JointAttention {
    pub(super) fn load(loader: &Loader, config: JointAttentionConfig) -> Result<Self> {
        let inner = config.heads * config.head_dim;
        let out = |name| Linear::load_with(&loader.pp(name), inner, config.dim, config.bias);
        Ok(Self {
            picture: Stream::load(
                loader,
                config,
                ["to_q", "to_k", "to_v"],
                ["norm_q", "norm_k"],
            )?,
            text: Stream::load(
                loader,
                config,
                ["add_q_proj", "add_k_proj", "add_v_proj"],
                ["norm_added_q", "norm_added_k"],
            )?,
            to_out: out("to_out.0")?,
            to_add_out: config.text_goes_on.then(|| out("to_add_out")).transpose()?,
            heads: Heads::new(loader, config.heads, config.head_dim, EPSILON),
            config,
        })
    }

    /// `picture`: `(b, n, dim)`, `text`: `(b, m, dim)`, both normalised; `rope`: positions of all of them, in the order in
    /// which they stand. Gives the same shapes; no text where it does not go on.
    pub(super) fn forward(
        &self,
        picture: &Tensor,
        text: &Tensor,
        rope: Option<&Rope>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let query = self.join(
            (&self.text.query.forward(text)?, &self.text.query_norm),
            (
                &self.picture.query.forward(picture)?,
                &self.picture.query_norm,
            ),
            rope,
        )?;
        let key = self.join(
            (&self.text.key.forward(text)?, &self.text.key_norm),
            (&self.picture.key.forward(picture)?, &self.picture.key_norm),
            rope,
        )?;
        let none = HeadNorm::none();
        let value = self.join(
            (&self.text.value.forward(text)?, &none),
            (&self.picture.value.forward(picture)?, &none),
            None,
        )?;
        let seen = scaled_dot_product_attention(&query, &key, &value, self.config.heads, false)?;
        let (text, picture) = if self.config.text_first {
            split_tokens(&seen, text.dim(1)?)?
        } else {
            let (picture, text) = split_tokens(&seen, picture.dim(1)?)?;
            (text, picture)
        };
        let to_add_out = self.to_add_out.as_ref();
        Ok((
            self.to_out.forward(&picture)?,
            to_add_out.map(|out| out.forward(&text)).transpose()?,
        ))
    }

    fn join(
        &self,
        text: (&Tensor, &HeadNorm),
        picture: (&Tensor, &HeadNorm),
        rope: Option<&Rope>,
    ) -> Result<Tensor> {
        let streams = if self.config.text_first {
            [text, picture]
        } else {
            [picture, text]
        };
        self.heads.join(&streams, rope)
    }
}
