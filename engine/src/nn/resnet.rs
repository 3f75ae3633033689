//! The residual block of the Stable Diffusion networks, and the layers that change the size of an image.
//!
//! Shared by the UNet and the autoencoder, which use them identically. Source: diffusers `ResnetBlock2D`,
//! `Downsample2D`, `Upsample2D`.

use std::ops::Range;

use candle_core::Tensor;

use super::banded::{NormedConv, add_sums};
use super::{
    Activation, BandedImage, Conv2d, Conv2dConfig, ConvExtras, DoublingConv2d, GroupNorm, Linear,
};
use crate::Result;
use crate::checkpoint::Loader;
use crate::kernels::cpu::{ChannelSums, ImageBand};

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

/// A residual block after its first convolution, see [`ResnetBlock2D::begin`].
pub struct BegunResnet {
    hidden: BandedImage,
    /// Of `hidden`.
    sums: ChannelSums,
    residual: BandedImage,
}

/// The block without time in two halves, band by band. Both of them together have the bits of [`ResnetBlock2D::forward`].
impl ResnetBlock2D {
    /// The first half.
    pub fn begin(&self, x: BandedImage) -> Result<BegunResnet> {
        let sums = self.norm1.sums(&x)?;
        self.begin_with(x, sums, |_, _| Ok(()))
    }

    /// The first half of the block of `by`'s enlargement of `x`, which is never there whole. `sums`: from
    /// [`Double2D::sums`].
    pub fn begin_doubled(
        &self,
        mut x: BandedImage,
        sums: ChannelSums,
        by: &Double2D,
    ) -> Result<BegunResnet> {
        let doubled = by.empty(&x);
        let mut cut = doubled.cut();
        self.begin_with(doubled, sums, |doubled, until| {
            while doubled.end_row() < until
                && let Some(rows) = cut.next()
            {
                doubled.push(by.rows(&x, &rows)?);
                x.forget_before((rows.end / 2).saturating_sub(1))?;
            }
            Ok(())
        })
    }

    /// `more`: makes `x` have rows up to a number.
    fn begin_with(
        &self,
        mut x: BandedImage,
        sums: ChannelSums,
        mut more: impl FnMut(&mut BandedImage, usize) -> Result<()>,
    ) -> Result<BegunResnet> {
        let maps = self.norm1.maps(sums);
        let layers = NormedConv {
            norm: &self.norm1,
            maps: &maps,
            conv: &self.conv1,
            for_norm: true,
        };
        let (height, width) = x.size();
        let empty = || BandedImage::new(height, width, x.band_pixels());
        let mut begun = BegunResnet {
            hidden: empty(),
            sums: ChannelSums::new(self.norm2.channels()),
            residual: empty(),
        };
        for rows in begun.hidden.cut() {
            let until = x.around(&rows).end;
            more(&mut x, until)?;
            let hidden = layers.rows(&x, &rows, None)?;
            add_sums(&mut begun.sums, &hidden)?;
            begun.hidden.push(hidden);
            let residual = x.rows(rows.clone())?;
            begun.residual.push(match &self.conv_shortcut {
                Some(conv) => conv.forward(&residual)?,
                None => residual,
            });
            x.forget_before(rows.end.saturating_sub(1))?;
        }
        Ok(begun)
    }

    /// The second half.
    pub fn end(&self, begun: BegunResnet) -> Result<BandedImage> {
        let BegunResnet {
            mut hidden,
            sums,
            mut residual,
        } = begun;
        let maps = self.norm2.maps(sums);
        let layers = NormedConv {
            norm: &self.norm2,
            maps: &maps,
            conv: &self.conv2,
            for_norm: false,
        };
        let (height, width) = hidden.size();
        let mut result = BandedImage::new(height, width, hidden.band_pixels());
        for rows in result.cut() {
            let own = residual.rows(rows.clone())?;
            residual.forget_before(rows.end)?;
            result.push(layers.rows(&hidden, &rows, Some(&own))?);
            hidden.forget_before(rows.end.saturating_sub(1))?;
        }
        Ok(result)
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

    /// As [`Self::forward`] of the image in one piece.
    pub fn forward_banded(&self, x: BandedImage) -> Result<BandedImage> {
        self.conv.forward_banded(x)
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
        Self::load_conv(&loader.pp("conv"), channels, channels)
    }

    /// Reads the convolution at `loader`'s own place, which may change the channels.
    pub fn load_conv(loader: &Loader, in_channels: usize, out_channels: usize) -> Result<Self> {
        Ok(Self {
            conv: DoublingConv2d::load(loader, in_channels, out_channels)?,
        })
    }

    /// Of a convolution that is read already.
    pub fn of(conv: DoublingConv2d) -> Self {
        Self { conv }
    }

    /// `(b, h, w, c)` to `(b, 2 h, 2 w, c)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.conv.forward(x)
    }

    /// As [`Self::forward`] of the image in one piece.
    pub fn forward_banded(&self, mut x: BandedImage) -> Result<BandedImage> {
        let mut doubled = self.empty(&x);
        for rows in doubled.cut() {
            doubled.push(self.rows(&x, &rows)?);
            x.forget_before((rows.end / 2).saturating_sub(1))?;
        }
        Ok(doubled)
    }

    /// What a norm has to know of the enlargement of `x`, which is made for that band by band and not kept.
    pub fn sums(&self, x: &BandedImage) -> Result<ChannelSums> {
        let mut sums = ChannelSums::new(self.conv.out_channels());
        for rows in self.empty(x).cut() {
            add_sums(&mut sums, &self.rows(x, &rows)?)?;
        }
        Ok(sums)
    }

    /// The enlargement of `x` before any row of it is made.
    fn empty(&self, x: &BandedImage) -> BandedImage {
        let (height, width) = x.size();
        BandedImage::new(2 * height, 2 * width, x.band_pixels())
    }

    /// Some rows of the enlargement.
    fn rows(&self, x: &BandedImage, rows: &Range<usize>) -> Result<Tensor> {
        let under = x.around(&(rows.start / 2..rows.end / 2));
        let band = ImageBand {
            first_row: under.start,
            image_height: x.size().0,
            from: rows.start,
            to: rows.end,
        };
        self.conv.forward_band(&x.rows(under)?, band)
    }
}
