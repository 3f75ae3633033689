//! What is asked of an upscaler, and what it becomes once its file and the picture are known.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Error, Precision, Result};

/// Smallest and largest factor that a request may name.
const SCALES: std::ops::RangeInclusive<f64> = 0.25..=16.0;
/// Largest side of a picture that is made, in pixels, the network's own too.
pub const UPSCALED_SIDE_LIMIT_PX: u32 = 16_384;
/// Most pixels of a picture that is made, the network's own too: 8,192 times 8,192.
pub const UPSCALED_PIXELS_LIMIT: u64 = 1 << 26;

/// A picture to enlarge.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct UpscaleRequest {
    /// A PNG, JPEG or WebP file. Saved apart from the rest: it is no text.
    #[serde(skip)]
    pub image: Bytes,
    /// How much longer each side becomes; the network's own factor where nothing is said.
    pub scale: Option<f64>,
}

/// Without the picture.
impl std::fmt::Debug for UpscaleRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("UpscaleRequest")
            .field("bytes", &self.image.len())
            .field("scale", &self.scale)
            .finish()
    }
}

/// Every setting of an enlargement, with nothing left to a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpscaleSettings {
    /// The upscaler as the caller named it.
    pub upscaler: String,
    /// SHA-256 of its file, hex; empty where it is only planned.
    pub sha256: String,
    /// How much longer each side becomes.
    pub scale: f64,
    /// How much longer the network makes it; the rest is Lanczos.
    pub network_scale: u32,
    /// SHA-256 of the picture's file, hex.
    pub image_sha256: String,
    /// Width of the new picture in pixels.
    pub width_px: u32,
    /// Height of the new picture in pixels.
    pub height_px: u32,
    /// Width of the largest tile in pixels of the old picture.
    pub tile_width_px: u32,
    /// Height of the largest tile in pixels of the old picture.
    pub tile_height_px: u32,
    /// Number format of the computation, never `Auto`.
    pub precision: Precision,
}

/// The factor of a request, or the network's own.
///
/// Fails when it is none that is made.
pub(super) fn scale(asked: Option<f64>, own: usize) -> Result<f64> {
    let scale = asked.unwrap_or(own as f64);
    if SCALES.contains(&scale) {
        return Ok(scale);
    }
    Err(Error::invalid(
        "upscale_scale",
        format!(
            "`upscale_scale` is {scale}, but must be from {} to {}",
            SCALES.start(),
            SCALES.end()
        ),
    ))
}

/// The size of a picture of `(width, height)` whose sides become `scale` times as long, rounded down, and at least one pixel.
///
/// Fails naming `field` when it is larger than what is made.
pub(super) fn enlarged(
    (width, height): (u32, u32),
    scale: f64,
    field: &'static str,
) -> Result<(u32, u32)> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and the part behind the point is to go; what is too large is the largest number"
    )]
    // 800 times 1.15 is a little less than 920 in binary.
    let side = |side: u32| ((f64::from(side) * scale + 1e-6) as u32).max(1);
    let (new_width, new_height) = (side(width), side(height));
    let pixels = u64::from(new_width) * u64::from(new_height);
    if new_width.max(new_height) <= UPSCALED_SIDE_LIMIT_PX && pixels <= UPSCALED_PIXELS_LIMIT {
        return Ok((new_width, new_height));
    }
    let message = format!(
        "{width}x{height} pixels enlarged {scale} times are {new_width}x{new_height}: at most {UPSCALED_SIDE_LIMIT_PX} on a \
         side and {} million in all are made",
        UPSCALED_PIXELS_LIMIT / 1_000_000
    );
    Err(Error::invalid(field, message)
        .with_hint("give a smaller picture, or take an upscaler that enlarges less"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_down_and_bounded() {
        let of = |size, scale| enlarged(size, scale, "init_image");
        assert_eq!(of((101, 67), 4.0).unwrap(), (404, 268));
        assert_eq!(of((800, 33), 1.15).unwrap(), (920, 37));
        assert_eq!(of((2, 1), 0.25).unwrap(), (1, 1));
        assert_eq!(of((2048, 2048), 4.0).unwrap(), (8192, 8192));
        for (size, scale) in [
            ((2049, 2048), 4.0),
            ((5000, 10), 4.0),
            ((u32::MAX, 1), 16.0),
        ] {
            assert_eq!(of(size, scale).unwrap_err().field(), Some("init_image"));
        }
        for asked in [0.2, 17.0, f64::NAN, f64::INFINITY] {
            let error = scale(Some(asked), 4).unwrap_err();
            assert_eq!(error.field(), Some("upscale_scale"));
        }
        assert_eq!(scale(None, 4).unwrap(), 4.0);
    }
}
