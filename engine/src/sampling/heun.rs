//! Heun's second-order method: Karras et al. 2022, algorithm 2 without churn. Two evaluations a step, one in the last.
//!
//! Reference: diffusers' `HeunDiscreteScheduler`.

use super::elementwise::{euler_step, map2, map3};
use super::prediction::{Limit, Prediction};
use super::sampler::{Noise, Solver};

pub(super) struct Heun {
    /// Noise levels, one a step and the final one.
    pub(super) sigmas: Vec<f32>,
    pub(super) prediction: Prediction,
    pub(super) limit: Limit,
    /// Between the two evaluations of a step: the slope at its start, and its start.
    pub(super) start: Option<(Vec<f32>, Vec<f32>)>,
}

impl Solver for Heun {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        _noise: Noise<'_>,
    ) -> Vec<f32> {
        let (sigma, next) = (self.sigmas[at / 2], self.sigmas[at / 2 + 1]);
        let level = if self.start.is_some() { next } else { sigma };
        let x0 = self
            .limit
            .apply(self.prediction.x0_exploding(latents, model_output, level));
        if let Some((slope, start)) = self.start.take() {
            let slope_there = map2(latents, &x0, |x, x0| (x - x0) / level);
            let dt = next - sigma;
            *latents = map3(&start, &slope, &slope_there, |x, here, there| {
                x + (here + there) / 2.0 * dt
            });
        } else {
            let slope = map2(latents, &x0, |x, x0| (x - x0) / level);
            self.start = Some((slope, latents.clone())).filter(|_| next > 0.0);
            euler_step(latents, &x0, sigma, next - sigma);
        }
        x0
    }

    fn history_len(&self, at: usize) -> usize {
        if at % 2 == 1 && at < 2 * (self.sigmas.len() - 1) - 1 {
            2
        } else {
            0
        }
    }

    fn history(&self) -> Vec<&[f32]> {
        self.start
            .iter()
            .flat_map(|(slope, start)| [&slope[..], start])
            .collect()
    }

    fn set_history(&mut self, _at: usize, history: Vec<Vec<f32>>) {
        let mut history = history.into_iter();
        self.start = history.next().zip(history.next());
    }
}
