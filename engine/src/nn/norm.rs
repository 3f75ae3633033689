//! Normalisation layers.

use candle_core::Tensor;

use super::format;
use super::memory::{
    batch_and_rows, check_channels, internal, numbers, operands, tensor_of, weight,
};
use crate::checkpoint::Loader;
use crate::kernels::Activation;
use crate::kernels::cpu::{self, ChannelSums, Format, GroupNormShape, RowNorm, RowScales};
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

impl GroupNorm {
    pub(super) fn channels(&self) -> usize {
        self.weight.len()
    }

    pub(super) fn check(&self, x: &Tensor) -> Result<()> {
        check_channels(x, self.channels(), "group norm")
    }

    /// What normalises an image of these sums, for [`Self::forward_pieces`].
    pub(super) fn maps(&self, sums: ChannelSums) -> Vec<f32> {
        sums.maps(self.groups, self.epsilon, &self.weight, &self.bias)
    }

    /// Rows of one image, given in pieces `(1, rows, w, channels)`, normalised by `maps`, then activated: in one piece and
    /// in the format of products.
    pub(super) fn forward_pieces(
        &self,
        pieces: &[Tensor],
        maps: &[f32],
        activation: Activation,
    ) -> Result<Tensor> {
        let first = pieces
            .first()
            .ok_or_else(|| internal("a norm of no rows"))?;
        let (_, _, width, channels) = first.dims4()?;
        let mut rows = 0;
        for piece in pieces {
            self.check(piece)?;
            rows += piece.dim(1)?;
        }
        let numbers = pieces.iter().map(operands).collect::<Result<Vec<_>>>()?;
        let numbers: Vec<_> = numbers.iter().map(|numbers| numbers.numbers()).collect();
        tensor_of(
            cpu::map_channels(&numbers, maps, activation, self.products),
            &[1, rows, width, channels],
        )
    }
}

/// A normalisation of each token over its channels, with a weight and, for some, a bias for each channel.
#[derive(Debug, Clone)]
struct TokenNorm {
    norm: RowNorm,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    epsilon: f64,
    products: Format,
}

impl TokenNorm {
    fn forward(&self, x: &Tensor, to: Format) -> Result<Tensor> {
        self.run(x, self.norm, to)
    }

    fn run(&self, x: &Tensor, norm: RowNorm, to: Format) -> Result<Tensor> {
        let channels = self.weight.len();
        check_channels(x, channels, "norm")?;
        let scales = RowScales {
            weight: &self.weight,
            bias: self.bias.as_deref(),
        };
        let sizes = [1, channels];
        let x_numbers = numbers(x)?;
        tensor_of(
            cpu::norm_rows(&x_numbers, sizes, norm, self.epsilon, scales, to),
            x.dims(),
        )
    }
}

/// Layer normalisation over the last dimension, with a weight and a bias for each channel.
#[derive(Debug, Clone)]
pub struct LayerNorm(TokenNorm);

impl LayerNorm {
    /// Reads `weight (channels)` and `bias (channels)`.
    pub fn load(loader: &Loader, channels: usize, epsilon: f64) -> Result<Self> {
        Ok(Self(TokenNorm {
            norm: RowNorm::Layer,
            weight: weight(&loader.get(&[channels], "weight")?)?,
            bias: Some(weight(&loader.get(&[channels], "bias")?)?),
            epsilon,
            products: format::of_products(loader, channels),
        }))
    }

    /// `x`: `(..., channels)`; gives the same shape, in the format of products.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(x, self.0.products)
    }

    /// As [`Self::forward`] in single precision: for what is a result, not the input of a product.
    pub fn forward_f32(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(x, Format::F32)
    }
}

/// Root mean square normalisation over the last dimension, with a weight for each channel (Zhang and Sennrich 2019).
#[derive(Debug, Clone)]
pub struct RmsNorm(TokenNorm);

impl RmsNorm {
    /// Reads `weight (channels)`.
    pub fn load(loader: &Loader, channels: usize, epsilon: f64) -> Result<Self> {
        Ok(Self(TokenNorm {
            norm: RowNorm::Rms,
            weight: weight(&loader.get(&[channels], "weight")?)?,
            bias: None,
            epsilon,
            products: format::of_products(loader, channels),
        }))
    }

    /// `x`: `(..., channels)`; gives the same shape, in the format of products.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(x, self.0.products)
    }

    /// As [`Self::forward`] in single precision: for what is a result, not the input of a product.
    pub fn forward_f32(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(x, Format::F32)
    }

    /// As [`Self::forward`], then multiplied by `1 + scale`; `x`: `(b, n, channels)`, `scale`: `(b, channels)`.
    pub fn forward_scaled(&self, x: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let channels = self.0.weight.len();
        check_channels(x, channels, "norm")?;
        let elements = per_element(x, scale, channels)?;
        let weight: Vec<f32> = numbers(scale)?
            .iter()
            .zip(self.0.weight.iter().cycle())
            .map(|(scale, weight)| weight * (1.0 + scale))
            .collect();
        let scales = RowScales {
            weight: &weight,
            bias: None,
        };
        let x_numbers = numbers(x)?;
        let sizes = [elements, channels];
        let (epsilon, to) = (self.0.epsilon, self.0.products);
        tensor_of(
            cpu::norm_rows(&x_numbers, sizes, RowNorm::Rms, epsilon, scales, to),
            x.dims(),
        )
    }
}

/// Normalisation of each pixel's channels to mean square 1, with a weight for each channel, and nothing that keeps the smallest
/// from being enlarged. Source: diffusers `QwenImageRMS_norm`.
#[derive(Debug, Clone)]
pub struct PixelNorm(TokenNorm);

/// Added to a pixel's mean square: what is divided by is never 0. The reference has a least length of 1e-12.
const PIXEL_EPSILON: f64 = 1e-26;

impl PixelNorm {
    /// Reads `gamma (channels, 1, …)`; `dimensions`: how many dimensions of one follow.
    pub fn load(loader: &Loader, channels: usize, dimensions: usize) -> Result<Self> {
        let mut shape = vec![channels];
        shape.resize(1 + dimensions, 1);
        let gamma = loader.get(&shape, "gamma")?;
        Ok(Self(TokenNorm {
            norm: RowNorm::Rms,
            weight: weight(&gamma)?,
            bias: None,
            epsilon: PIXEL_EPSILON,
            products: format::of_products(loader, channels),
        }))
    }

    /// `x`: `(b, ..., channels)`; gives the same shape, in the format of products.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(x, self.0.products)
    }

    /// As [`Self::forward`], then SiLU.
    pub fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        self.0.run(x, RowNorm::RmsSilu, self.0.products)
    }
}

/// Layer normalisation without weights of its own, whose scale and shift come from the timestep (adaLN, Peebles and Xie
/// 2022).
#[derive(Debug, Clone)]
pub struct AdaLayerNorm {
    channels: usize,
    epsilon: f64,
    products: Format,
}

impl AdaLayerNorm {
    /// For `channels` channels; `loader` says what products are made of.
    pub fn new(loader: &Loader, channels: usize, epsilon: f64) -> Self {
        Self {
            channels,
            epsilon,
            products: format::of_products(loader, channels),
        }
    }

    /// `norm(x) * (1 + scale) + shift`, in the format of products.
    ///
    /// `x`: `(b, n, channels)`; `scale`, `shift`: `(b, channels)`.
    pub fn forward(&self, x: &Tensor, scale: &Tensor, shift: Option<&Tensor>) -> Result<Tensor> {
        let channels = self.channels;
        check_channels(x, channels, "norm")?;
        let elements = per_element(x, scale, channels)?;
        let weight: Vec<f32> = numbers(scale)?.iter().map(|scale| 1.0 + scale).collect();
        let shift = match shift {
            Some(shift) => {
                per_element(x, shift, channels)?;
                Some(numbers(shift)?)
            }
            None => None,
        };
        let scales = RowScales {
            weight: &weight,
            bias: shift.as_deref(),
        };
        let x_numbers = numbers(x)?;
        let sizes = [elements, channels];
        let (epsilon, to) = (self.epsilon, self.products);
        tensor_of(
            cpu::norm_rows(&x_numbers, sizes, RowNorm::Layer, epsilon, scales, to),
            x.dims(),
        )
    }
}

/// Checks that `of` has `channels` numbers for each element of `x`; gives the number of elements.
pub(super) fn per_element(x: &Tensor, of: &Tensor, channels: usize) -> Result<usize> {
    let elements = x.dims().first().copied().unwrap_or(1);
    if of.dims() == [elements, channels] {
        return Ok(elements);
    }
    Err(internal(format!(
        "a modulation of {:?} does not fit tokens of {:?}",
        of.dims(),
        x.dims()
    )))
}
