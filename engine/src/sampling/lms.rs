//! Linear multistep (Adams-Bashforth with uneven steps) of order 4 in sigma (k-diffusion's `lms`).
//!
//! Reference: diffusers' `LMSDiscreteScheduler`.

use super::elementwise::{add_scaled, map2};
use super::options::as_f32;
use super::prediction::Prediction;
use super::sampler::{Noise, Solver};

const ORDER: usize = 4;

pub(super) struct Lms {
    /// Noise levels, one a step and the final one.
    pub(super) sigmas: Vec<f32>,
    pub(super) prediction: Prediction,
    /// Slopes of the last steps, the newest first.
    pub(super) slopes: Vec<Vec<f32>>,
    /// The first step that is made.
    pub(super) begin: usize,
}

impl Solver for Lms {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        _noise: Noise<'_>,
    ) -> Vec<f32> {
        let sigma = self.sigmas[at];
        let x0 = self.prediction.x0_exploding(latents, model_output, sigma);
        self.slopes
            .insert(0, map2(latents, &x0, |x, x0| (x - x0) / sigma));
        self.slopes.truncate(ORDER);
        let mut change = vec![0.0; latents.len()];
        for (index, slope) in self.slopes.iter().enumerate() {
            add_scaled(
                &mut change,
                as_f32(coefficient(&self.sigmas, at, ORDER.min(at + 1), index)),
                slope,
            );
        }
        add_scaled(latents, 1.0, &change);
        x0
    }

    fn history_len(&self, at: usize) -> usize {
        (at - self.begin).min(ORDER)
    }

    fn history(&self) -> Vec<&[f32]> {
        self.slopes.iter().map(Vec::as_slice).collect()
    }

    fn set_history(&mut self, _at: usize, history: Vec<Vec<f32>>) {
        self.slopes = history;
    }
}

/// Integral from level `at` to the next of the Lagrange polynomial that is 1 at level `at - index` and 0 at the others
/// of the last `order` levels. Two-point Gauss quadrature is exact for its degree.
fn coefficient(sigmas: &[f32], at: usize, order: usize, index: usize) -> f64 {
    let level = |back: usize| f64::from(sigmas[at - back]);
    let (from, to) = (level(0), f64::from(sigmas[at + 1]));
    let (centre, half) = ((from + to) / 2.0, (to - from) / 2.0);
    let polynomial = |tau: f64| -> f64 {
        let others = (0..order).filter(|other| *other != index);
        others
            .map(|other| (tau - level(other)) / (level(index) - level(other)))
            .product()
    };
    let offset = half / 3.0_f64.sqrt();
    (polynomial(centre - offset) + polynomial(centre + offset)) * half
}
