//! A group norm of an image that is never there whole: first its sums, then its pixels, some at a time.

use half::bf16;

use super::norm::{
    BLOCK, GroupNormShape, add_blocks, channel_maps, map_pixels, sum_channels, with_pixels,
};
use super::operand::{Buffer, Numbers, Operand};
use super::output::{Parts, fill};
use super::panels::Format;
use super::parallel;
use crate::kernels::Activation;

/// What a group norm needs to know of one image before it can normalise any of it: collected from its pixels as they
/// come, so that they need not be there at the same time. Gives the bits that [`group_norm`](super::group_norm) has.
#[derive(Debug, Clone)]
pub struct ChannelSums {
    /// The first pixel.
    origin: Vec<f32>,
    /// As of `sum_channels`, of all whole blocks.
    total: Vec<f64>,
    /// What is there of the next block.
    begun: Vec<f32>,
    pixels: usize,
}

impl ChannelSums {
    /// Of no pixel yet.
    pub fn new(channels: usize) -> Self {
        assert!(channels > 0, "pixels have channels");
        Self {
            origin: vec![0.0; channels],
            total: vec![0.0; 2 * channels],
            begun: Vec::new(),
            pixels: 0,
        }
    }

    /// Adds the pixels that come next. Panics when the last of them is not whole.
    pub fn add(&mut self, x: Numbers<'_>) {
        let channels = self.origin.len();
        assert!(x.len().is_multiple_of(channels), "whole pixels");
        if x.is_empty() {
            return;
        }
        if self.pixels == 0 {
            x.copy(0, &mut self.origin);
        }
        self.pixels += x.len() / channels;
        let block = (BLOCK / channels).max(1) * channels;
        let mut at = 0;
        if !self.begun.is_empty() {
            at = self.begin(&x, 0, (block - self.begun.len()).min(x.len()));
            if self.begun.len() == block {
                self.end();
            }
        }
        let blocks = (x.len() - at) / block;
        let mut sums = vec![0.0; blocks * 2 * channels];
        let parts = Parts::new(&mut sums);
        let origin = &self.origin;
        parallel::for_each(blocks, |index| {
            // SAFETY: each block's sums are one task's.
            let sums = unsafe { parts.part(index * 2 * channels, 2 * channels) };
            let from = at + index * block;
            with_pixels(&x, from..from + block, |pixels| {
                sum_channels(pixels, origin, sums);
            });
        });
        add_blocks(&sums, &mut self.total);
        at += blocks * block;
        self.begin(&x, at, x.len() - at);
    }

    /// Keeps `count` numbers for the next block; gives the place after them.
    fn begin(&mut self, x: &Numbers<'_>, at: usize, count: usize) -> usize {
        let from = self.begun.len();
        self.begun.resize(from + count, 0.0);
        x.copy(at, &mut self.begun[from..]);
        at + count
    }

    /// Adds the block that was begun.
    fn end(&mut self) {
        let mut sums = vec![0.0; self.total.len()];
        sum_channels(&self.begun, &self.origin, &mut sums);
        add_blocks(&sums, &mut self.total);
        self.begun.clear();
    }

    /// What normalises the image in `groups` groups: for each channel a factor, then for each a shift.
    ///
    /// Panics when `weight` or `bias` have not one number for each channel, or `groups` does not divide the channels.
    pub fn maps(mut self, groups: usize, epsilon: f64, weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let channels = self.origin.len();
        assert!(
            groups > 0 && channels.is_multiple_of(groups),
            "channels are a multiple of groups"
        );
        assert_eq!(
            (weight.len(), bias.len()),
            (channels, channels),
            "one weight and bias for each channel"
        );
        if !self.begun.is_empty() {
            self.end();
        }
        let shape = GroupNormShape {
            elements: 1,
            pixels: self.pixels,
            channels,
            groups,
            epsilon,
        };
        channel_maps(&self.origin, &self.total, shape, weight, bias)
    }
}

/// Pixels of `parts`, one after the other, mapped by what [`ChannelSums::maps`] gave, then activated, in the format `to`.
pub fn map_channels(
    parts: &[Numbers<'_>],
    maps: &[f32],
    activation: Activation,
    to: Format,
) -> Buffer {
    match to {
        Format::F32 => f32::buffer(map_parts(parts, maps, activation)),
        Format::Bf16 => bf16::buffer(map_parts(parts, maps, activation)),
    }
}

fn map_parts<U: Operand>(parts: &[Numbers<'_>], maps: &[f32], activation: Activation) -> Vec<U> {
    let channels = maps.len() / 2;
    assert!(
        channels > 0 && parts.iter().all(|part| part.len().is_multiple_of(channels)),
        "whole pixels"
    );
    let block = (BLOCK / channels).max(1) * channels;
    let len = parts.iter().map(Numbers::len).sum();
    // SAFETY: the parts cover the result once, their blocks each part, and each block is written whole.
    unsafe {
        fill(len, |output| {
            let mut first = 0;
            for part in parts {
                parallel::for_each(part.len().div_ceil(block), |index| {
                    let range = index * block..part.len().min((index + 1) * block);
                    let to = output.part(first + range.start, range.len());
                    with_pixels(part, range, |pixels| {
                        map_pixels(pixels, maps, to, activation)
                    });
                });
                first += part.len();
            }
        })
    }
}
