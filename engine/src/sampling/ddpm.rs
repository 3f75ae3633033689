//! Denoising diffusion probabilistic models: Ho et al. 2020, equation 7.
//!
//! Reference: diffusers' `DDPMScheduler`.

use super::elementwise::{add_scaled, map2};
use super::prediction::{Limit, Prediction};
use super::sampler::{Noise, Solver};

/// How much noise a step adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variance {
    Small,
    SmallLog,
    Large,
}

pub(super) struct Ddpm {
    /// Timestep, cumulative product there and at the timestep it goes to.
    pub(super) steps: Vec<(i64, f32, f32)>,
    pub(super) prediction: Prediction,
    pub(super) limit: Limit,
    pub(super) variance: Variance,
}

impl Solver for Ddpm {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        noise: Noise<'_>,
    ) -> Vec<f32> {
        let (timestep, alpha, next) = self.steps[at];
        let (beta, beta_next) = (1.0 - alpha, 1.0 - next);
        let alpha_here = alpha / next;
        let beta_here = 1.0 - alpha_here;
        let x0 = self.limit.apply(self.prediction.x0_preserving(
            latents,
            model_output,
            alpha.sqrt(),
            beta.sqrt(),
        ));
        let x0_scale = next.sqrt() * beta_here / beta;
        let scale = alpha_here.sqrt() * beta_next / beta;
        *latents = map2(&x0, latents, |x0, x| x0_scale * x0 + scale * x);
        if timestep > 0 {
            let small = (beta_next / beta * beta_here).max(1e-20);
            let deviation = match self.variance {
                Variance::Small => small.sqrt(),
                Variance::SmallLog => (0.5 * small.ln()).exp(),
                Variance::Large => beta_here.sqrt(),
            };
            add_scaled(latents, deviation, &noise());
        }
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
