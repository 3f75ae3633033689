//! The updates that the DPM-Solver samplers share: exact in the linear part, a polynomial in the rest.
//!
//! Lu et al. 2022 (DPM-Solver, DPM-Solver++). Time is `lambda = log(alpha / sigma)`; an update goes from one noise
//! level to another with up to three divided differences of the predicted picture (`++`) or of the predicted noise.

use super::elementwise::add_scaled;
use super::options::{Algorithm, Options, as_f32};
use super::prediction::{Limit, Prediction};
use crate::{Error, Result};

/// A noise level in the variance-preserving form: `latents = alpha * picture + sigma * noise`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub(super) alpha: f32,
    pub(super) sigma: f32,
    /// `log(alpha / sigma)`, infinite without noise.
    pub(super) lambda: f32,
}

impl Level {
    /// From the level of a flow model: `latents = (1 - sigma) picture + sigma noise`.
    pub(super) fn of_flow(sigma: f32) -> Self {
        let alpha = 1.0 - sigma;
        Self {
            alpha,
            sigma,
            lambda: ln(alpha) - ln(sigma),
        }
    }

    /// From the level relative to the picture.
    pub(super) fn new(sigma: f32) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        let sigma = sigma * alpha;
        Self {
            alpha,
            sigma,
            lambda: ln(alpha) - ln(sigma),
        }
    }
}

/// What the DPM-Solver samplers do with the network's output.
#[derive(Debug, Clone, Copy)]
pub(super) struct DpmSolver {
    pub(super) algorithm: Algorithm,
    /// Second order by Heun's rule; otherwise by the midpoint's.
    pub(super) heun: bool,
    pub(super) prediction: Prediction,
    pub(super) limit: Limit,
}

impl DpmSolver {
    /// Reads `solver_type` and the shared options, for `algorithm`.
    pub(super) fn read(options: &Options<'_>, algorithm: Algorithm) -> Result<Self> {
        if !algorithm.predicts_x0() && options.final_sigma == super::options::FinalSigma::Zero {
            return Err(Error::model(
                "scheduler_config.json: `algorithm_type` without `++` needs `final_sigmas_type` `sigma_min`",
            ));
        }
        let heun = options.solver_is_heun()?;
        Ok(Self {
            algorithm,
            heun,
            prediction: options.prediction,
            limit: options.limit,
        })
    }

    /// The picture, and what the updates interpolate: the picture itself or the noise.
    pub(super) fn convert(
        &self,
        latents: &[f32],
        model_output: &[f32],
        level: Level,
    ) -> (Vec<f32>, Vec<f32>) {
        let Level { alpha, sigma, .. } = level;
        let x0 =
            self.limit.apply(
                self.prediction
                    .x0_preserving(latents, model_output, alpha, sigma),
            );
        let interpolated = if self.algorithm.predicts_x0() {
            x0.clone()
        } else if self.limit == Limit::None {
            self.prediction
                .epsilon_preserving(latents, model_output, alpha, sigma)
        } else {
            Prediction::Sample.epsilon_preserving(latents, &x0, alpha, sigma)
        };
        (x0, interpolated)
    }

    /// Moves `latents` from one level to another.
    ///
    /// `differences`: the value, the first and the second divided difference, as many as the order. `second` says by
    /// which rule the first difference counts. `noise`: of the SDE algorithms.
    pub(super) fn update(
        &self,
        latents: &mut [f32],
        [from, to]: [Level; 2],
        differences: &[&[f32]],
        midpoint: bool,
        noise: Option<&[f32]>,
    ) {
        let weights = self.weights(from, to, midpoint);
        for x in latents.iter_mut() {
            *x *= weights.latents;
        }
        for (weight, difference) in weights.differences.iter().zip(differences) {
            add_scaled(latents, *weight, difference);
        }
        if let Some(noise) = noise {
            add_scaled(latents, weights.noise, noise);
        }
    }

    fn weights(&self, from: Level, to: Level, midpoint: bool) -> Weights {
        let h = to.lambda - from.lambda;
        let (latents, differences, noise) = match self.algorithm {
            Algorithm::DpmSolverPp => {
                let decay = exp(-h) - 1.0;
                let zeroth = -(to.alpha * decay);
                let first = to.alpha * (decay / h + 1.0);
                (
                    to.sigma / from.sigma,
                    [zeroth, first, -(to.alpha * ((decay + h) / (h * h) - 0.5))],
                    0.0,
                )
            }
            Algorithm::DpmSolver => {
                let growth = exp(h) - 1.0;
                let first = -(to.sigma * (growth / h - 1.0));
                let second = -(to.sigma * ((growth - h) / (h * h) - 0.5));
                (
                    to.alpha / from.alpha,
                    [-(to.sigma * growth), first, second],
                    0.0,
                )
            }
            Algorithm::SdeDpmSolverPp => {
                let decay = 1.0 - exp(-2.0 * h);
                let first = to.alpha * (decay / (-2.0 * h) + 1.0);
                let second = to.alpha * ((decay - 2.0 * h) / (4.0 * h * h) - 0.5);
                (
                    to.sigma / from.sigma * exp(-h),
                    [to.alpha * decay, first, second],
                    to.sigma * decay.sqrt(),
                )
            }
            Algorithm::SdeDpmSolver => {
                let growth = exp(h) - 1.0;
                let first = -2.0 * (to.sigma * (growth / h - 1.0));
                let noise = to.sigma * (exp(2.0 * h) - 1.0).sqrt();
                (
                    to.alpha / from.alpha,
                    [-2.0 * (to.sigma * growth), first, 0.0],
                    noise,
                )
            }
        };
        let [zeroth, first, second] = differences;
        let first = if midpoint { 0.5 * zeroth } else { first };
        Weights {
            latents,
            differences: [zeroth, first, second],
            noise,
        }
    }
}

/// The weights of an update's terms.
struct Weights {
    latents: f32,
    differences: [f32; 3],
    noise: f32,
}

pub(super) fn exp(x: f32) -> f32 {
    as_f32(f64::from(x).exp())
}

pub(super) fn ln(x: f32) -> f32 {
    as_f32(f64::from(x).ln())
}
