//! Layers without weights.

use candle_core::Tensor;

use super::memory::{image_dims, internal, numbers, tensor};
use super::norm::per_element;
use crate::Result;
use crate::kernels::{Activation, cpu};

/// Applies `activation` to every number of `x`, of any shape.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let mut values = numbers(x)?.to_vec();
    cpu::activate(&mut values, activation);
    tensor(values, x.dims())
}

/// `x + gate * y`, the way a block's result joins the residual stream.
///
/// `x`, `y`: `(b, n, channels)`; `gate`: `(b, channels)`.
pub fn add_gated(x: &Tensor, gate: &Tensor, y: &Tensor) -> Result<Tensor> {
    if x.dims() != y.dims() {
        return Err(internal(format!(
            "{:?} cannot be added to {:?}",
            y.dims(),
            x.dims()
        )));
    }
    let channels = x.dims().last().copied().unwrap_or(0);
    let elements = per_element(x, gate, channels)?;
    let sum = cpu::add_gated(&numbers(x)?, &numbers(gate)?, &numbers(y)?, elements);
    tensor(sum, x.dims())
}

/// `(b, h, w, c1)` and `(b, h, w, c2)` to `(b, h, w, c1 + c2)`.
pub fn concat_channels(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (batch, height, width, a_channels) = image_dims(a)?;
    let (b_batch, b_height, b_width, b_channels) = image_dims(b)?;
    if (batch, height, width) != (b_batch, b_height, b_width) {
        return Err(internal(format!(
            "images of {:?} and {:?} cannot stand side by side",
            a.dims(),
            b.dims()
        )));
    }
    let both = cpu::concat_channels(&numbers(a)?, a_channels, &numbers(b)?, b_channels);
    tensor(both, &[batch, height, width, a_channels + b_channels])
}

/// `(b, h, w, c)` as `(b, h * w, c)`; the same memory.
pub fn image_to_tokens(x: &Tensor) -> Result<Tensor> {
    let (batch, height, width, channels) = image_dims(x)?;
    Ok(x.reshape((batch, height * width, channels))?)
}

/// `(b, h * w, c)` as `(b, h, w, c)`; the same memory.
pub fn tokens_to_image(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (batch, _, channels) = x.dims3()?;
    Ok(x.reshape((batch, height, width, channels))?)
}
