//! What is done number by number, where no other kernel can do it on the way.

use super::math;
use super::output::fill;
use super::parallel;
use super::simd::for_each_instruction_set;
use crate::kernels::Activation;

for_each_instruction_set! {
    /// Applies `activation` to every number.
    pub fn activate(values: &mut [f32], activation: Activation) {
        math::activate_slice(values, activation);
    }
}

/// `(pixels, a)` and `(pixels, b)` side by side: `(pixels, a + b)`. Panics when they have not the same pixels.
pub fn concat_channels(a: &[f32], a_channels: usize, b: &[f32], b_channels: usize) -> Vec<f32> {
    assert!(a_channels > 0 && b_channels > 0, "pixels have channels");
    let pixels = a.len() / a_channels;
    assert_eq!(
        (a.len(), b.len()),
        (pixels * a_channels, pixels * b_channels),
        "the same pixels"
    );
    let channels = a_channels + b_channels;
    let block = (32 * 1024 / channels).max(1);
    // SAFETY: the blocks cover the pixels once, and both parts of each pixel are written.
    unsafe {
        fill(pixels * channels, |output| {
            parallel::for_each(pixels.div_ceil(block), |index| {
                for pixel in index * block..pixels.min((index + 1) * block) {
                    let to = output.part(pixel * channels, channels);
                    let (to_a, to_b) = to.split_at_mut(a_channels);
                    to_a.copy_from_slice(&a[pixel * a_channels..][..a_channels]);
                    to_b.copy_from_slice(&b[pixel * b_channels..][..b_channels]);
                }
            });
        })
    }
}
