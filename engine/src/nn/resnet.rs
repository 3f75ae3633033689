//! The residual block of the Stable Diffusion networks, and the layers that change the size of an image.
//!
//! Shared by the UNet and the autoencoder, which use them identically. Source: diffusers `ResnetBlock2D`,
//! `Downsample2D`, `Upsample2D`.

use candle_core::Tensor;

use super::{Activation, Conv2d, Conv2dConfig, ConvExtras, DoublingConv2d, GroupNorm, Linear};
use crate::Result;
use crate::checkpoint::Loader;

/// Shape of a residual block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResnetConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the result.
    pub out_channels: usize,
    /// Groups of both normalisations.
    pub groups: usize,
    /// Of both normalisations.
    pub epsilon: f64,
    /// Length of the time embedding; none when the network has no time.
    pub time_embed_dim: Option<usize>,
}

/// `x + conv2(silu(norm2(conv1(silu(norm1(x))) + time)))`.
#[derive(Debug, Clone)]
pub struct ResnetBlock2D {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Linear>,
}

impl ResnetBlock2D {
    /// Reads `norm1`, `conv1`, `norm2`, `conv2`, with time `time_emb_proj`, and `conv_shortcut` if channels change.
    pub fn load(loader: &Loader, config: ResnetConfig) -> Result<Self> {
        let ResnetConfig {
            in_channels,
            out_channels,
            groups,
            epsilon,
            time_embed_dim,
        } = config;
        let time = |dim| Linear::load(&loader.pp("time_emb_proj"), dim, out_channels);
        let shortcut =
            || Linear::load_conv1x1(&loader.pp("conv_shortcut"), in_channels, out_channels);
        Ok(Self {
            norm1: GroupNorm::load(&loader.pp("norm1"), groups, in_channels, epsilon)?,
            conv1: Conv2d::load(
                &loader.pp("conv1"),
                Conv2dConfig::same(in_channels, out_channels, 3),
            )?,
            time_emb_proj: time_embed_dim.map(time).transpose()?,
            norm2: GroupNorm::load(&loader.pp("norm2"), groups, out_channels, epsilon)?,
            conv2: Conv2d::load(
                &loader.pp("conv2"),
                Conv2dConfig::same(out_channels, out_channels, 3),
            )?,
            conv_shortcut: (in_channels != out_channels).then(shortcut).transpose()?,
        })
    }

    /// `x`: `(b, h, w, in_channels)`. `activated_time`: `(b, time_embed_dim)`, SiLU of the time embedding.
    /// Gives `(b, h, w, out_channels)`.
    pub fn forward(&self, x: &Tensor, activated_time: Option<&Tensor>) -> Result<Tensor> {
        let time = match (&self.time_emb_proj, activated_time) {
            (Some(proj), Some(time)) => Some(proj.forward(time)?), // (b, out)
            _ => None,
        };
        // Each as a part of the next: what is done with is freed at once.
        let hidden = self.conv1.forward_with(
            &self.norm1.forward_activate(x, Activation::Silu)?,
            ConvExtras {
                per_element: time.as_ref(),
                for_norm: true,
                ..Default::default()
            },
        )?;
        let activated = self.norm2.forward_activate(&hidden, Activation::Silu)?;
        drop(hidden);
        let shortcut = self
            .conv_shortcut
            .as_ref()
            .map(|conv| conv.forward(x))
            .transpose()?;
        let residual = Some(shortcut.as_ref().unwrap_or(x));
        self.conv2.forward_with(
            &activated,
            ConvExtras {
                residual,
                ..Default::default()
            },
        )
    }
}

/// Halves height and width by a convolution of stride 2.
#[derive(Debug, Clone)]
pub struct Downsample2D {
    conv: Conv2d,
}

impl Downsample2D {
    /// Reads `conv`. `padding`: 1 pads every side; 0 pads one pixel below and right only, as diffusers does.
    pub fn load(loader: &Loader, channels: usize, padding: usize) -> Result<Self> {
        let padding = if padding == 0 {
            (0, 1)
        } else {
            (padding, padding)
        };
        let config = Conv2dConfig {
            in_channels: channels,
            out_channels: channels,
            kernel: 3,
            stride: 2,
            padding,
        };
        Ok(Self {
            conv: Conv2d::load(&loader.pp("conv"), config)?,
        })
    }

    /// `(b, h, w, c)` to `(b, h / 2, w / 2, c)`, rounded up with padding 1 and down with padding 0.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.conv.forward(x)
    }
}

/// Enlarges to any size by repeating pixels, then a convolution.
#[derive(Debug, Clone)]
pub struct Upsample2D {
    conv: Conv2d,
}

impl Upsample2D {
    /// Reads `conv`.
    pub fn load(loader: &Loader, channels: usize) -> Result<Self> {
        Ok(Self {
            conv: Conv2d::load(
                &loader.pp("conv"),
                Conv2dConfig::same(channels, channels, 3),
            )?,
        })
    }

    /// `(b, h, w, c)` to `(b, height, width, c)` for `size = (height, width)`.
    pub fn forward(&self, x: &Tensor, size: (usize, usize)) -> Result<Tensor> {
        self.conv.forward_with(
            x,
            ConvExtras {
                resized_to: Some(size),
                ..Default::default()
            },
        )
    }
}

/// As [`Upsample2D`] to twice the height and width, in less than half of the arithmetic.
#[derive(Debug, Clone)]
pub struct Double2D {
    conv: DoublingConv2d,
}

impl Double2D {
    /// Reads `conv`.
    pub fn load(loader: &Loader, channels: usize) -> Result<Self> {
        Ok(Self {
            conv: DoublingConv2d::load(&loader.pp("conv"), channels, channels)?,
        })
    }

    /// `(b, h, w, c)` to `(b, 2 h, 2 w, c)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.conv.forward(x)
    }
}
