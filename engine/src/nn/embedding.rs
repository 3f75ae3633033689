//! Numbers and token ids as vectors.

use candle_core::Tensor;

use super::memory::{internal, tensor, weight};
use crate::Result;
use crate::checkpoint::Loader;

/// A table of one vector for each id.
#[derive(Debug, Clone)]
pub struct Embedding {
    table: Vec<f32>,
    dim: usize,
}

impl Embedding {
    /// Reads `weight (count, dim)`.
    pub fn load(loader: &Loader, count: usize, dim: usize) -> Result<Self> {
        Ok(Self {
            table: weight(&loader.get(&[count, dim], "weight")?)?,
            dim,
        })
    }

    /// The vector of `id`; none when the table has no such id.
    pub fn row(&self, id: usize) -> Option<&[f32]> {
        let from = id.checked_mul(self.dim)?;
        self.table.get(from..from.checked_add(self.dim)?)
    }
}

/// Sines and cosines of each number at falling frequencies: `(values.len(), dim)`.
///
/// `flip_sin_to_cos` puts the cosines first. Frequencies are `10000^(-i / (dim / 2 - freq_shift))`; with an odd `dim`
/// the last number is 0. Computed in `f32` as diffusers' `get_timestep_embedding` does.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the reference computes in f32"
)]
pub fn timestep_embedding(
    values: &[f64],
    dim: usize,
    flip_sin_to_cos: bool,
    freq_shift: f64,
) -> Result<Tensor> {
    let half = dim / 2;
    let divisor = half as f64 - freq_shift;
    if divisor == 0.0 || !divisor.is_finite() {
        return Err(internal(format!(
            "{dim} numbers of a timestep cannot be shifted by {freq_shift}"
        )));
    }
    let mut result = vec![0.0; values.len() * dim];
    let log_of_longest = -(10_000f64.ln()) as f32;
    for (value, row) in values.iter().zip(result.chunks_exact_mut(dim.max(1))) {
        let (first, second) = row[..2 * half].split_at_mut(half);
        for (i, (first, second)) in first.iter_mut().zip(second).enumerate() {
            let angle = *value as f32 * (log_of_longest * i as f32 / divisor as f32).exp();
            (*first, *second) = if flip_sin_to_cos {
                (angle.cos(), angle.sin())
            } else {
                (angle.sin(), angle.cos())
            };
        }
    }
    tensor(result, &[values.len(), dim])
}
