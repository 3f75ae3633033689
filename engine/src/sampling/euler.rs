//! Euler's method on the probability flow: Karras et al. 2022, algorithm 2 without churn.
//!
//! Reference: diffusers' `EulerDiscreteScheduler`.

use super::elementwise::euler_step;
use super::prediction::Prediction;
use super::sampler::{Noise, Solver};

pub(super) struct Euler {
    /// Noise levels, one a step and the final one.
    pub(super) sigmas: Vec<f32>,
    pub(super) prediction: Prediction,
}

impl Solver for Euler {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        _noise: Noise<'_>,
    ) -> Vec<f32> {
        let (sigma, next) = (self.sigmas[at], self.sigmas[at + 1]);
        let x0 = self.prediction.x0_exploding(latents, model_output, sigma);
        euler_step(latents, &x0, sigma, next - sigma);
        x0
    }

    fn history_len(&self, _at: usize) -> usize {
        0
    }

    fn history(&self) -> Vec<&[f32]> {
        Vec::new()
    }

    fn set_history(&mut self, _at: usize, _history: Vec<Vec<f32>>) {}
}
