//! Fully connected layers whose result is gated by another half of it.

use candle_core::Tensor;

use super::linear::note;
use super::memory::{batch_and_rows, check_channels, operands, tensor_of, weight};
use super::{adapters, format};
use crate::Result;
use crate::checkpoint::{LayerId, Loader, Matrix, Part};
use crate::kernels::Activation;
use crate::kernels::cpu::{self, Extras, Format, GateExtras, MatmulShape, Panels};

/// The weight `(rows, columns)` of a layer.
fn whole(loader: &Loader, rows: usize, columns: usize) -> Result<Matrix> {
    loader.matrix(&[rows, columns], "weight", 0..rows, 0..columns)
}

/// A gated linear layer: `value * activation(gate)` of two products of the same input.
#[derive(Debug, Clone)]
pub struct GatedLinear {
    weight: Panels,
    bias: Option<Vec<f32>>,
    activation: Activation,
    out_dim: usize,
    /// What adapters know it by.
    layer: Option<LayerId>,
}

impl GatedLinear {
    /// `a * gelu(b)` with `(a, b)` the halves of one product: reads `proj.weight (2 * out_dim, in_dim)` and
    /// `proj.bias (2 * out_dim)`. Source: diffusers `GEGLU`.
    pub fn load_geglu(loader: &Loader, in_dim: usize, out_dim: usize) -> Result<Self> {
        let proj = loader.pp("proj");
        let bias = weight(&proj.get(&[2 * out_dim], "bias")?)?;
        let matrix = whole(&proj, 2 * out_dim, in_dim)?;
        let part = proj.part((2 * out_dim, in_dim), 0..2 * out_dim, 0..in_dim, 0);
        Ok(Self::pack(
            loader,
            (matrix, vec![part]),
            Some(bias),
            Activation::Gelu,
            [in_dim, out_dim],
        ))
    }

    /// `value(x) * activation(gate(x))` of two layers without bias: reads `weight (out_dim, in_dim)` of both.
    pub fn load_pair(
        [value, gate]: [&Loader; 2],
        activation: Activation,
        in_dim: usize,
        out_dim: usize,
    ) -> Result<Self> {
        let matrix = whole(value, out_dim, in_dim)?.with_rows(whole(gate, out_dim, in_dim)?);
        let part = |of: &Loader, at| of.part((out_dim, in_dim), 0..out_dim, 0..in_dim, at);
        let parts = vec![part(value, 0), part(gate, out_dim)];
        Ok(Self::pack(
            value,
            (matrix, parts),
            None,
            activation,
            [in_dim, out_dim],
        ))
    }

    /// `b * silu(a)` with `(a, b)` the last `2 * out_dim` rows of `weight (rows, in_dim)`, without bias.
    /// Source: diffusers `Flux2SwiGLU`.
    pub fn load_swiglu(
        loader: &Loader,
        rows: usize,
        in_dim: usize,
        out_dim: usize,
    ) -> Result<Self> {
        let first = rows.saturating_sub(2 * out_dim);
        let half =
            |from: usize| loader.matrix(&[rows, in_dim], "weight", from..from + out_dim, 0..in_dim);
        let matrix = half(first + out_dim)?.with_rows(half(first)?);
        let part =
            |from: usize, at| loader.part((rows, in_dim), from..from + out_dim, 0..in_dim, at);
        let parts = vec![part(first + out_dim, 0), part(first, out_dim)];
        Ok(Self::pack(
            loader,
            (matrix, parts),
            None,
            Activation::Silu,
            [in_dim, out_dim],
        ))
    }

    /// `matrix`: the rows of the value, then those of the gate, and where they come from.
    fn pack(
        loader: &Loader,
        (matrix, parts): (Matrix, Vec<Part>),
        bias: Option<Vec<f32>>,
        activation: Activation,
        [in_dim, out_dim]: [usize; 2],
    ) -> Self {
        let format = format::of_products(loader, in_dim);
        Self {
            weight: match matrix {
                Matrix::Numbers(numbers) => {
                    Panels::from_gated_linear(&numbers, out_dim, in_dim, format)
                }
                Matrix::Blocks(blocks) => Panels::from_blocks(blocks, true, format),
            },
            bias,
            activation,
            out_dim,
            layer: note(loader, parts, [2 * out_dim, in_dim], true),
        }
    }

    /// `x`: `(b, n, in_dim)`; gives `(b, n, out_dim)`, in the format of products.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        check_channels(x, self.weight.depth(), "gated linear layer")?;
        let (elements, rows) = batch_and_rows(x);
        let mut dims = x.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.out_dim;
        }
        let shape = MatmulShape { elements, rows };
        let extras = GateExtras {
            bias: self.bias.as_deref(),
            gate: self.activation,
            columns: self.out_dim,
        };
        let (x, to) = (operands(x)?, self.weight.format());
        let Some(added) = adapters::added(self.layer) else {
            return tensor_of(
                cpu::gated(x.numbers(), shape, &self.weight, extras, to),
                &dims,
            );
        };
        let sum = added.to_rows(x.numbers(), shape, None);
        let both = Extras {
            residual: Some(&sum),
            ..Extras::NONE
        };
        let sums = cpu::matmul(x.numbers(), shape, &self.weight, &both, Format::F32);
        tensor_of(cpu::gate(&sums.into_f32(), extras, to), &dims)
    }
}
