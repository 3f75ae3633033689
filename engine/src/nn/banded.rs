//! Images too large to be there whole several times: kept in bands of rows, made and used up band by band.
//!
//! What is computed so has the bits that it has in one piece: a convolution is given the rows around a band, a norm the sums
//! over all of it. So nothing depends on how an image is cut, but memory does.

use std::collections::VecDeque;
use std::ops::Range;

use candle_core::Tensor;

use super::memory::{image_dims, internal, operands};
use super::{Activation, Conv2d, ConvExtras, GroupNorm};
use crate::Result;
use crate::kernels::cpu::{ChannelSums, ImageBand};

/// One image, `(height, width, channels)`, in bands of rows. Those that are not needed any more may be gone already.
#[derive(Debug, Clone)]
pub struct BandedImage {
    height: usize,
    width: usize,
    /// About how many pixels a band has.
    band_pixels: usize,
    bands: VecDeque<Tensor>, // (1, rows, width, channels)
    /// First row of the first band.
    first_row: usize,
    /// Rows up to the end of the last band.
    end_row: usize,
}

impl BandedImage {
    /// An image of which no row is there yet; `band_pixels`: about how many pixels its bands and those of images made
    /// of it shall have.
    pub(super) fn new(height: usize, width: usize, band_pixels: usize) -> Self {
        Self {
            height,
            width,
            band_pixels,
            bands: VecDeque::new(),
            first_row: 0,
            end_row: 0,
        }
    }

    /// An image of the same size, of which no row is there yet.
    pub(super) fn empty(&self) -> Self {
        Self::new(self.height, self.width, self.band_pixels)
    }

    /// `(1, height, width, channels)`, which is not copied.
    pub fn from_tensor(image: &Tensor, band_pixels: usize) -> Result<Self> {
        let (elements, height, width, _) = image_dims(image)?;
        if elements != 1 || height == 0 || width == 0 {
            return Err(internal(format!(
                "{:?} is not one image to be cut",
                image.dims()
            )));
        }
        let mut banded = Self::new(height, width, band_pixels);
        for rows in banded.cut() {
            banded.push(image.narrow(1, rows.start, rows.len())?);
        }
        Ok(banded)
    }

    /// `(1, height, width, channels)`. Fails when rows are not there.
    pub fn into_tensor(self) -> Result<Tensor> {
        self.rows(0..self.height)
    }

    /// Numbers of the image.
    pub fn count(&self) -> usize {
        let channels = self.bands.front().and_then(|band| band.dims().last());
        self.height * self.width * channels.copied().unwrap_or(0)
    }

    /// Height and width.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    pub(super) fn band_pixels(&self) -> usize {
        self.band_pixels
    }

    /// Rows that are there, counted from the first there ever was.
    pub(super) fn end_row(&self) -> usize {
        self.end_row
    }

    /// The bands from first to last.
    pub(super) fn cut(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let height = self.height;
        let rows = (self.band_pixels / self.width.max(1)).next_multiple_of(ImageBand::ROWS);
        let rows = rows.max(ImageBand::ROWS);
        (0..height)
            .step_by(rows)
            .map(move |from| from..height.min(from + rows))
    }

    /// Adds the rows that come next.
    pub(super) fn push(&mut self, band: Tensor) {
        self.end_row += band.dims().get(1).copied().unwrap_or(0);
        self.bands.push_back(band);
    }

    /// Gives up the rows before `row`. A band of which few are left is not kept for them: they are copied.
    pub(super) fn forget_before(&mut self, row: usize) -> Result<()> {
        while let Some(band) = self.bands.pop_front() {
            let rows = band.dim(1)?;
            let end = self.first_row + rows;
            if end <= row {
                self.first_row = end;
                continue;
            }
            let left = end - row.max(self.first_row);
            if left <= rows / 2 {
                self.first_row = row;
                let rest = band.narrow(1, rows - left, left)?.force_contiguous()?;
                self.bands.push_front(rest);
            } else {
                self.bands.push_front(band);
            }
            break;
        }
        Ok(())
    }

    /// Rows `from - 1` to `to + 1`, as far as there are such rows: what a kernel of three rows sees.
    pub(super) fn around(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start.saturating_sub(1)..self.height.min(rows.end + 1)
    }

    /// Some rows, in the pieces that they are kept in.
    fn pieces(&self, rows: &Range<usize>) -> Result<Vec<Tensor>> {
        if rows.start < self.first_row || rows.end > self.end_row {
            return Err(internal("rows of an image that are not there"));
        }
        let mut first = self.first_row;
        let mut pieces = Vec::new();
        for band in &self.bands {
            let end = first + band.dim(1)?;
            let (from, to) = (rows.start.max(first), rows.end.min(end));
            if from < to {
                pieces.push(band.narrow(1, from - first, to - from)?);
            }
            first = end;
        }
        Ok(pieces)
    }

    /// `(1, rows, width, channels)`; copied only when they are not all in one band.
    pub(super) fn rows(&self, rows: Range<usize>) -> Result<Tensor> {
        let pieces = self.pieces(&rows)?;
        match &pieces[..] {
            [piece] => Ok(piece.clone()),
            pieces => Ok(Tensor::cat(pieces, 1)?),
        }
    }
}

/// Adds the pixels of a band.
pub(super) fn add_sums(sums: &mut ChannelSums, band: &Tensor) -> Result<()> {
    sums.add(operands(band)?.numbers());
    Ok(())
}

impl GroupNorm {
    /// What this norm has to know of `image` before it can normalise a band of it.
    pub fn sums(&self, image: &BandedImage) -> Result<ChannelSums> {
        let mut sums = ChannelSums::new(self.channels());
        for band in &image.bands {
            self.check(band)?;
            add_sums(&mut sums, band)?;
        }
        Ok(sums)
    }
}

/// A norm, an activation and a convolution of three rows or one, band by band.
pub(super) struct NormedConv<'a> {
    pub(super) norm: &'a GroupNorm,
    /// From [`GroupNorm::maps`].
    pub(super) maps: &'a [f32],
    pub(super) conv: &'a Conv2d,
    /// As of [`ConvExtras`].
    pub(super) for_norm: bool,
}

impl NormedConv<'_> {
    /// Some rows of the result: `(1, rows, width, out_channels)`. `residual`: of the same rows.
    pub(super) fn rows(
        &self,
        x: &BandedImage,
        rows: &Range<usize>,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let under = x.around(rows);
        let pieces = x.pieces(&under)?;
        let normed = self
            .norm
            .forward_pieces(&pieces, self.maps, Activation::Silu)?;
        let extras = ConvExtras {
            residual,
            for_norm: self.for_norm,
            band: Some(ImageBand {
                first_row: under.start,
                image_height: x.height,
                from: rows.start,
                to: rows.end,
            }),
            ..ConvExtras::default()
        };
        self.conv.forward_with(&normed, extras)
    }
}

/// `conv(silu(norm(x)))`, as in one piece.
pub fn normed_conv(mut x: BandedImage, norm: &GroupNorm, conv: &Conv2d) -> Result<BandedImage> {
    let maps = norm.maps(norm.sums(&x)?);
    let layers = NormedConv {
        norm,
        maps: &maps,
        conv,
        for_norm: false,
    };
    let mut result = BandedImage::new(x.height, x.width, x.band_pixels);
    for rows in result.cut() {
        result.push(layers.rows(&x, &rows, None)?);
        x.forget_before(rows.end.saturating_sub(1))?;
    }
    Ok(result)
}

impl Conv2d {
    /// As [`Self::forward`] of the image in one piece.
    pub fn forward_banded(&self, mut x: BandedImage) -> Result<BandedImage> {
        let geometry = self.geometry();
        let mut result = BandedImage::new(
            geometry.output_size(x.height),
            geometry.output_size(x.width),
            x.band_pixels,
        );
        for rows in result.cut() {
            let first = (rows.start * geometry.stride).saturating_sub(geometry.padding_before);
            let end = (rows.end - 1) * geometry.stride + geometry.kernel;
            let under = first..x.height.min(end.saturating_sub(geometry.padding_before));
            let extras = ConvExtras {
                band: Some(ImageBand {
                    first_row: under.start,
                    image_height: x.height,
                    from: rows.start,
                    to: rows.end,
                }),
                ..ConvExtras::default()
            };
            x.forget_before(first)?;
            result.push(self.forward_with(&x.rows(under)?, extras)?);
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{Golden, noise, values};
    use crate::nn::{Conv2dConfig, Double2D, ResnetBlock2D, ResnetConfig};

    /// Widths and heights that bands do not divide, images that go through other kernels than their bands would, and
    /// one that is a single band.
    const SIZES: [(usize, usize); 4] = [(37, 45), (33, 8), (6, 7), (64, 33)];

    fn same_bits(whole: &Tensor, banded: BandedImage, what: &str) {
        let banded = banded.into_tensor().unwrap();
        assert_eq!(
            (whole.dims(), whole.dtype()),
            (banded.dims(), banded.dtype()),
            "{what}"
        );
        let bits = |tensor: &Tensor| -> Vec<u32> {
            values(tensor).into_iter().map(f32::to_bits).collect()
        };
        assert!(bits(whole) == bits(&banded), "{what}");
    }

    #[test]
    fn bands_of_convolutions_have_the_bits_of_the_whole() {
        for loader in Golden::open("", "layers").loaders() {
            for (height, width) in SIZES {
                let image = noise(3, &[1, height, width, 18]);
                let banded = |rows| BandedImage::from_tensor(&image, rows * width).unwrap();
                for (stride, padding) in [(1, (1, 1)), (2, (1, 1)), (2, (0, 1))] {
                    let config = Conv2dConfig {
                        in_channels: 18,
                        out_channels: 37,
                        kernel: 3,
                        stride,
                        padding,
                    };
                    let conv = Conv2d::load(&loader.pp("conv3"), config).unwrap();
                    let whole = conv.forward(&image).unwrap();
                    for rows in [1, 8, 12, 1000] {
                        let result = conv.forward_banded(banded(rows)).unwrap();
                        same_bits(&whole, result, &format!("{height}x{width}, {rows} rows"));
                    }
                }
            }
        }
    }

    #[test]
    fn bands_of_residual_blocks_and_enlargements_have_the_bits_of_the_whole() {
        let golden = Golden::open("sd", "vae");
        for loader in golden.loaders() {
            let blocks = loader.pp("decoder").pp("up_blocks");
            let block = |name: &str, in_channels, out_channels| {
                let config = ResnetConfig {
                    in_channels,
                    out_channels,
                    groups: 4,
                    epsilon: 1e-6,
                    time_embed_dim: None,
                };
                ResnetBlock2D::load(&blocks.pp(name).pp("resnets.0"), config).unwrap()
            };
            let upsampler = blocks.pp("0").pp("upsamplers.0");
            let channels = upsampler.shape("conv.weight").unwrap()[0];
            let narrow = blocks.pp("1.resnets.0").shape("conv1.weight").unwrap()[0];
            let (wide, narrowing) = (block("0", channels, channels), block("1", channels, narrow));
            assert!(narrow < channels, "one block with a shortcut, one without");
            let double = Double2D::load(&upsampler, channels).unwrap();
            for (height, width) in SIZES {
                let image = noise(7, &[1, height, width, channels]);
                let doubled = double.forward(&image).unwrap();
                for rows in [1, 8, 1000] {
                    let what = format!("{height}x{width}, {rows} rows");
                    let banded = || BandedImage::from_tensor(&image, rows * width).unwrap();
                    for block in [&wide, &narrowing] {
                        let whole = block.forward(&image, None).unwrap();
                        let result = block.begin(banded()).unwrap();
                        same_bits(&whole, block.end(result).unwrap(), &what);
                        let whole = block.forward(&doubled, None).unwrap();
                        let sums = double.sums(&banded()).unwrap();
                        let result = block.begin_doubled(banded(), sums, &double).unwrap();
                        same_bits(&whole, block.end(result).unwrap(), &what);
                    }
                    same_bits(&doubled, double.forward_banded(banded()).unwrap(), &what);
                }
            }
        }
    }
}
