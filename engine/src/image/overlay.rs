//! One picture over another by a mask, as Pillow composites them: where the mask is 0, the bytes are the upper picture's.
//!
//! Source: diffusers' `VaeImageProcessor.apply_overlay`, which is Pillow's `paste` with a mask, its conversions to
//! premultiplied alpha and back, and `alpha_composite`.

use super::Rgb8;

/// `upper` over `lower`, which have one size; `mask` is 255 where only `lower` is seen, 0 where only `upper` is.
pub(crate) fn overlay(upper: &Rgb8, lower: &Rgb8, mask: &[u8]) -> Rgb8 {
    let pairs = upper
        .pixels
        .chunks_exact(3)
        .zip(lower.pixels.chunks_exact(3));
    let pixels = pairs
        .zip(mask)
        .flat_map(|((upper, lower), mask)| {
            let alpha = u32::from(255 - mask);
            [0, 1, 2].map(|channel| mixed(upper[channel], lower[channel], alpha))
        })
        .collect();
    Rgb8 { pixels, ..*upper }
}

fn mixed(upper: u8, lower: u8, alpha: u32) -> u8 {
    if alpha == 0 {
        return lower;
    }
    let premultiplied = over_255(u32::from(upper) * alpha);
    let upper = (premultiplied * 255 / alpha).min(255);
    let sum = (upper * alpha + u32::from(lower) * (255 - alpha)) << 7;
    let sum = sum + (0x80 << 7);
    let value = ((sum >> 8) + sum) >> 8 >> 7;
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// A product of two bytes over 255, rounded.
fn over_255(product: u32) -> u32 {
    let product = product + 128;
    ((product >> 8) + product) >> 8
}
