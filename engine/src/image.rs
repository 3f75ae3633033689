//! Pictures: from the decoder's numbers to the bytes of a file.
//!
//! Nothing in a file varies between two runs: encoders have fixed settings, and [`Metadata`] has no time, host or path.

pub(crate) mod blur;
mod canny;
mod encode;
mod exif;
pub(crate) mod fit;
mod metadata;
mod open;
pub(crate) mod overlay;
mod parameters;
#[cfg(test)]
mod pillow_tests;
mod read;
pub(crate) mod resample;
mod riff;
#[cfg(test)]
mod tests;
mod thumbnail;

pub use canny::canny;
pub(crate) use encode::encode_with;
pub use encode::{Format, encode, encode_preview_png};
pub use metadata::{METADATA_VERSION, Metadata, Texts};
pub(crate) use open::read_with_alpha;
pub use open::{INPUT_SIDE_LIMIT_PX, read_grey, read_rgb, size_of};
pub(crate) use parameters::quoted;
pub use read::{Found, TEXT_LIMIT_BYTES, read_metadata};
pub(crate) use thumbnail::shrunk;
pub use thumbnail::{THUMBNAIL_SIDE_PX, thumbnail};

use sha2::{Digest as _, Sha256};

use crate::{Error, ErrorKind, Result};

/// SHA-256 of a file's bytes, hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A picture of 8 bits a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb8 {
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// Red, green, blue, row by row from the top: `3 * width_px * height_px` bytes.
    pub pixels: Vec<u8>,
}

impl Rgb8 {
    /// The picture an autoencoder decoded: `values` is `(height, width, 3)` in `[-1, 1]`; what lies outside is clipped.
    ///
    /// Rounds half to even, as diffusers' `VaeImageProcessor` does by way of numpy. Fails with `Numerics` when a value
    /// is not finite, and with `Internal` when there are not `3 * width_px * height_px` of them.
    pub fn from_decoded(values: &[f32], width_px: u32, height_px: u32) -> Result<Self> {
        let expected = u64::from(width_px) * u64::from(height_px) * 3;
        if values.len() as u64 != expected {
            let message = format!(
                "{} values make no picture of {width_px}x{height_px}",
                values.len()
            );
            return Err(Error::new(ErrorKind::Internal, message));
        }
        if !values.iter().all(|value| value.is_finite()) {
            return Err(Error::new(
                ErrorKind::Numerics,
                "the autoencoder gave numbers that are not finite",
            ));
        }
        let pixels = values.iter().map(|&value| to_byte(value)).collect();
        Ok(Self {
            width_px,
            height_px,
            pixels,
        })
    }

    /// The numbers an autoencoder takes: `(height, width, 3)` in `[-1, 1]`.
    pub fn to_decoded(&self) -> Vec<f32> {
        self.pixels
            .iter()
            .map(|byte| f32::from(*byte) / 255.0 * 2.0 - 1.0)
            .collect()
    }

    /// What lies in the middle of it, no larger than the picture is; where a row or column is over, it is left out at the right
    /// and the bottom. Source: diffusers `Flux2ImageProcessor._resize_and_crop`.
    pub(crate) fn middle(&self, width_px: u32, height_px: u32) -> Self {
        let (width_px, height_px) = (width_px.min(self.width_px), height_px.min(self.height_px));
        let left = 3 * ((self.width_px - width_px) / 2) as usize;
        let top = ((self.height_px - height_px) / 2) as usize;
        let rows = self.pixels.chunks_exact(3 * self.width_px.max(1) as usize);
        let cut = rows.skip(top).take(height_px as usize);
        Self {
            width_px,
            height_px,
            pixels: cut
                .flat_map(|row| &row[left..left + 3 * width_px as usize])
                .copied()
                .collect(),
        }
    }

    /// Whether every pixel has the same colour, as pictures of a network that has failed do.
    pub fn is_constant(&self) -> bool {
        let first = self.pixels.get(..3);
        self.pixels.chunks(3).all(|pixel| Some(pixel) == first)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "in 0..=255 after the clamp, and whole"
)]
fn to_byte(value: f32) -> u8 {
    ((value * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8
}
