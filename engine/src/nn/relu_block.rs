//! The residual block of the tiny autoencoders: three convolutions with a ReLU behind each.
//!
//! Sources: diffusers `AutoencoderTinyBlock`; `Block` of the authors' `taesd.py`, which has the sum over the whole image.

use std::ops::Range;

use candle_core::Tensor;

use super::{
    Activation, BandedImage, Conv2d, Conv2dConfig, ConvExtras, GroupNorm, Linear, LinearExtras,
    activate,
};
use crate::Result;
use crate::checkpoint::Loader;
use crate::kernels::cpu::ImageBand;

/// Of the norm that some blocks begin with.
const GROUPS: usize = 4;
const EPSILON: f64 = 1e-5;

/// `relu(y + conv_4(relu(conv_2(relu(conv_0(y))))))`, with `y` the input, to which some blocks add what a norm over the
/// whole image saw of it.
#[derive(Debug, Clone)]
pub struct ReluBlock2D {
    pool: Option<Pool>,
    convs: [Conv2d; 3],
}

impl ReluBlock2D {
    /// Reads `conv.0`, `conv.2`, `conv.4` and, if asked for, `pool`.
    pub fn load(loader: &Loader, channels: usize, pooled: bool) -> Result<Self> {
        let conv = |name: &str| {
            let config = Conv2dConfig::same(channels, channels, 3);
            Conv2d::load(&loader.pp("conv").pp(name), config)
        };
        let pool = || Pool::load(&loader.pp("pool"), channels);
        Ok(Self {
            pool: pooled.then(pool).transpose()?,
            convs: [conv("0")?, conv("2")?, conv("4")?],
        })
    }

    /// `(h, w, channels)` to the same. A convolution makes the rows that the next one asks for: besides input and result
    /// there are some bands.
    pub fn forward_banded(&self, mut x: BandedImage) -> Result<BandedImage> {
        if let Some(pool) = &self.pool {
            let band_pixels = x.band_pixels();
            x = BandedImage::from_tensor(&pool.forward(&x.into_tensor()?)?, band_pixels)?;
        }
        let (height, width) = x.size();
        let empty = || BandedImage::new(height, width, x.band_pixels());
        let (mut first, mut second, mut result) = (empty(), empty(), empty());
        let (mut first_cut, mut second_cut) = (first.cut(), second.cut());
        let [conv_0, conv_2, conv_4] = &self.convs;
        for rows in result.cut() {
            let wanted = second.around(&rows).end;
            while second.end_row() < wanted
                && let Some(rows) = second_cut.next()
            {
                let wanted = first.around(&rows).end;
                while first.end_row() < wanted
                    && let Some(rows) = first_cut.next()
                {
                    let band = conv_rows(conv_0, &x, &rows, None)?;
                    first.push(activate(&band, Activation::Relu)?);
                }
                let band = conv_rows(conv_2, &first, &rows, None)?;
                second.push(activate(&band, Activation::Relu)?);
                first.forget_before(rows.end.saturating_sub(1))?;
            }
            let residual = x.rows(rows.clone())?;
            let band = conv_rows(conv_4, &second, &rows, Some(&residual))?;
            result.push(activate(&band, Activation::Relu)?);
            drop(residual);
            second.forget_before(rows.end.saturating_sub(1))?;
            x.forget_before(rows.end.min(first.end_row().saturating_sub(1)))?;
        }
        Ok(result)
    }
}

/// Some rows of `conv`'s result, which has the size of `x`. `residual`: of the same rows.
fn conv_rows(
    conv: &Conv2d,
    x: &BandedImage,
    rows: &Range<usize>,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let under = x.around(rows);
    let band = ImageBand {
        first_row: under.start,
        image_height: x.size().0,
        from: rows.start,
        to: rows.end,
    };
    let residual = residual.map(Tensor::contiguous).transpose()?;
    let extras = ConvExtras {
        residual: residual.as_ref(),
        band: Some(band),
        ..ConvExtras::default()
    };
    conv.forward_with(&x.rows(under)?, extras)
}

/// `activation` of every number, band by band.
pub fn activate_banded(mut x: BandedImage, activation: Activation) -> Result<BandedImage> {
    let (height, width) = x.size();
    let mut result = BandedImage::new(height, width, x.band_pixels());
    for rows in result.cut() {
        let end = rows.end;
        result.push(activate(&x.rows(rows)?.contiguous()?, activation)?);
        x.forget_before(end)?;
    }
    Ok(result)
}

/// `x + linear_3(relu(norm_1(linear_0(x))))`, pixel by pixel but for the norm.
#[derive(Debug, Clone)]
struct Pool {
    linear_0: Linear,
    norm_1: GroupNorm,
    linear_3: Linear,
}

impl Pool {
    fn load(loader: &Loader, channels: usize) -> Result<Self> {
        let wide = channels * GROUPS;
        Ok(Self {
            linear_0: Linear::load_no_bias(&loader.pp("0"), channels, wide)?,
            norm_1: GroupNorm::load(&loader.pp("1"), GROUPS, wide, EPSILON)?,
            linear_3: Linear::load_no_bias(&loader.pp("3"), wide, channels)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let wide = self.linear_0.forward(x)?; // (1, h, w, 4 * channels)
        let seen = self.norm_1.forward_activate(&wide, Activation::Relu)?;
        let extras = LinearExtras {
            residual: Some(x),
            ..LinearExtras::NONE
        };
        self.linear_3.forward_with(&seen, extras)
    }
}
