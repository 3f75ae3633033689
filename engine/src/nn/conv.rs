//! Convolution over images.

use candle_core::Tensor;

use super::memory::{
    check_channels, image_dims, internal, numbers, operands, tensor, tensor_of, weight,
};
use super::{adapters, format};
use crate::Result;
use crate::checkpoint::{Held, LayerId, Loader};
use crate::kernels::Activation;
use crate::kernels::cpu::{
    self, ConvGeometry, ConvInput, Extras, Format, ImageBand, Numbers, Panels,
};

/// Shape of a convolution with a square kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the result.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Step in both directions, at least 1.
    pub stride: usize,
    /// Zeros above and left, and below and right of the image.
    pub padding: (usize, usize),
}

impl Conv2dConfig {
    /// A kernel of odd size that keeps height and width.
    pub fn same(in_channels: usize, out_channels: usize, kernel: usize) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel,
            stride: 1,
            padding: (kernel / 2, kernel / 2),
        }
    }
}

/// What goes into a convolution beside its input.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConvExtras<'a> {
    /// The input is first enlarged (or reduced) to this height and width by repeating its nearest pixels.
    pub resized_to: Option<(usize, usize)>,
    /// The input is some rows of the image, the result likewise. Not with `resized_to`.
    pub band: Option<ImageBand>,
    /// `(b, out_channels)`, added to every pixel of the element.
    pub per_element: Option<&'a Tensor>,
    /// Added at last; the shape of the result.
    pub residual: Option<&'a Tensor>,
    /// Only a norm reads the result, for the next product: it is kept in the format of products, half the memory.
    pub for_norm: bool,
}

/// A two-dimensional convolution with bias.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Panels,
    bias: Vec<f32>,
    config: Conv2dConfig,
    /// What adapters know it by.
    layer: Option<LayerId>,
}

fn bias_or_zeros(loader: &Loader, channels: usize, bias: bool) -> Result<Vec<f32>> {
    if bias {
        return weight(&loader.get(&[channels], "bias")?);
    }
    Ok(vec![0.0; channels])
}

/// Notes a convolution for adapters.
fn note(loader: &Loader, rows: usize, channels: usize, kernel: usize) -> Option<LayerId> {
    let layers = loader.layers()?;
    let depth = channels * kernel * kernel;
    Some(layers.add(Held {
        parts: vec![loader.part((rows, depth), 0..rows, 0..depth, 0)],
        rows,
        channels,
        kernel,
        is_gated: false,
        precision: loader.precision(),
    }))
}

impl Conv2d {
    /// Reads `weight (out_channels, in_channels, kernel, kernel)` and `bias (out_channels)`.
    pub fn load(loader: &Loader, config: Conv2dConfig) -> Result<Self> {
        Self::load_with(loader, config, true)
    }

    /// As [`Self::load`]; without `bias`, nothing is added.
    pub fn load_with(loader: &Loader, config: Conv2dConfig, bias: bool) -> Result<Self> {
        let Conv2dConfig {
            in_channels,
            out_channels,
            kernel,
            ..
        } = config;
        let numbers = weight(&loader.get(&[out_channels, in_channels, kernel, kernel], "weight")?)?;
        Self::of_numbers(loader, config, &numbers, bias)
    }

    /// Reads a convolution over time as well, `weight (out_channels, in_channels, frames, kernel, kernel)`, which sees the frames
    /// before one and no later ones: of a single image it sees that with its last frame, and nothing with the others.
    pub fn load_last_frame(loader: &Loader, config: Conv2dConfig, frames: usize) -> Result<Self> {
        let Conv2dConfig {
            in_channels,
            out_channels,
            kernel,
            ..
        } = config;
        let shape = [out_channels, in_channels, frames, kernel, kernel];
        let all = loader.get(&shape, "weight")?;
        let last = all.narrow(2, frames.saturating_sub(1), 1)?;
        Self::of_numbers(loader, config, &weight(&last)?, true)
    }

    /// `numbers`: `(out_channels, in_channels, kernel, kernel)`. Reads the bias, if there is one.
    fn of_numbers(
        loader: &Loader,
        config: Conv2dConfig,
        numbers: &[f32],
        bias: bool,
    ) -> Result<Self> {
        let Conv2dConfig {
            in_channels,
            out_channels,
            kernel,
            ..
        } = config;
        let bias = bias_or_zeros(loader, out_channels, bias)?;
        Ok(Self {
            weight: Panels::from_conv2d(
                numbers,
                out_channels,
                in_channels,
                kernel,
                format::of_products(loader, in_channels),
            ),
            bias,
            config,
            layer: note(loader, out_channels, in_channels, kernel),
        })
    }

    pub(super) fn in_channels(&self) -> usize {
        self.config.in_channels
    }

    pub(super) fn geometry(&self) -> ConvGeometry {
        ConvGeometry {
            kernel: self.config.kernel,
            stride: self.config.stride,
            padding_before: self.config.padding.0,
            padding_after: self.config.padding.1,
        }
    }

    /// The convolution of an image of which it sees the first `in_channels` of `pixel` numbers: `(1, h', w', out_channels)`.
    pub(super) fn forward_first(
        &self,
        image: Numbers<'_>,
        (height, width): (usize, usize),
        pixel: usize,
    ) -> Result<Tensor> {
        let channels = self.config.in_channels;
        let geometry = self.geometry();
        let (to_height, to_width) = (geometry.output_size(height), geometry.output_size(width));
        if channels > pixel || to_height == 0 || to_width == 0 {
            return Err(internal(format!(
                "an image of {height}x{width}x{pixel} is too small for its convolution"
            )));
        }
        let input = ConvInput {
            numbers: image,
            elements: 1,
            height,
            width,
            channels,
            pixel,
            seen_as: (height, width),
            band: None,
        };
        let extras = Extras {
            bias: Some(&self.bias),
            ..Extras::NONE
        };
        tensor_of(
            cpu::conv2d(&input, geometry, &self.weight, &extras, Format::F32),
            &[1, to_height, to_width, self.config.out_channels],
        )
    }

    /// `x`: `(b, h, w, in_channels)`; gives `(b, h', w', out_channels)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, ConvExtras::default())
    }

    /// As [`Self::forward`], with what `extras` says.
    pub fn forward_with(&self, x: &Tensor, extras: ConvExtras<'_>) -> Result<Tensor> {
        let Conv2dConfig {
            in_channels,
            out_channels,
            ..
        } = self.config;
        check_channels(x, in_channels, "convolution")?;
        let (elements, height, width, channels) = image_dims(x)?;
        let image_height = extras.band.map_or(height, |band| band.image_height);
        let seen_as = extras.resized_to.unwrap_or((image_height, width));
        let geometry = self.geometry();
        let (to_height, to_width) = (
            geometry.output_size(seen_as.0),
            geometry.output_size(seen_as.1),
        );
        let to_height = extras.band.map_or(to_height, |band| band.to - band.from);
        let dims = [elements, to_height, to_width, out_channels];
        if elements == 0 || height == 0 || width == 0 || to_height == 0 || to_width == 0 {
            return Err(internal(format!(
                "an image of {:?} is too small for its convolution",
                x.dims()
            )));
        }
        for (extra, wanted) in [
            (extras.per_element, &[elements, out_channels][..]),
            (extras.residual, &dims[..]),
        ] {
            if let Some(extra) = extra.filter(|extra| extra.dims() != wanted) {
                return Err(internal(format!(
                    "{:?} cannot be added to a convolution's {dims:?}",
                    extra.dims()
                )));
            }
        }
        let (per_element, residual) = (
            extras.per_element.map(numbers).transpose()?,
            extras.residual.map(numbers).transpose()?,
        );
        let to = if extras.for_norm {
            self.weight.format()
        } else {
            Format::F32
        };
        let x = operands(x)?;
        let input = ConvInput {
            numbers: x.numbers(),
            elements,
            height,
            width,
            channels,
            pixel: channels,
            seen_as,
            band: extras.band,
        };
        let residual = residual.as_deref();
        let sum =
            added(self.layer, extras.band)?.map(|added| added.to_image(&input, geometry, residual));
        let extras = Extras {
            bias: Some(&self.bias),
            element_bias: per_element.as_deref(),
            activation: Activation::Identity,
            residual: sum.as_deref().or(residual),
        };
        tensor_of(
            cpu::conv2d(&input, geometry, &self.weight, &extras, to),
            &dims,
        )
    }
}

/// What adapters add to `layer`. Only networks that see whole images have any.
fn added(layer: Option<LayerId>, band: Option<ImageBand>) -> Result<Option<adapters::Added>> {
    let added = adapters::added(layer);
    if added.is_some() && band.is_some() {
        return Err(internal("adapters change layers of whole images alone"));
    }
    Ok(added)
}

/// A 3x3 convolution with bias of an image at twice its height and width, each pixel repeated.
#[derive(Debug, Clone)]
pub struct DoublingConv2d {
    weights: [Panels; 4],
    bias: Vec<f32>,
    in_channels: usize,
    /// What adapters know it by.
    layer: Option<LayerId>,
}

impl DoublingConv2d {
    /// Reads `weight (out_channels, in_channels, 3, 3)` and `bias (out_channels)`.
    pub fn load(loader: &Loader, in_channels: usize, out_channels: usize) -> Result<Self> {
        Self::load_with(loader, in_channels, out_channels, true)
    }

    /// As [`Self::load`]; without `bias`, nothing is added.
    pub fn load_with(
        loader: &Loader,
        in_channels: usize,
        out_channels: usize,
        bias: bool,
    ) -> Result<Self> {
        let bias = bias_or_zeros(loader, out_channels, bias)?;
        let numbers = weight(&loader.get(&[out_channels, in_channels, 3, 3], "weight")?)?;
        let format = format::of_products(loader, in_channels);
        Ok(Self {
            weights: cpu::double_weights(&numbers, out_channels, in_channels, format),
            bias,
            in_channels,
            layer: note(loader, out_channels, in_channels, 3),
        })
    }

    /// `x`: `(b, h, w, in_channels)`; gives `(b, 2 h, 2 w, out_channels)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.run(x, None)
    }

    pub(super) fn out_channels(&self) -> usize {
        self.bias.len()
    }

    /// Some rows of [`Self::forward`]'s result from those of the image that are in `x`.
    pub(super) fn forward_band(&self, x: &Tensor, band: ImageBand) -> Result<Tensor> {
        self.run(x, Some(band))
    }

    fn run(&self, x: &Tensor, band: Option<ImageBand>) -> Result<Tensor> {
        check_channels(x, self.in_channels, "convolution")?;
        let (elements, height, width, channels) = image_dims(x)?;
        let image_height = band.map_or(height, |band| band.image_height);
        let to_height = band.map_or(2 * height, |band| band.to - band.from);
        if elements == 0 || height == 0 || width == 0 {
            return Err(internal("an image without pixels cannot be doubled"));
        }
        let x = operands(x)?;
        let input = ConvInput {
            numbers: x.numbers(),
            elements,
            height,
            width,
            channels,
            pixel: channels,
            seen_as: (2 * image_height, 2 * width),
            band,
        };
        let geometry = ConvGeometry {
            kernel: 3,
            stride: 1,
            padding_before: 1,
            padding_after: 1,
        };
        let sum = added(self.layer, band)?.map(|added| added.to_image(&input, geometry, None));
        let extras = Extras {
            bias: Some(&self.bias),
            residual: sum.as_deref(),
            ..Extras::NONE
        };
        tensor(
            cpu::conv2d_doubled(&input, &self.weights, &extras),
            &[elements, to_height, 2 * width, self.bias.len()],
        )
    }
}
