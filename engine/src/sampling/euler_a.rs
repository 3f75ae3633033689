//! Ancestral Euler: a step beyond the next noise level, then fresh noise back up to it (k-diffusion's `euler_ancestral`).
//!
//! Reference: diffusers' `EulerAncestralDiscreteScheduler`.

use super::elementwise::{add_scaled, euler_step};
use super::prediction::Prediction;
use super::sampler::{Noise, Solver};

pub(super) struct EulerAncestral {
    /// Noise levels, one a step and the final one.
    pub(super) sigmas: Vec<f32>,
    pub(super) prediction: Prediction,
}

impl Solver for EulerAncestral {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        noise: Noise<'_>,
    ) -> Vec<f32> {
        let sigma = self.sigmas[at];
        let (down, up) = ancestral(sigma, self.sigmas[at + 1]);
        let x0 = self.prediction.x0_exploding(latents, model_output, sigma);
        euler_step(latents, &x0, sigma, down - sigma);
        add_scaled(latents, up, &noise());
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

/// The same for flow models, whose noise levels keep the latents between picture and noise. Source: ComfyUI
/// `sample_euler_ancestral_RF`.
pub(super) struct EulerAncestralFlow {
    /// Noise levels, one a step and the final one.
    pub(super) sigmas: Vec<f32>,
}

impl Solver for EulerAncestralFlow {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        noise: Noise<'_>,
    ) -> Vec<f32> {
        let (sigma, next) = (self.sigmas[at], self.sigmas[at + 1]);
        let x0 = Prediction::Flow.x0_exploding(latents, model_output, sigma);
        if next <= 0.0 {
            latents.clone_from(&x0);
            return x0;
        }
        let down = next * (next / sigma);
        let (alpha_next, alpha_down) = (1.0 - next, 1.0 - down);
        let ratio = alpha_next / alpha_down;
        let up = (next * next - down * down * ratio * ratio).max(0.0).sqrt();
        let kept = down / sigma;
        for (x, x0) in latents.iter_mut().zip(&x0) {
            *x = (kept * *x + (1.0 - kept) * x0) * ratio;
        }
        add_scaled(latents, up, &noise());
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

/// A step from one noise level to the next as a level to go down to and the noise that leads up again.
pub(super) fn ancestral(from: f32, to: f32) -> (f32, f32) {
    let (from, to) = (from * from, to * to);
    let up = to * (from - to) / from;
    // `up` is rounded before it is subtracted, as a square root that is squared again
    let up = up.max(0.0).sqrt();
    ((to - up * up).max(0.0).sqrt(), up)
}
