//! Rectifiers that let a part of what is negative through.

use candle_core::Tensor;

use super::format;
use super::memory::{check_channels, numbers, tensor_of, weight};
use crate::Result;
use crate::checkpoint::Loader;
use crate::kernels::cpu::{self, Format};

/// Torch's `LeakyReLU`, or its `PReLU` with a slope for each channel.
#[derive(Debug, Clone)]
pub struct LeakyRelu {
    pub(super) slopes: Vec<f32>,
    /// Of the product that its result goes into.
    format: Format,
}

impl LeakyRelu {
    /// The same slope for all `channels`, before layers that `loader` loads.
    pub fn new(loader: &Loader, channels: usize, slope: f32) -> Self {
        Self {
            slopes: vec![slope; channels],
            format: format::of_products(loader, channels),
        }
    }

    /// Reads `weight (channels)`: a slope for each.
    pub fn load(loader: &Loader, channels: usize) -> Result<Self> {
        Ok(Self {
            slopes: weight(&loader.get(&[channels], "weight")?)?,
            format: format::of_products(loader, channels),
        })
    }

    /// `x`: `(…, channels)`. The result is for a product: in its format.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        check_channels(x, self.slopes.len(), "rectifier")?;
        tensor_of(
            cpu::leaky(&numbers(x)?, &self.slopes, self.format),
            x.dims(),
        )
    }
}
