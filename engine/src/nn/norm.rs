//! Normalisation layers.

use candle_core::Tensor;

use super::format;
use super::memory::{batch_and_rows, check_channels, numbers, operands, tensor_of, weight};
use crate::checkpoint::Loader;
use crate::kernels::Activation;
use crate::kernels::cpu::{self, Format, GroupNormShape};
use crate::{Error, Result};

/// Group normalisation with a weight and a bias for each channel.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    groups: usize,
    epsilon: f64,
    products: Format,
}

impl GroupNorm {
    /// Reads `weight (channels)` and `bias (channels)`. Fails when `channels` is not a multiple of `groups`.
    pub fn load(loader: &Loader, groups: usize, channels: usize, epsilon: f64) -> Result<Self> {
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::model(format!(
                "config: {channels} channels cannot be normalised in {groups} groups (`norm_num_groups`)"
            )));
        }
        let (w, b) = (
            loader.get(&[channels], "weight")?,
            loader.get(&[channels], "bias")?,
        );
        Ok(Self {
            weight: weight(&w)?,
            bias: weight(&b)?,
            groups,
            epsilon,
            products: format::of_products(loader, channels),
        })
    }

    /// `x`: `(b, ..., channels)`; gives the same shape, in the format of products: a product always comes next.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_activate(x, Activation::Identity)
    }

    /// As [`Self::forward`], then `activation`.
    pub fn forward_activate(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let channels = self.weight.len();
        check_channels(x, channels, "group norm")?;
        let (elements, pixels) = batch_and_rows(x);
        let shape = GroupNormShape {
            elements,
            pixels,
            channels,
            groups: self.groups,
            epsilon: self.epsilon,
        };
        tensor_of(
            cpu::group_norm(
                operands(x)?.numbers(),
                shape,
                &self.weight,
                &self.bias,
                activation,
                self.products,
            ),
            x.dims(),
        )
    }
}

/// Layer normalisation over the last dimension, with a weight and a bias for each channel.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f64,
    products: Format,
}

impl LayerNorm {
    /// Reads `weight (channels)` and `bias (channels)`.
    pub fn load(loader: &Loader, channels: usize, epsilon: f64) -> Result<Self> {
        let (w, b) = (
            loader.get(&[channels], "weight")?,
            loader.get(&[channels], "bias")?,
        );
        Ok(Self {
            weight: weight(&w)?,
            bias: weight(&b)?,
            epsilon,
            products: format::of_products(loader, channels),
        })
    }

    /// `x`: `(..., channels)`; gives the same shape, in the format of products.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_to(x, self.products)
    }

    /// As [`Self::forward`] in single precision: for what is a result, not the input of a product.
    pub fn forward_f32(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_to(x, Format::F32)
    }

    fn forward_to(&self, x: &Tensor, to: Format) -> Result<Tensor> {
        let channels = self.weight.len();
        check_channels(x, channels, "layer norm")?;
        tensor_of(
            cpu::layer_norm(
                &numbers(x)?,
                channels,
                self.epsilon,
                &self.weight,
                &self.bias,
                to,
            ),
            x.dims(),
        )
    }
}
