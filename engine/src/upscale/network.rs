//! A loaded network, from a tile's pixels to its enlargement's.

use candle_core::{Device, Tensor};

use super::compact::Compact;
use super::kind::Kind;
use super::rrdb::{Rrdb, TAIL_ROWS, TAIL_SEES_PX};
use super::tiles::{OVERLAP_PX, TILE_PX, Tile};
use crate::checkpoint::Loader;
use crate::image::Rgb8;
use crate::{Error, ErrorKind, Result};

/// Either network.
pub(super) enum Network {
    Rrdb(Box<Rrdb>),
    Compact(Compact),
}

impl Network {
    pub(super) fn load(loader: &Loader, kind: Kind) -> Result<Self> {
        Ok(match kind {
            Kind::Rrdb(sizes) => Self::Rrdb(Box::new(Rrdb::load(loader, sizes)?)),
            Kind::Compact(sizes) => Self::Compact(Compact::load(loader, sizes)?),
        })
    }

    /// What becomes of the kept part of a tile of `picture`, whose sides are filled up by its mirror image where they are no
    /// multiples of what the network takes.
    ///
    /// Fails with [`ErrorKind::Numerics`] when numbers are not finite.
    pub(super) fn enlarge(&self, picture: &Rgb8, tile: &Tile, kind: Kind) -> Result<Rgb8> {
        let multiple = kind.multiple();
        let seen = pixels(picture, tile, multiple)?; // (1, h, w, 3 * multiple²)
        let kept = tile.kept.within(&tile.seen).over(multiple);
        let made = match self {
            Self::Rrdb(network) => network.forward(&seen, &kept)?,
            Self::Compact(network) => network.forward(&seen, &kept)?,
        };
        let (_, height, width, _) = made.dims4()?;
        let values = made.flatten_all()?.to_vec1::<f32>()?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(Error::new(
                ErrorKind::Numerics,
                "the upscaler gave numbers that are not finite",
            )
            .with_hint("its file may be damaged; try another one"));
        }
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        Ok(Rgb8 {
            width_px: side(width),
            height_px: side(height),
            pixels: values.into_iter().map(to_byte).collect(),
        })
    }
}

/// Memory that one tile takes at most, in bytes, about.
pub(super) fn tile_bytes(kind: Kind) -> u64 {
    const NUMBER_BYTES: usize = 4;
    let area = |side: usize| side * side;
    let seen = area(TILE_PX + 2 * OVERLAP_PX);
    let bytes = match kind {
        // The body keeps the first layer's result, a block's and a dense block's input, and the room of its channels; of the
        // doublings' images two are there at once.
        Kind::Rrdb(sizes) => {
            let body = seen * (6 * sizes.features + 4 * sizes.growth);
            let strip = (TAIL_ROWS + 2 * TAIL_SEES_PX) * (TILE_PX + 2 * TAIL_SEES_PX);
            let largest = (strip << (2 * sizes.doublings)) * 2 * sizes.features;
            body.max(largest + seen * sizes.features)
        }
        Kind::Compact(sizes) => seen * (3 * sizes.features + 9 * area(sizes.scale)),
    };
    (bytes * NUMBER_BYTES) as u64
}

/// What a network sees of a picture: `(1, h / multiple, w / multiple, 3 * multiple²)` in 0 to 1, in the order of torch's
/// `pixel_unshuffle`.
fn pixels(picture: &Rgb8, tile: &Tile, multiple: usize) -> Result<Tensor> {
    let (wide, high) = (picture.width_px as usize, picture.height_px as usize);
    let seen = tile.seen.over(multiple);
    let (height, width) = (seen.rows.len(), seen.columns.len());
    let mut numbers = Vec::with_capacity(height * width * 3 * multiple * multiple);
    for y in seen.rows {
        for x in seen.columns.clone() {
            for channel in 0..3 {
                for within in 0..multiple * multiple {
                    let y = mirrored(y * multiple + within / multiple, high);
                    let x = mirrored(x * multiple + within % multiple, wide);
                    let byte = picture.pixels[(y * wide + x) * 3 + channel];
                    numbers.push(f32::from(byte) / 255.0);
                }
            }
        }
    }
    let shape = (1, height, width, 3 * multiple * multiple);
    Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
}

/// A place beyond the end of a side, mirrored at its last pixel as torch's `reflect` does; as near as there is where the side is
/// too short for that.
fn mirrored(at: usize, side: usize) -> usize {
    if at < side {
        return at;
    }
    (2 * (side - 1)).saturating_sub(at)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "in 0..=255 after the clamp, and whole"
)]
fn to_byte(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8
}
