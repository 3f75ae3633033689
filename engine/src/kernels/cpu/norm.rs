//! Normalisation: over groups of channels of one image, or over the channels of one token.

use std::ops::Range;

use half::bf16;

use super::math;
use super::operand::{Buffer, Numbers, Operand};
use super::output::{Parts, fill, with_scratch};
use super::panels::Format;
use super::parallel;
use super::simd::for_each_instruction_set;
use crate::kernels::Activation;

/// A batch of channels-last images and how their channels are grouped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupNormShape {
    /// Elements of the batch.
    pub elements: usize,
    /// Height times width.
    pub pixels: usize,
    /// Numbers of a pixel; a multiple of `groups`.
    pub channels: usize,
    /// At least 1.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Numbers that one task reads or writes.
pub(super) const BLOCK: usize = 32 * 1024;

/// `(elements, pixels, channels)` normalised over the pixels and channels of each group, then scaled by `weight` and
/// shifted by `bias` (one number a channel), then activated, in the format `to`. All of it is computed in single
/// precision, whatever the format of `x`.
pub fn group_norm(
    x: Numbers<'_>,
    shape: GroupNormShape,
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
    to: Format,
) -> Buffer {
    match to {
        Format::F32 => f32::buffer(normalise_groups(x, shape, weight, bias, activation)),
        Format::Bf16 => bf16::buffer(normalise_groups(x, shape, weight, bias, activation)),
    }
}

fn normalise_groups<U: Operand>(
    x: Numbers<'_>,
    shape: GroupNormShape,
    weight: &[f32],
    bias: &[f32],
    activation: Activation,
) -> Vec<U> {
    let GroupNormShape {
        elements,
        pixels,
        channels,
        groups,
        ..
    } = shape;
    assert_eq!(
        x.len(),
        elements * pixels * channels,
        "images of a group norm"
    );
    assert!(
        groups > 0 && channels.is_multiple_of(groups),
        "channels are a multiple of groups"
    );
    assert_eq!(
        (weight.len(), bias.len()),
        (channels, channels),
        "one weight and bias for each channel"
    );
    if x.is_empty() {
        return Vec::new();
    }
    let image = pixels * channels;
    let block = (BLOCK / channels).max(1) * channels;
    let blocks = image.div_ceil(block);
    let range = |index: usize| {
        let from = index % blocks * block;
        let element = index / blocks * image;
        element + from..element + image.min(from + block)
    };

    let origins: Vec<f32> = (0..elements)
        .flat_map(|element| {
            let mut origin = vec![0.0; channels];
            x.copy(element * image, &mut origin);
            origin
        })
        .collect();
    let origin = |element: usize| &origins[element * channels..][..channels];
    let mut sums = vec![0.0; elements * blocks * 2 * channels];
    let parts = Parts::new(&mut sums);
    parallel::for_each(elements * blocks, |index| {
        // SAFETY: each block's sums are one task's.
        let sums = unsafe { parts.part(index * 2 * channels, 2 * channels) };
        with_pixels(&x, range(index), |pixels| {
            sum_channels(pixels, origin(index / blocks), sums);
        });
    });
    let maps: Vec<Vec<f32>> = sums
        .chunks_exact(blocks * 2 * channels)
        .enumerate()
        .map(|(element, sums)| {
            let mut total = vec![0.0; 2 * channels];
            add_blocks(sums, &mut total);
            channel_maps(origin(element), &total, shape, weight, bias)
        })
        .collect();

    // SAFETY: the blocks cover each image once, and each is written whole.
    unsafe {
        fill(x.len(), |output| {
            parallel::for_each(elements * blocks, |index| {
                let range = range(index);
                let map = &maps[index / blocks];
                let to = output.part(range.start, range.len());
                with_pixels(&x, range, |pixels| map_pixels(pixels, map, to, activation));
            });
        })
    }
}

/// `factor * x + shift` for each number, by its channel, then `activation`.
pub(super) fn map_pixels<U: Operand>(
    pixels: &[f32],
    map: &[f32],
    to: &mut [U],
    activation: Activation,
) {
    let (scale, shift) = map.split_at(map.len() / 2);
    let silu = activation == Activation::Silu;
    let is_fast = silu || activation == Activation::Identity;
    if !(is_fast && U::scale_vectors(pixels, scale, shift, to, silu)) {
        scale_and_activate(pixels, scale, shift, to, activation);
    }
}

/// Adds the sums of blocks, in order.
pub(super) fn add_blocks(sums: &[f64], total: &mut [f64]) {
    for sums in sums.chunks_exact(total.len()) {
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += sum;
        }
    }
}

/// Lends some of the numbers of `x` in single precision.
pub(super) fn with_pixels(x: &Numbers<'_>, range: Range<usize>, task: impl FnOnce(&[f32])) {
    match x {
        Numbers::F32(x) => task(&x[range]),
        Numbers::Bf16(_) => with_scratch(|scratch| {
            let pixels = scratch.sums.room(range.len());
            x.copy(range.start, pixels);
            task(pixels);
        }),
    }
}

for_each_instruction_set! {
    /// For each channel, the sum and the sum of squares of its distance from `origin`: first all sums, then all squares.
    /// Runs of 32 pixels are summed in `f32`, those in `f64`.
    pub(super) fn sum_channels(pixels: &[f32], origin: &[f32], sums: &mut [f64]) {
        let channels = origin.len();
        let mut run_sums = vec![0f32; 2 * channels];
        let (sum, square) = run_sums.split_at_mut(channels);
        for run in pixels.chunks(32 * channels) {
            sum.fill(0.0);
            square.fill(0.0);
            for pixel in run.chunks_exact(channels) {
                for (((x, origin), sum), square) in pixel.iter().zip(origin).zip(&mut *sum).zip(&mut *square) {
                    let distance = x - origin;
                    *sum += distance;
                    *square += distance * distance;
                }
            }
            for (total, run) in sums.iter_mut().zip(sum.iter().chain(square.iter())) {
                *total += f64::from(*run);
            }
        }
    }
}

/// For each channel the factor and then the shift that normalise it: `y = factor * x + shift`. `sums`: of all pixels, as
/// `sum_channels` has them.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "counts are far below 2^53; f32 is wanted"
)]
pub(super) fn channel_maps(
    origin: &[f32],
    sums: &[f64],
    shape: GroupNormShape,
    weight: &[f32],
    bias: &[f32],
) -> Vec<f32> {
    let GroupNormShape {
        pixels,
        channels,
        groups,
        epsilon,
        ..
    } = shape;
    let pixels = pixels as f64;
    // Mean and sum of squared distances from it, for each channel.
    let moments: Vec<(f64, f64)> = (0..channels)
        .map(|c| {
            let (sum, square) = (sums[c], sums[channels + c]);
            (
                f64::from(origin[c]) + sum / pixels,
                square - sum * sum / pixels,
            )
        })
        .collect();
    let in_group = channels / groups;
    let mut maps = vec![0.0; 2 * channels];
    for (group, moments) in moments.chunks_exact(in_group).enumerate() {
        let mean = moments.iter().map(|m| m.0).sum::<f64>() / in_group as f64;
        let squares: f64 = moments
            .iter()
            .map(|m| m.1 + pixels * (m.0 - mean) * (m.0 - mean))
            .sum();
        let variance = (squares / (pixels * in_group as f64)).max(0.0);
        // `max` would hide a NaN.
        let variance = if squares.is_nan() { squares } else { variance };
        let factor = 1.0 / (variance + epsilon).sqrt();
        for c in group * in_group..(group + 1) * in_group {
            let scale = factor * f64::from(weight[c]);
            maps[c] = scale as f32;
            maps[channels + c] = (f64::from(bias[c]) - mean * scale) as f32;
        }
    }
    maps
}

for_each_instruction_set! {
    fn scale_and_activate<U: Operand>(pixels: &[f32], scale: &[f32], shift: &[f32], to: &mut [U], activation: Activation) {
        match activation {
            Activation::Identity => each(pixels, scale, shift, to, |x| x),
            Activation::Relu => each(pixels, scale, shift, to, math::relu),
            Activation::Silu => each(pixels, scale, shift, to, U::silu),
            Activation::Gelu => each(pixels, scale, shift, to, U::gelu),
            Activation::QuickGelu => each(pixels, scale, shift, to, math::quick_gelu),
            Activation::GeluTanh => each(pixels, scale, shift, to, math::gelu_tanh),
        }
    }
}

#[inline(always)]
fn each<U: Operand>(
    pixels: &[f32],
    scale: &[f32],
    shift: &[f32],
    to: &mut [U],
    activate: impl Fn(f32) -> f32,
) {
    let channels = scale.len();
    let pixels = pixels.chunks_exact(channels);
    for (pixel, to) in pixels.zip(to.chunks_exact_mut(channels)) {
        for (((x, scale), shift), to) in pixel.iter().zip(scale).zip(shift).zip(to) {
            *to = U::from_f32(activate(x * scale + shift));
        }
    }
}

/// How a row is normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowNorm {
    /// To mean 0 and variance 1.
    Layer,
    /// To mean square 1 (Zhang and Sennrich 2019).
    Rms,
    /// Likewise, and after scaling SiLU; nothing is added between.
    RmsSilu,
}

/// What normalised rows are multiplied by, and what is then added.
#[derive(Debug, Clone, Copy)]
pub struct RowScales<'a> {
    /// One number for each channel, or one for each element and channel.
    pub weight: &'a [f32],
    /// Likewise; none is all zeros.
    pub bias: Option<&'a [f32]>,
}

impl RowScales<'_> {
    fn check(&self, elements: usize, channels: usize) {
        let fits = |numbers: &[f32]| [channels, elements * channels].contains(&numbers.len());
        assert!(
            fits(self.weight) && self.bias.is_none_or(fits),
            "one weight and bias for each channel, or for each channel of an element"
        );
    }

    /// Those of one element.
    fn of(&self, element: usize, channels: usize) -> (&[f32], Option<&[f32]>) {
        let part = |numbers| -> &[f32] {
            let numbers: &[f32] = numbers;
            let at = if numbers.len() == channels {
                0
            } else {
                element * channels
            };
            &numbers[at..][..channels]
        };
        (part(self.weight), self.bias.map(part))
    }
}

/// `(elements, rows, channels)`, each row normalised, scaled and shifted, in the format `to`.
///
/// Panics when the numbers are not as many as the sizes say.
pub fn norm_rows(
    x: &[f32],
    [elements, channels]: [usize; 2],
    norm: RowNorm,
    epsilon: f64,
    scales: RowScales<'_>,
    to: Format,
) -> Buffer {
    assert!(
        channels > 0 && x.len().is_multiple_of(elements.max(1) * channels),
        "rows of a norm"
    );
    scales.check(elements, channels);
    assert!(
        norm != RowNorm::RmsSilu || scales.bias.is_none(),
        "nothing is added before SiLU"
    );
    let rows = RowsToNorm {
        x,
        elements,
        channels,
        norm,
        epsilon,
        scales,
    };
    match to {
        Format::F32 => f32::buffer(rows.run()),
        Format::Bf16 => bf16::buffer(rows.run()),
    }
}

struct RowsToNorm<'a> {
    x: &'a [f32],
    elements: usize,
    channels: usize,
    norm: RowNorm,
    epsilon: f64,
    scales: RowScales<'a>,
}

impl RowsToNorm<'_> {
    fn run<U: Operand>(&self) -> Vec<U> {
        let (x, channels) = (self.x, self.channels);
        let of_element = x.len() / self.elements.max(1);
        let block = (BLOCK / channels).max(1) * channels;
        let blocks = of_element.div_ceil(block);
        // SAFETY: the blocks cover each element of `x` once, and each is written whole.
        unsafe {
            fill(x.len(), |output| {
                parallel::for_each(self.elements * blocks, |index| {
                    let (element, block_of) = (index / blocks, index % blocks);
                    let from = element * of_element + block_of * block;
                    let range = from..((element + 1) * of_element).min(from + block);
                    let to = output.part(range.start, range.len());
                    let (weight, bias) = self.scales.of(element, channels);
                    match self.norm {
                        RowNorm::Layer => {
                            normalise_rows(&x[range], self.epsilon, weight, bias, to);
                        }
                        RowNorm::Rms => rms_rows(&x[range], self.epsilon, weight, bias, to),
                        RowNorm::RmsSilu => {
                            rms_silu_rows(&x[range], self.epsilon, weight, to);
                        }
                    }
                });
            })
        }
    }
}

for_each_instruction_set! {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "channels are far below 2^24; f32 is wanted")]
    fn normalise_rows<U: Operand>(rows: &[f32], epsilon: f64, weight: &[f32], bias: Option<&[f32]>, to: &mut [U]) {
        let channels = weight.len();
        for (row, to) in rows.chunks_exact(channels).zip(to.chunks_exact_mut(channels)) {
            let mean = math::sum(row, |x| x) / channels as f64;
            let center = mean as f32;
            let variance = math::sum(row, |x| (x - center) * (x - center)) / channels as f64;
            let factor = (1.0 / (variance + epsilon).sqrt()) as f32;
            scale_row(row, center, factor, weight, bias, to);
        }
    }
}

for_each_instruction_set! {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "channels are far below 2^24; f32 is wanted")]
    fn rms_rows<U: Operand>(rows: &[f32], epsilon: f64, weight: &[f32], bias: Option<&[f32]>, to: &mut [U]) {
        let channels = weight.len();
        for (row, to) in rows.chunks_exact(channels).zip(to.chunks_exact_mut(channels)) {
            let square = math::sum(row, |x| x * x) / channels as f64;
            let factor = (1.0 / (square + epsilon).sqrt()) as f32;
            scale_row(row, 0.0, factor, weight, bias, to);
        }
    }
}

for_each_instruction_set! {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "channels are far below 2^24; f32 is wanted")]
    fn rms_silu_rows<U: Operand>(rows: &[f32], epsilon: f64, weight: &[f32], to: &mut [U]) {
        let channels = weight.len();
        for (row, to) in rows.chunks_exact(channels).zip(to.chunks_exact_mut(channels)) {
            let square = math::sum(row, |x| x * x) / channels as f64;
            let factor = (1.0 / (square + epsilon).sqrt()) as f32;
            for ((x, weight), to) in row.iter().zip(weight).zip(to) {
                *to = U::from_f32(U::silu(x * factor * weight));
            }
        }
    }
}

#[inline(always)]
fn scale_row<U: Operand>(
    row: &[f32],
    center: f32,
    factor: f32,
    weight: &[f32],
    bias: Option<&[f32]>,
    to: &mut [U],
) {
    let scaled = row.iter().zip(weight).zip(to);
    match bias {
        Some(bias) => {
            for (((x, weight), to), bias) in scaled.zip(bias) {
                *to = U::from_f32((x - center) * factor * weight + bias);
            }
        }
        None => {
            for ((x, weight), to) in scaled {
                *to = U::from_f32((x - center) * factor * weight);
            }
        }
    }
}
