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

/// `x + gate * y` for `x` and `y` `(elements, rows, channels)` and `gate` `(elements, channels)`.
///
/// Panics when the sizes contradict each other.
pub fn add_gated(x: &[f32], gate: &[f32], y: &[f32], elements: usize) -> Vec<f32> {
    let channels = gate.len() / elements.max(1);
    assert!(channels > 0, "a gate has channels");
    assert_eq!(x.len(), y.len(), "what is added is as large");
    assert!(
        x.len().is_multiple_of(elements * channels),
        "rows of a gated sum"
    );
    let of_element = x.len() / elements;
    let block = (32 * 1024 / channels).max(1) * channels;
    let blocks = of_element.div_ceil(block);
    // SAFETY: the blocks cover each element once, and each is written whole.
    unsafe {
        fill(x.len(), |output| {
            parallel::for_each(elements * blocks, |index| {
                let (element, at) = (index / blocks, index % blocks * block);
                let from = element * of_element + at;
                let len = block.min(of_element - at);
                let to = output.part(from, len);
                let gate = &gate[element * channels..][..channels];
                gated_rows(&x[from..][..len], gate, &y[from..][..len], to);
            });
        })
    }
}

for_each_instruction_set! {
    fn gated_rows(x: &[f32], gate: &[f32], y: &[f32], to: &mut [f32]) {
        let channels = gate.len();
        for ((x, y), to) in x.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(to.chunks_exact_mut(channels)) {
            for (((x, y), gate), to) in x.iter().zip(y).zip(gate).zip(to) {
                *to = x + gate * y;
            }
        }
    }
}
