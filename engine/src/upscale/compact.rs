//! SRVGGNetCompact: a plain row of convolutions at the picture's own size, whose last makes all pixels that one becomes.
//!
//! Source: BasicSR `SRVGGNetCompact`.

use candle_core::Tensor;

use super::kind::CompactSizes;
use super::window::Window;
use crate::Result;
use crate::checkpoint::Loader;
use crate::nn::{Conv2d, Conv2dConfig, LeakyRelu};

/// The network.
pub(super) struct Compact {
    /// The first convolution and those between, each with its rectifier.
    body: Vec<(Conv2d, LeakyRelu)>,
    last: Conv2d,
    scale: usize,
}

impl Compact {
    /// Reads the tensors `body.0` to `body.N`.
    pub(super) fn load(loader: &Loader, sizes: CompactSizes) -> Result<Self> {
        let CompactSizes {
            features,
            convs,
            scale,
        } = sizes;
        let body = loader.pp("body");
        let conv =
            |at: usize, from, to| Conv2d::load(&body.pp(at), Conv2dConfig::same(from, to, 3));
        let pair = |number: usize| {
            let from = if number == 0 { 3 } else { features };
            let rectifier = LeakyRelu::load(&body.pp(2 * number + 1), features)?;
            Ok((conv(2 * number, from, features)?, rectifier))
        };
        Ok(Self {
            body: (0..=convs).map(pair).collect::<Result<_>>()?,
            last: conv(2 * (convs + 1), features, 3 * scale * scale)?,
            scale,
        })
    }

    /// `picture`: `(1, h, w, 3)`; `kept`: the part of it whose enlargement is wanted.
    ///
    /// Gives `(1, kept height * scale, kept width * scale, 3)`.
    pub(super) fn forward(&self, picture: &Tensor, kept: &Window) -> Result<Tensor> {
        let mut hidden = picture.clone();
        for (conv, rectifier) in &self.body {
            hidden = rectifier.forward(&conv.forward(&hidden)?)?; // (1, h, w, features)
        }
        let added = kept.cut(&self.last.forward(&hidden)?)?; // (1, h, w, 3 * scale²)
        let shuffled = shuffled(&added, self.scale)?; // (1, h * scale, w * scale, 3)
        Ok((shuffled + repeated(&kept.cut(picture)?, self.scale)?)?)
    }
}

/// Torch's `pixel_shuffle`: `(1, h, w, 3 * scale²)` to `(1, h * scale, w * scale, 3)`.
fn shuffled(x: &Tensor, scale: usize) -> Result<Tensor> {
    let (_, height, width, _) = x.dims4()?;
    let parts = x.reshape((height, width, 3, scale, scale))?;
    let parts = parts.permute((0, 3, 1, 4, 2))?; // (h, dy, w, dx, 3)
    Ok(parts.reshape((1, height * scale, width * scale, 3))?)
}

/// Each pixel repeated: `(1, h, w, 3)` to `(1, h * scale, w * scale, 3)`.
fn repeated(x: &Tensor, scale: usize) -> Result<Tensor> {
    let (_, height, width, _) = x.dims4()?;
    let one = x.reshape((height, 1, width, 1, 3))?;
    let many = one.broadcast_as((height, scale, width, scale, 3))?;
    Ok(many.reshape((1, height * scale, width * scale, 3))?)
}
