//! Fully connected layers.

use candle_core::Tensor;

use super::format;
use super::memory::{
    batch_and_rows, check_channels, internal, numbers, operands, tensor_of, weight,
};
use crate::Result;
use crate::checkpoint::Loader;
use crate::kernels::Activation;
use crate::kernels::cpu::{self, Extras, Format, MatmulShape, Panels};

/// `y = x W^T + b` over the last dimension.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Panels,
    bias: Option<Vec<f32>>,
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

    /// Reads a convolution of one pixel, `weight (out_dim, in_dim, 1, 1)` and `bias (out_dim)`, as a linear layer.
    pub fn load_conv1x1(loader: &Loader, in_dim: usize, out_dim: usize) -> Result<Self> {
        Self::load_weight(loader, &[out_dim, in_dim, 1, 1], true)
    }

    fn load_weight(loader: &Loader, shape: &[usize], bias: bool) -> Result<Self> {
        let bias = if bias {
            Some(weight(&loader.get(&shape[..1], "bias")?)?)
        } else {
            None
        };
        let numbers = weight(&loader.get(shape, "weight")?)?;
        Ok(Self {
            weight: Panels::from_linear(
                &numbers,
                shape[0],
                shape[1],
                format::of_products(loader, shape[1]),
            ),
            bias,
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
        let extras = Extras {
            bias: self.bias.as_deref(),
            element_bias: None,
            activation: extras.activation,
            residual: residual.as_deref(),
        };
        let shape = MatmulShape { elements, rows };
        let x = operands(x)?;
        tensor_of(
            cpu::matmul(x.numbers(), shape, &self.weight, &extras, to),
            &dims,
        )
    }
}

/// A gated linear layer: `a * gelu(b)`, where `(a, b)` are the halves of `x W^T + bias`.
#[derive(Debug, Clone)]
pub struct Geglu {
    weight: Panels,
    bias: Vec<f32>,
    out_dim: usize,
}

impl Geglu {
    /// Reads `proj.weight (2 * out_dim, in_dim)` and `proj.bias (2 * out_dim)`.
    pub fn load(loader: &Loader, in_dim: usize, out_dim: usize) -> Result<Self> {
        let proj = loader.pp("proj");
        let bias = weight(&proj.get(&[2 * out_dim], "bias")?)?;
        let numbers = weight(&proj.get(&[2 * out_dim, in_dim], "weight")?)?;
        Ok(Self {
            weight: Panels::from_gated_linear(
                &numbers,
                out_dim,
                in_dim,
                format::of_products(loader, in_dim),
            ),
            bias,
            out_dim,
        })
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
        let x = operands(x)?;
        tensor_of(
            cpu::geglu(
                x.numbers(),
                shape,
                &self.weight,
                &self.bias,
                self.out_dim,
                self.weight.format(),
            ),
            &dims,
        )
    }
}
