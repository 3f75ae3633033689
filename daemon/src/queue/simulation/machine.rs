//! A machine that exists only in arithmetic: what its calls take, and what they hold of its memory.

use std::time::Duration;

use crate::{
    engine::ModelKey,
    fake_engine::model,
    queue::{Fingerprint, Known},
};

/// Sizes of pictures in pixels, square.
pub(super) const SIZES: [u32; 2] = [8, 16];

/// Memory that a picture takes at its peak, in bytes for each pixel.
const WORKING_BYTES_PER_PIXEL: u64 = 64;

/// Pieces of the decoder.
pub(super) const DECODER_PIECES: u32 = 3;

/// What the simulated machine can do.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) memory_bytes: u64,
    pub(super) models: Vec<Model>,
}

/// One of its models.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    pub(super) weights_bytes: u64,
    pub(super) load: Duration,
    /// One evaluation of one picture of the smaller size.
    pub(super) step: Duration,
    /// The percentage of an evaluation that does not grow with the number of generations in it.
    pub(super) shared_percent: u32,
}

impl Machine {
    pub(super) fn key(number: usize) -> ModelKey {
        model(&number.to_string())
    }

    pub(super) fn model(&self, key: &ModelKey) -> Model {
        self.models[key.name.parse::<usize>().unwrap()]
    }

    pub(super) fn known(&self, key: &ModelKey) -> Known {
        Known {
            fingerprint: Fingerprint(0),
            weights_bytes: self.model(key).weights_bytes,
            working_bytes_per_pixel: WORKING_BYTES_PER_PIXEL,
            width_px: SIZES[0],
            height_px: SIZES[0],
        }
    }

    /// An evaluation of so many generations.
    pub(super) fn step(&self, key: &ModelKey, side_px: u32, generations: u32) -> Duration {
        let model = self.model(key);
        let size = (side_px / SIZES[0]).pow(2);
        let percent = model.shared_percent + (100 - model.shared_percent) * generations;
        model.step * size * percent / 100
    }
}

pub(super) fn peak_bytes(side_px: u32) -> u64 {
    u64::from(side_px).pow(2) * WORKING_BYTES_PER_PIXEL
}
