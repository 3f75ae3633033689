//! What the timestep does to a transformer: an embedding of it, and from that a scale, shift or gate for each block.

use candle_core::Tensor;

use super::{Activation, Linear, LinearExtras};
use crate::Result;
use crate::checkpoint::Loader;

/// Two linear layers with SiLU between them. Source: diffusers `TimestepEmbedding`, `PixArtAlphaTextProjection`.
#[derive(Debug, Clone)]
pub struct EmbeddingMlp {
    linear_1: Linear,
    linear_2: Linear,
}

impl EmbeddingMlp {
    /// Reads `linear_1 (dim, in_dim)` and `linear_2 (dim, dim)`, with biases or without.
    pub fn load(loader: &Loader, in_dim: usize, dim: usize, bias: bool) -> Result<Self> {
        let layer = |name, from| Linear::load_with(&loader.pp(name), from, dim, bias);
        Ok(Self {
            linear_1: layer("linear_1", in_dim)?,
            linear_2: layer("linear_2", dim)?,
        })
    }

    /// `(b, in_dim)` to `(b, dim)`, with `residual` added if there is one.
    pub fn forward(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let hidden = self.linear_1.forward_activate(x, Activation::Silu)?;
        self.linear_2.forward_with(
            &hidden,
            LinearExtras {
                residual,
                ..LinearExtras::NONE
            },
        )
    }
}

/// A linear layer whose result is cut into equal parts: scales, shifts and gates. Source: diffusers `AdaLayerNormZero` and
/// its kin.
#[derive(Debug, Clone)]
pub struct Modulation {
    linear: Linear,
    dim: usize,
    parts: usize,
}

impl Modulation {
    /// Reads `weight (parts * dim, in_dim)` and, if asked for, `bias (parts * dim)`.
    pub fn load(
        loader: &Loader,
        in_dim: usize,
        dim: usize,
        parts: usize,
        bias: bool,
    ) -> Result<Self> {
        Ok(Self {
            linear: Linear::load_with(loader, in_dim, parts * dim, bias)?,
            dim,
            parts,
        })
    }

    /// `(b, in_dim)` to the parts in their order, `(b, dim)` each.
    pub fn forward(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        let all = self.linear.forward(x)?; // (b, parts * dim)
        (0..self.parts)
            .map(|part| Ok(all.narrow(1, part * self.dim, self.dim)?.contiguous()?))
            .collect()
    }
}
