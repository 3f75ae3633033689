//! What is done number by number, where no other kernel can do it on the way.

use half::bf16;

use super::math;
use super::matmul::GateExtras;
use super::operand::{Buffer, Operand};
use super::output::fill;
use super::panels::{Format, PANEL};
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

/// `(a + bias_a) * gate(b + bias_b)` from a product with panels of [`Panels::from_gated_linear`], whose halves lie in turns:
/// `sums (rows, 2 * padded columns) -> (rows, columns)` in the format `to`.
///
/// Panics when the sizes contradict each other.
///
/// [`Panels::from_gated_linear`]: super::Panels::from_gated_linear
pub fn gate(sums: &[f32], extras: GateExtras<'_>, to: Format) -> Buffer {
    match to {
        Format::F32 => f32::buffer(gate_rows(sums, extras)),
        Format::Bf16 => bf16::buffer(gate_rows(sums, extras)),
    }
}

fn gate_rows<T: Operand>(sums: &[f32], extras: GateExtras<'_>) -> Vec<T> {
    let GateExtras {
        bias,
        gate,
        columns,
    } = extras;
    let padded = 2 * columns.div_ceil(PANEL) * PANEL;
    assert!(
        columns > 0 && sums.len().is_multiple_of(padded),
        "rows of both halves"
    );
    assert!(
        bias.is_none_or(|bias| bias.len() == 2 * columns),
        "both halves of a gated layer have a bias"
    );
    let rows = sums.len() / padded;
    // SAFETY: each row of the result is written whole, by one task.
    unsafe {
        fill(rows * columns, |output| {
            parallel::for_each(rows, |row| {
                let sums = &sums[row * padded..][..padded];
                let half = |half: usize| {
                    let mut numbers: Vec<f32> = sums
                        .chunks_exact(PANEL)
                        .skip(half)
                        .step_by(2)
                        .flatten()
                        .copied()
                        .collect();
                    if let Some(bias) = bias {
                        let bias = &bias[half * columns..][..columns];
                        numbers.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
                    }
                    numbers
                };
                let (values, mut gates) = (half(0), half(1));
                activate(&mut gates, gate);
                let to = output.part(row * columns, columns);
                for ((to, value), gate) in to.iter_mut().zip(values).zip(gates) {
                    *to = T::from_f32(value * gate);
                }
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{MatmulShape, Numbers, Panels, gated, matmul};
    use super::*;

    /// What a product and its gate do in one go is what they do one after the other.
    #[test]
    fn a_gate_after_the_product_is_the_gate_within_it() {
        let numbers = |count: usize, seed: usize| -> Vec<f32> {
            (0..count)
                .map(|i| ((i * 7 + seed) % 23) as f32 / 11.0 - 1.0)
                .collect()
        };
        for (rows, depth, columns) in [(1, 5, 3), (4, 40, 32), (7, 33, 45), (3, 64, 100)] {
            let (x, weight) = (numbers(rows * depth, 1), numbers(2 * columns * depth, 2));
            let bias = numbers(2 * columns, 3);
            let shape = MatmulShape { elements: 1, rows };
            let panels = Panels::from_gated_linear(&weight, columns, depth, Format::F32);
            for bias in [None, Some(&bias[..])] {
                let extras = GateExtras {
                    bias,
                    gate: Activation::Gelu,
                    columns,
                };
                let Buffer::F32(together) =
                    gated(Numbers::F32(&x), shape, &panels, extras, Format::F32)
                else {
                    panic!("single precision was asked for")
                };
                let Buffer::F32(sums) = matmul(
                    Numbers::F32(&x),
                    shape,
                    &panels,
                    &super::super::Extras::NONE,
                    Format::F32,
                ) else {
                    panic!("single precision was asked for")
                };
                let Buffer::F32(apart) = gate(&sums, extras, Format::F32) else {
                    panic!("single precision was asked for")
                };
                for (a, b) in together.iter().zip(&apart) {
                    assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} {b}");
                }
                assert_eq!(together.len(), apart.len());
            }
        }
    }
}
