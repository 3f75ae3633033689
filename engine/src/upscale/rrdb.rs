//! RRDBNet: ESRGAN's and Real-ESRGAN's network of residual dense blocks.
//!
//! Source: BasicSR `RRDBNet`; Wang and others 2018, "ESRGAN"; 2021, "Real-ESRGAN".

use candle_core::Tensor;

use super::kind::RrdbSizes;
use super::window::Window;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{
    Conv2d, Conv2dConfig, DenseFormat, DenseImage, DoublingConv2d, LeakyRelu, add_gated,
};

/// The slope of every rectifier.
const SLOPE: f32 = 0.2;
/// How much a block's result counts against what it was given.
const SHARE: f32 = 0.2;
/// Pixels before the doublings that the layers from there on see on each side, and one more.
pub(super) const TAIL_SEES_PX: usize = 3;
/// Rows before the doublings that go through them at once.
pub(super) const TAIL_ROWS: usize = 64;

/// The network.
pub(super) struct Rrdb {
    sizes: RrdbSizes,
    format: DenseFormat,
    conv_first: Conv2d,
    body: Vec<[DenseBlock; 3]>,
    conv_body: Conv2d,
    doublings: Vec<DoublingConv2d>,
    conv_hr: Conv2d,
    conv_last: Conv2d,
    rectifier: LeakyRelu,
    /// `(1, features)`
    share: Tensor,
}

/// Five convolutions, each of which sees what all before it made.
struct DenseBlock {
    growing: Vec<Conv2d>,
    last: Conv2d,
    rectifier: LeakyRelu,
}

impl Rrdb {
    /// Reads the tensors under BasicSR's names.
    pub(super) fn load(loader: &Loader, sizes: RrdbSizes) -> Result<Self> {
        let RrdbSizes {
            features,
            unshuffle,
            doublings,
            ..
        } = sizes;
        let conv =
            |name: &str, from, to| Conv2d::load(&loader.pp(name), Conv2dConfig::same(from, to, 3));
        let block = |block: usize, dense: usize| {
            let place = loader.pp("body").pp(block).pp(format!("rdb{dense}"));
            DenseBlock::load(&place, sizes)
        };
        Ok(Self {
            sizes,
            format: DenseFormat::of(loader, features),
            conv_first: conv("conv_first", 3 * unshuffle * unshuffle, features)?,
            body: (0..sizes.blocks)
                .map(|at| Ok([block(at, 1)?, block(at, 2)?, block(at, 3)?]))
                .collect::<Result<_>>()?,
            conv_body: conv("conv_body", features, features)?,
            doublings: (1..=doublings)
                .map(|number| {
                    let place = loader.pp(format!("conv_up{number}"));
                    DoublingConv2d::load(&place, features, features)
                })
                .collect::<Result<_>>()?,
            conv_hr: conv("conv_hr", features, features)?,
            conv_last: conv("conv_last", features, 3)?,
            rectifier: LeakyRelu::new(loader, features, SLOPE),
            share: Tensor::full(SHARE, (1, features), loader.device())?,
        })
    }

    /// `picture`: `(1, h, w, 3 * unshuffle²)`, pixels put together; `kept`: the part of them whose enlargement is wanted.
    ///
    /// Gives `(1, kept height * 2^doublings, kept width * 2^doublings, 3)`.
    pub(super) fn forward(&self, picture: &Tensor, kept: &Window) -> Result<Tensor> {
        let (_, height, width, _) = picture.dims4()?;
        let first = self.conv_first.forward(picture)?; // (1, h, w, features)
        let room = self.sizes.features + 4 * self.sizes.growth;
        let mut dense = DenseImage::new(self.format, (height, width), room);
        let mut hidden = first.clone();
        for [one, two, three] in &self.body {
            let inner = one.forward(&hidden, &self.share, &mut dense)?;
            let inner = two.forward(&inner, &self.share, &mut dense)?;
            let inner = three.forward(&inner, &self.share, &mut dense)?;
            hidden = add_gated(&hidden, &self.share, &inner)?;
        }
        drop(dense);
        let hidden = (self.conv_body.forward(&hidden)? + first)?;
        // The rest sees a few pixels only, and has the largest images.
        let strips: Vec<Tensor> = kept
            .strips(TAIL_ROWS)
            .map(|strip| self.tail(&hidden, &strip))
            .collect::<Result<_>>()?;
        Ok(Tensor::cat(&strips, 1)?)
    }

    /// What becomes of a part of the body's result: `(1, kept height * 2^doublings, kept width * 2^doublings, 3)`.
    fn tail(&self, hidden: &Tensor, kept: &Window) -> Result<Tensor> {
        let (_, height, width, _) = hidden.dims4()?;
        let seen = kept.grown(TAIL_SEES_PX, (height, width));
        let mut hidden = seen.cut(hidden)?;
        for doubling in &self.doublings {
            let doubled = doubling.forward(&hidden)?; // (1, 2 h, 2 w, features)
            hidden = self.rectifier.forward(&doubled)?;
        }
        let hidden = self.rectifier.forward(&self.conv_hr.forward(&hidden)?)?;
        let picture = self.conv_last.forward(&hidden)?; // (1, h', w', 3)
        kept.within(&seen)
            .times(1 << self.sizes.doublings)
            .cut(&picture)
    }
}

impl DenseBlock {
    fn load(loader: &Loader, sizes: RrdbSizes) -> Result<Self> {
        let RrdbSizes {
            features, growth, ..
        } = sizes;
        let conv = |number: usize, to| {
            let from = features + (number - 1) * growth;
            let place = loader.pp(format!("conv{number}"));
            Conv2d::load(&place, Conv2dConfig::same(from, to, 3))
        };
        Ok(Self {
            growing: (1..=4)
                .map(|number| conv(number, growth))
                .collect::<Result<_>>()?,
            last: conv(5, features)?,
            rectifier: LeakyRelu::new(loader, growth, SLOPE),
        })
    }

    /// `x`: `(1, h, w, features)`; `dense`: room for this, whatever is in it.
    fn forward(&self, x: &Tensor, share: &Tensor, dense: &mut DenseImage) -> Result<Tensor> {
        dense.begin(x)?;
        for conv in &self.growing {
            let grown = dense.convolve(conv)?; // (1, h, w, growth)
            dense.append(&grown, &self.rectifier)?;
        }
        add_gated(x, share, &dense.convolve(&self.last)?)
    }
}
