//! Unified predictor-corrector of order 1 to 3: Zhao et al. 2023, UniPC with B(h) = h (`bh1`) or e^h - 1 (`bh2`).
//!
//! Reference: diffusers' `UniPCMultistepScheduler`. Each evaluation first corrects the step before it, then predicts.

use super::dpm_solver::Level;
use super::elementwise::{add_scaled, map, map2};
use super::options::{FinalSigma, Options, as_f32};
use super::prediction::{Limit, Prediction};
use super::sampler::{Noise, Solver};
use crate::{Error, Result};

pub(super) struct UniPc {
    /// Noise levels, one a step and the final one.
    levels: Vec<Level>,
    /// The order of each step's prediction.
    orders: Vec<usize>,
    /// Whether each step begins with a correction.
    corrects: Vec<bool>,
    solver_order: usize,
    /// The first step that is made.
    begin: usize,
    predicts_x0: bool,
    bh1: bool,
    prediction: Prediction,
    limit: Limit,
    /// Latents that the last prediction started from.
    start: Vec<f32>,
    /// Pictures (or noises) of the last steps, the newest first.
    outputs: Vec<Vec<f32>>,
}

impl UniPc {
    /// The solver for `sigmas`: noise levels, one a step and the final one. `begin`: the first step that is made.
    pub(super) fn new(options: &Options<'_>, sigmas: &[f32], begin: usize) -> Result<Self> {
        let keys = options.keys;
        let steps = sigmas.len() - 1;
        let solver_order = options.solver_order()?;
        let lower_final = keys.boolean("lower_order_final", true)?;
        let predicts_x0 = keys.boolean("predict_x0", true)?;
        if options.final_sigma == FinalSigma::Zero && !predicts_x0 {
            return Err(Error::model(
                "scheduler_config.json: `predict_x0` false needs `final_sigmas_type` `sigma_min`",
            ));
        }
        if options.final_sigma == FinalSigma::Zero && !lower_final && solver_order > 1 && steps > 1
        {
            return Err(Error::model(
                "scheduler_config.json: `lower_order_final` false needs `final_sigmas_type` `sigma_min`",
            ));
        }
        let disabled: Vec<u64> = match keys.get("disable_corrector") {
            None => Vec::new(),
            Some(value) => serde_json::from_value(value.clone()).map_err(|_not_a_list| {
                super::config::wrong("disable_corrector", value, "a list of step indices")
            })?,
        };
        let order = |step: usize| {
            let most = if lower_final {
                solver_order.min(steps - step)
            } else {
                solver_order
            };
            most.min((step + 1).saturating_sub(begin)).max(1)
        };
        let corrects = |step: usize| step > begin && !disabled.contains(&(step as u64 - 1));
        Ok(Self {
            levels: sigmas.iter().map(|sigma| options.level(*sigma)).collect(),
            orders: (0..steps).map(order).collect(),
            corrects: (0..steps).map(corrects).collect(),
            solver_order,
            begin,
            predicts_x0,
            bh1: options.solver_is_bh1()?,
            prediction: options.prediction,
            limit: if predicts_x0 {
                options.limit
            } else {
                Limit::None
            },
            start: Vec::new(),
            outputs: Vec::new(),
        })
    }

    /// The step from level `at` on, from `start`, by the outputs at and before `at` and, for a correction, the one after.
    fn step(
        &self,
        at: usize,
        order: usize,
        start: &[f32],
        outputs: &[Vec<f32>],
        after: Option<&[f32]>,
    ) -> Vec<f32> {
        let (from, to) = (self.levels[at], self.levels[at + 1]);
        let h = to.lambda - from.lambda;
        let hh = if self.predicts_x0 { -h } else { h };
        let phi_1 = as_f32(f64::from(hh).exp_m1());
        let b_h = if self.bh1 { hh } else { phi_1 };
        let (scale, weight) = if self.predicts_x0 {
            (to.sigma / from.sigma, to.alpha)
        } else {
            (to.alpha / from.alpha, to.sigma)
        };
        let m0 = &outputs[0];
        let mut next = map2(start, m0, |x, m0| scale * x - weight * phi_1 * m0);
        let mut rks: Vec<f32> = (1..order)
            .map(|back| (self.levels[at - back].lambda - from.lambda) / h)
            .collect();
        let slopes = rks
            .iter()
            .zip(&outputs[1..])
            .map(|(rk, m)| map2(m, m0, |m, m0| (m - m0) / rk));
        let mut slopes: Vec<Vec<f32>> = slopes.collect();
        if let Some(after) = after {
            rks.push(1.0);
            slopes.push(map2(after, m0, |m, m0| m - m0));
        }
        if slopes.is_empty() {
            return next;
        }
        let rhos = if slopes.len() == 1 {
            vec![0.5]
        } else {
            solve(&rks, hh, phi_1, b_h)
        };
        let mut rest = map(&slopes[0], |slope| rhos[0] * slope);
        for (rho, slope) in rhos.iter().zip(&slopes).skip(1) {
            add_scaled(&mut rest, *rho, slope);
        }
        add_scaled(&mut next, -(weight * b_h), &rest);
        next
    }
}

/// Weights of the slopes: row `i` of the system says `sum rho rk^i = i-th moment / B(h)`.
fn solve(rks: &[f32], hh: f32, phi_1: f32, b_h: f32) -> Vec<f32> {
    let count = rks.len();
    let (mut phi_k, mut factorial) = (phi_1 / hh - 1.0, 1.0_f32);
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(count);
    let mut powers = vec![1.0_f32; count];
    for row in 1..=count {
        let mut entries: Vec<f64> = powers.iter().map(|power| f64::from(*power)).collect();
        entries.push(f64::from(phi_k * factorial / b_h));
        rows.push(entries);
        for (power, rk) in powers.iter_mut().zip(rks) {
            *power *= rk;
        }
        factorial *= (row + 1) as f32;
        phi_k = phi_k / hh - 1.0 / factorial;
    }
    // Gauss-Jordan with the largest pivot; a singular system gives numbers that are not finite, which `plan` refuses
    for column in 0..count {
        let pivot = (column..count)
            .max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()));
        rows.swap(column, pivot.unwrap_or(column));
        let pivot_row = rows[column].clone();
        for (index, row) in rows.iter_mut().enumerate() {
            if index != column {
                let factor = row[column] / pivot_row[column];
                for (entry, pivot) in row.iter_mut().zip(&pivot_row) {
                    *entry -= factor * pivot;
                }
            }
        }
    }
    rows.iter()
        .enumerate()
        .map(|(index, row)| as_f32(row[count] / row[index]))
        .collect()
}

impl Solver for UniPc {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        _noise: Noise<'_>,
    ) -> Vec<f32> {
        let Level { alpha, sigma, .. } = self.levels[at];
        let x0 =
            self.limit.apply(
                self.prediction
                    .x0_preserving(latents, model_output, alpha, sigma),
            );
        let output = if self.predicts_x0 {
            x0.clone()
        } else {
            self.prediction
                .epsilon_preserving(latents, model_output, alpha, sigma)
        };
        if self.corrects[at] {
            *latents = self.step(
                at - 1,
                self.orders[at - 1],
                &self.start,
                &self.outputs,
                Some(&output),
            );
        }
        self.outputs.insert(0, output);
        self.outputs.truncate(self.solver_order);
        self.start.clone_from(latents);
        *latents = self.step(at, self.orders[at], &self.start, &self.outputs, None);
        x0
    }

    fn history_len(&self, at: usize) -> usize {
        if at <= self.begin {
            0
        } else {
            1 + (at - self.begin).min(self.solver_order)
        }
    }

    fn history(&self) -> Vec<&[f32]> {
        let start = Some(self.start.as_slice()).filter(|_| !self.outputs.is_empty());
        start
            .into_iter()
            .chain(self.outputs.iter().map(Vec::as_slice))
            .collect()
    }

    fn set_history(&mut self, _at: usize, history: Vec<Vec<f32>>) {
        let mut history = history.into_iter();
        self.start = history.next().unwrap_or_default();
        self.outputs = history.collect();
    }
}
