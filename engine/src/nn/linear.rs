//! Fully connected layers.

use std::ops::Range;

use candle_core::Tensor;

use super::memory::{
    batch_and_rows, check_channels, internal, numbers, operands, tensor_of, weight,
};
use super::{adapters, format};
use crate::Result;
use crate::checkpoint::{Held, LayerId, Loader, Matrix, Part};
use crate::kernels::Activation;
use crate::kernels::cpu::{self, Buffer, Extras, Format, MatmulShape, Panels};

/// `y = x W^T + b` over the last dimension.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Panels,
    bias: Option<Vec<f32>>,
    /// What adapters know it by.
    layer: Option<LayerId>,
}

/// Notes a layer of tokens for adapters.
pub(super) fn note(
    loader: &Loader,
    parts: Vec<Part>,
    [rows, channels]: [usize; 2],
    is_gated: bool,
) -> Option<LayerId> {
    let layers = loader.layers()?;
    Some(layers.add(Held {
        parts,
        rows,
        channels,
        kernel: 1,
        is_gated,
        precision: loader.precision(),
    }))
}

/// The weight as products read it: blocks stay blocks.
fn pack(loader: &Loader, weight: Matrix, rows: usize, channels: usize) -> Panels {
    let format = format::of_products(loader, channels);
    match weight {
        Matrix::Numbers(numbers) => Panels::from_linear(&numbers, rows, channels, format),
        Matrix::Blocks(blocks) => Panels::from_blocks(blocks, false, format),
    }
}

/// What a linear layer does to its result before writing it.
#[derive(Debug, Clone, Copy)]
pub struct LinearExtras<'a> {
    /// Applied after the bias.
    pub activation: Activation,
    /// Added at last; the shape of the result.
    pub residual: Option<&'a Tensor>,
}

impl LinearExtras<'_> {
    /// Nothing is done.
    pub const NONE: Self = Self {
        activation: Activation::Identity,
        residual: None,
    };
}

impl Linear {
    /// Reads `weight (out_dim, in_dim)` and `bias (out_dim)`.
    pub fn load(loader: &Loader, in_dim: usize, out_dim: usize) -> Result<Self> {
        Self::load_weight(loader, &[out_dim, in_dim], true)
    }

    /// Reads `weight (out_dim, in_dim)`; there is no bias.
    pub fn load_no_bias(loader: &Loader, in_dim: usize, out_dim: usize) -> Result<Self> {
        Self::load_weight(loader, &[out_dim, in_dim], false)
    }

    /// Reads `weight (out_dim, in_dim)` and, if asked for, `bias (out_dim)`.
    pub fn load_with(loader: &Loader, in_dim: usize, out_dim: usize, bias: bool) -> Result<Self> {
        Self::load_weight(loader, &[out_dim, in_dim], bias)
    }

    /// Reads a convolution whose pixels do not overlap, `weight (out_dim, channels, patch, patch)` and `bias (out_dim)`, as a
    /// linear layer of patches: `(channel, row, column)` in this order.
    pub fn load_patches(
        loader: &Loader,
        channels: usize,
        patch: usize,
        out_dim: usize,
    ) -> Result<Self> {
        Self::load_weight(loader, &[out_dim, channels, patch, patch], true)
    }

    /// Reads a convolution of one pixel, `weight (out_dim, in_dim, 1, 1)` and `bias (out_dim)`, as a linear layer.
    pub fn load_conv1x1(loader: &Loader, in_dim: usize, out_dim: usize) -> Result<Self> {
        Self::load_weight(loader, &[out_dim, in_dim, 1, 1], true)
    }

    /// Reads a convolution of one pixel of one frame, `weight (out_dim, in_dim, 1, 1, 1)` and `bias (out_dim)`, likewise.
    pub fn load_conv1x1x1(loader: &Loader, in_dim: usize, out_dim: usize) -> Result<Self> {
        Self::load_weight(loader, &[out_dim, in_dim, 1, 1, 1], true)
    }

    /// Reads some rows of `weight (all_rows, in_dim)`, without bias: one of several layers that are stored as one.
    pub fn load_rows(
        loader: &Loader,
        in_dim: usize,
        all_rows: usize,
        rows: Range<usize>,
    ) -> Result<Self> {
        let matrix = loader.matrix(&[all_rows, in_dim], "weight", rows.clone(), 0..in_dim)?;
        let count = rows.len();
        let part = loader.part((all_rows, in_dim), rows, 0..in_dim, 0);
        Ok(Self {
            weight: pack(loader, matrix, count, in_dim),
            bias: None,
            layer: note(loader, vec![part], [count, in_dim], false),
        })
    }

    /// Reads some columns of `weight (out_dim, all_columns)`: the part of a layer that belongs to one of several inputs
    /// that the checkpoint puts side by side. `bias`: whether this part adds the layer's.
    pub fn load_columns(
        loader: &Loader,
        all_columns: usize,
        out_dim: usize,
        columns: Range<usize>,
        bias: bool,
    ) -> Result<Self> {
        let shape = [out_dim, all_columns];
        let matrix = loader.matrix(&shape, "weight", 0..out_dim, columns.clone())?;
        let bias = bias.then(|| loader.get(&[out_dim], "bias"));
        let channels = columns.len();
        let part = loader.part((out_dim, all_columns), 0..out_dim, columns, 0);
        Ok(Self {
            weight: pack(loader, matrix, out_dim, channels),
            bias: bias.transpose()?.as_ref().map(weight).transpose()?,
            layer: note(loader, vec![part], [out_dim, channels], false),
        })
    }

    fn load_weight(loader: &Loader, shape: &[usize], bias: bool) -> Result<Self> {
        let bias = if bias {
            Some(weight(&loader.get(&shape[..1], "bias")?)?)
        } else {
            None
        };
        let (rows, channels) = (shape[0], shape[1..].iter().product());
        let matrix = loader.matrix(shape, "weight", 0..rows, 0..channels)?;
        let part = loader.part((rows, channels), 0..rows, 0..channels, 0);
        Ok(Self {
            weight: pack(loader, matrix, rows, channels),
            bias,
            layer: note(loader, vec![part], [rows, channels], false),
        })
    }

    /// `x`: `(..., in_dim)`; gives `(..., out_dim)`, in single precision.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, LinearExtras::NONE)
    }

    /// As [`Self::forward`], in the format of products: for the input of the next product.
    pub fn forward_for_product(&self, x: &Tensor) -> Result<Tensor> {
        self.run(x, LinearExtras::NONE, self.weight.format())
    }

    /// As [`Self::forward`], then adds `residual`, which has the shape of the result.
    pub fn forward_add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let extras = LinearExtras {
            residual: Some(residual),
            ..LinearExtras::NONE
        };
        self.forward_with(x, extras)
    }

    /// As [`Self::forward_for_product`], then `activation`.
    pub fn forward_activate(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let extras = LinearExtras {
            activation,
            ..LinearExtras::NONE
        };
        self.run(x, extras, self.weight.format())
    }

    /// As [`Self::forward`], then what `extras` says.
    pub fn forward_with(&self, x: &Tensor, extras: LinearExtras<'_>) -> Result<Tensor> {
        self.run(x, extras, Format::F32)
    }

    fn run(&self, x: &Tensor, extras: LinearExtras<'_>, to: Format) -> Result<Tensor> {
        check_channels(x, self.weight.depth(), "linear layer")?;
        let mut dims = x.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.weight.columns();
        }
        let residual = match extras.residual {
            Some(residual) if residual.dims() != dims => {
                return Err(internal(format!(
                    "a residual of {:?} cannot be added to {dims:?}",
                    residual.dims()
                )));
            }
            residual => residual.map(numbers).transpose()?,
        };
        let (elements, rows) = batch_and_rows(x);
        let shape = MatmulShape { elements, rows };
        let x = operands(x)?;
        let mut extras = Extras {
            bias: self.bias.as_deref(),
            element_bias: None,
            activation: extras.activation,
            residual: residual.as_deref(),
        };
        let Some(added) = adapters::added(self.layer) else {
            return tensor_of(
                cpu::matmul(x.numbers(), shape, &self.weight, &extras, to),
                &dims,
            );
        };
        if extras.activation == Activation::Identity {
            let sum = added.to_rows(x.numbers(), shape, extras.residual);
            extras.residual = Some(&sum);
            return tensor_of(
                cpu::matmul(x.numbers(), shape, &self.weight, &extras, to),
                &dims,
            );
        }
        // The activation is of the sum, so what follows it is done apart.
        let sum = added.to_rows(x.numbers(), shape, None);
        let before = Extras {
            activation: Activation::Identity,
            residual: Some(&sum),
            ..extras
        };
        let product = cpu::matmul(x.numbers(), shape, &self.weight, &before, Format::F32);
        let mut result = product.into_f32();
        cpu::activate(&mut result, extras.activation);
        if let Some(residual) = extras.residual {
            result.iter_mut().zip(residual).for_each(|(y, r)| *y += r);
        }
        tensor_of(Buffer::F32(result).in_format(to), &dims)
    }
}
