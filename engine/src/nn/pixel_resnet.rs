//! The residual block of video autoencoders for a single image: norms of single pixels, so that a band of it needs no sums.
//!
//! Source: diffusers `QwenImageResidualBlock`, without the frames before.

use std::ops::Range;

use candle_core::Tensor;

use super::{BandedImage, Conv2d, Conv2dConfig, ConvExtras, Linear, PixelNorm};
use crate::Result;
use crate::checkpoint::Loader;
use crate::kernels::cpu::ImageBand;

/// Frames that the convolutions see.
const FRAMES: usize = 3;
/// Dimensions of one behind a norm's channels.
const DIMENSIONS: usize = 3;

/// `x + conv2(silu(norm2(conv1(silu(norm1(x))))))`.
#[derive(Debug, Clone)]
pub struct PixelResnet {
    first: PixelNormedConv,
    second: PixelNormedConv,
    conv_shortcut: Option<Linear>,
}

impl PixelResnet {
    /// Reads `norm1`, `conv1`, `norm2`, `conv2`, and `conv_shortcut` if channels change.
    pub fn load(loader: &Loader, in_channels: usize, out_channels: usize) -> Result<Self> {
        let shortcut = || {
            let loader = loader.pp("conv_shortcut");
            Linear::load_conv1x1x1(&loader, in_channels, out_channels)
        };
        let normed = |number: usize, from| {
            let [norm, conv] = ["norm", "conv"].map(|name| loader.pp(format!("{name}{number}")));
            PixelNormedConv::load([&norm, &conv], from, out_channels)
        };
        Ok(Self {
            first: normed(1, in_channels)?,
            second: normed(2, out_channels)?,
            conv_shortcut: (in_channels != out_channels).then(shortcut).transpose()?,
        })
    }

    /// `(h, w, in_channels)` to `(h, w, out_channels)`, with the same bits however the image is cut.
    pub fn forward(&self, mut x: BandedImage) -> Result<BandedImage> {
        let mut hidden = x.empty();
        for rows in hidden.cut() {
            hidden.push(self.first.rows(&x, &rows, None)?);
        }
        let mut result = x.empty();
        for rows in result.cut() {
            let own = x.rows(rows.clone())?;
            let residual = match &self.conv_shortcut {
                Some(conv) => conv.forward(&own)?,
                None => own,
            };
            x.forget_before(rows.end)?;
            result.push(self.second.rows(&hidden, &rows, Some(&residual))?);
            hidden.forget_before(rows.end.saturating_sub(1))?;
        }
        Ok(result)
    }
}

/// `conv(silu(norm(x)))` with a kernel of three rows.
#[derive(Debug, Clone)]
pub struct PixelNormedConv {
    norm: PixelNorm,
    conv: Conv2d,
}

impl PixelNormedConv {
    /// Reads the norm's `gamma` at the first place, the convolution at the second.
    pub fn load(
        [norm, conv]: [&Loader; 2],
        in_channels: usize,
        out_channels: usize,
    ) -> Result<Self> {
        let config = Conv2dConfig::same(in_channels, out_channels, 3);
        Ok(Self {
            norm: PixelNorm::load(norm, in_channels, DIMENSIONS)?,
            conv: Conv2d::load_last_frame(conv, config, FRAMES)?,
        })
    }

    /// `(h, w, in_channels)` to `(h, w, out_channels)`.
    pub fn forward(&self, mut x: BandedImage) -> Result<BandedImage> {
        let mut result = x.empty();
        for rows in result.cut() {
            result.push(self.rows(&x, &rows, None)?);
            x.forget_before(rows.end.saturating_sub(1))?;
        }
        Ok(result)
    }

    /// Some rows of the result: `(1, rows, w, out_channels)`. `residual`: of the same rows.
    fn rows(
        &self,
        x: &BandedImage,
        rows: &Range<usize>,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let under = x.around(rows);
        let normed = self.norm.forward_silu(&x.rows(under.clone())?)?;
        let extras = ConvExtras {
            residual,
            band: Some(ImageBand {
                first_row: under.start,
                image_height: x.size().0,
                from: rows.start,
                to: rows.end,
            }),
            ..ConvExtras::default()
        };
        self.conv.forward_with(&normed, extras)
    }
}
