//! Latent consistency models: Luo et al. 2023, algorithm 3 (multistep consistency sampling).
//!
//! Reference: diffusers' `LCMScheduler`.

use super::elementwise::map2;
use super::options::as_f32;
use super::prediction::{Limit, Prediction};
use super::sampler::{Noise, Solver};

/// Deviation of the data in the boundary condition.
const SIGMA_DATA: f32 = 0.5;

pub(super) struct Lcm {
    /// Timestep, cumulative product there and at the next step.
    pub(super) steps: Vec<(i64, f32, f32)>,
    pub(super) prediction: Prediction,
    pub(super) limit: Limit,
    pub(super) timestep_scaling: f64,
}

impl Solver for Lcm {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        noise: Noise<'_>,
    ) -> Vec<f32> {
        let (timestep, alpha, next) = self.steps[at];
        let scaled = as_f32(timestep as f64) * as_f32(self.timestep_scaling);
        let denominator = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let (skip, out) = (
            SIGMA_DATA * SIGMA_DATA / denominator,
            scaled / denominator.sqrt(),
        );
        let x0 = self.prediction.x0_preserving(
            latents,
            model_output,
            alpha.sqrt(),
            (1.0 - alpha).sqrt(),
        );
        let x0 = map2(&self.limit.apply(x0), latents, |x0, x| out * x0 + skip * x);
        if at + 1 < self.steps.len() {
            let (root, noise_root) = (next.sqrt(), (1.0 - next).sqrt());
            *latents = map2(&x0, &noise(), |x0, z| root * x0 + noise_root * z);
        } else {
            latents.clone_from(&x0);
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

/// The same for flow models: to the picture, and back up to the next noise level with fresh noise. Source: diffusers'
/// `FlowMatchLCMScheduler`.
pub(super) struct LcmFlow {
    /// Noise levels, one a step and the final one.
    pub(super) sigmas: Vec<f32>,
}

impl Solver for LcmFlow {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        noise: Noise<'_>,
    ) -> Vec<f32> {
        let (sigma, next) = (self.sigmas[at], self.sigmas[at + 1]);
        let x0 = Prediction::Flow.x0_exploding(latents, model_output, sigma);
        if next > 0.0 {
            *latents = map2(&x0, &noise(), |x0, z| (1.0 - next) * x0 + next * z);
        } else {
            latents.clone_from(&x0);
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
