//! Denoising diffusion implicit models with eta 0: Song et al. 2020, equation 12.
//!
//! Reference: diffusers' `DDIMScheduler`.

use super::elementwise::map2;
use super::prediction::{Limit, Prediction};
use super::sampler::{Noise, Solver};

pub(super) struct Ddim {
    /// Cumulative products at each step and at the timestep it goes to.
    pub(super) alphas: Vec<(f32, f32)>,
    pub(super) prediction: Prediction,
    pub(super) limit: Limit,
}

impl Solver for Ddim {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        _noise: Noise<'_>,
    ) -> Vec<f32> {
        let (alpha, next) = self.alphas[at];
        let (root, noise_root) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let x0 = self.limit.apply(self.prediction.x0_preserving(
            latents,
            model_output,
            root,
            noise_root,
        ));
        let epsilon = self
            .prediction
            .epsilon_preserving(latents, model_output, root, noise_root);
        let (next_root, direction) = (next.sqrt(), (1.0 - next).sqrt());
        *latents = map2(&x0, &epsilon, |x0, epsilon| {
            next_root * x0 + direction * epsilon
        });
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
