//! Ancestral DPM-Solver-2: a midpoint step beyond the next noise level, then fresh noise back up to it.
//! Two evaluations a step, one in the last.
//!
//! Reference: diffusers' `KDPM2AncestralDiscreteScheduler`.

use super::elementwise::{add_scaled, euler_step, map3};
use super::euler_a::ancestral;
use super::prediction::Prediction;
use super::sampler::{Noise, Solver};

pub(super) struct Dpm2Ancestral {
    /// Noise levels, one a step and the final one.
    pub(super) sigmas: Vec<f32>,
    /// Noise levels of the midpoints, one a step but the last.
    pub(super) midpoints: Vec<f32>,
    pub(super) prediction: Prediction,
    /// Between the two evaluations of a step: its start.
    pub(super) start: Option<Vec<f32>>,
}

impl Solver for Dpm2Ancestral {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        noise: Noise<'_>,
    ) -> Vec<f32> {
        let (sigma, next) = (self.sigmas[at / 2], self.sigmas[at / 2 + 1]);
        let midpoint = self.midpoints.get(at / 2).copied();
        if let Some((start, level)) = self.start.take().zip(midpoint) {
            let x0 = self.prediction.x0_exploding(latents, model_output, level);
            let (down, up) = ancestral(sigma, next);
            *latents = map3(&start, latents, &x0, |start, x, x0| {
                start + (x - x0) / level * (down - sigma)
            });
            add_scaled(latents, up, &noise());
            x0
        } else {
            let x0 = self.prediction.x0_exploding(latents, model_output, sigma);
            self.start = midpoint.map(|_| latents.clone());
            euler_step(latents, &x0, sigma, midpoint.unwrap_or(next) - sigma);
            x0
        }
    }

    fn history_len(&self, at: usize) -> usize {
        usize::from(at % 2 == 1 && at < 2 * self.midpoints.len())
    }

    fn history(&self) -> Vec<&[f32]> {
        self.start.iter().map(Vec::as_slice).collect()
    }

    fn set_history(&mut self, _at: usize, history: Vec<Vec<f32>>) {
        self.start = history.into_iter().next();
    }
}
