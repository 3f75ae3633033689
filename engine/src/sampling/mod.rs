//! From noise to latents: noise generators.
//!
//! Pure arithmetic on slices: no tensors, no device.

pub mod noise;
