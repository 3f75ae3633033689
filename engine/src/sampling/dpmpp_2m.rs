//! Multistep DPM-Solver++ of order 1 to 3: Lu et al. 2022, algorithm 2 (DPM-Solver++(2M)).
//!
//! Reference: diffusers' `DPMSolverMultistepScheduler`. With the SDE algorithms it is the sibling `dpmpp_2m_sde`.

use super::dpm_solver::{DpmSolver, Level};
use super::elementwise::{map2, map3};
use super::options::{Algorithm, FinalSigma, Options};
use super::sampler::{Noise, Solver};
use crate::{Error, Result};

pub(super) struct DpmSolverMultistep {
    /// Noise levels, one a step and the final one.
    levels: Vec<Level>,
    solver: DpmSolver,
    /// The order of each step.
    orders: Vec<usize>,
    /// What the solver interpolates, of the last steps, the newest first.
    outputs: Vec<Vec<f32>>,
}

impl DpmSolverMultistep {
    /// The solver for `sigmas`: noise levels, one a step and the final one. `begin`: the first step that is made.
    pub(super) fn new(
        options: &Options<'_>,
        algorithm: Algorithm,
        sigmas: &[f32],
        begin: usize,
    ) -> Result<Self> {
        let solver = DpmSolver::read(options, algorithm)?;
        let solver_order = options.solver_order()?;
        if algorithm == Algorithm::SdeDpmSolver && solver_order == 3 {
            return Err(Error::model(
                "scheduler_config.json: `algorithm_type` `sde-dpmsolver` has no `solver_order` 3",
            ));
        }
        let steps = sigmas.len() - 1;
        let few = steps < 15 && options.keys.boolean("lower_order_final", true)?;
        let last_is_first = few
            || options.keys.boolean("euler_at_final", false)?
            || options.final_sigma == FinalSigma::Zero;
        let order = |step: usize| {
            let known = solver_order.min((step + 1).saturating_sub(begin)).max(1);
            match steps - step {
                1 if last_is_first => 1,
                2 if few => known.min(2),
                _ => known,
            }
        };
        let levels = sigmas.iter().map(|sigma| options.level(*sigma)).collect();
        Ok(Self {
            levels,
            solver,
            orders: (0..steps).map(order).collect(),
            outputs: Vec::new(),
        })
    }
}

impl Solver for DpmSolverMultistep {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        noise: Noise<'_>,
    ) -> Vec<f32> {
        let (from, to) = (self.levels[at], self.levels[at + 1]);
        let (x0, output) = self.solver.convert(latents, model_output, from);
        self.outputs.insert(0, output);
        let noise = self.solver.algorithm.is_sde().then(noise);
        let h = to.lambda - from.lambda;
        // distance to an earlier step, in units of this one
        let back = |steps: usize| {
            (self.levels[at + 1 - steps].lambda - self.levels[at - steps].lambda) / h
        };
        let m0 = &self.outputs[0];
        let slope =
            |newer: &[f32], older: &[f32], r: f32| map2(newer, older, |a, b| 1.0 / r * (a - b));
        let d1: Vec<f32>;
        let d2: Vec<f32>;
        let (differences, midpoint) = match self.orders[at] {
            1 => (vec![&m0[..]], true),
            2 => {
                d1 = slope(m0, &self.outputs[1], back(1));
                (vec![&m0[..], &d1], !self.solver.heun)
            }
            _ => {
                let (r0, r1) = (back(1), back(2));
                let near = slope(m0, &self.outputs[1], r0);
                let far = slope(&self.outputs[1], &self.outputs[2], r1);
                d1 = map3(&near, &near, &far, |near, a, b| {
                    near + r0 / (r0 + r1) * (a - b)
                });
                d2 = map2(&near, &far, |near, far| 1.0 / (r0 + r1) * (near - far));
                (vec![&m0[..], &d1, &d2], false)
            }
        };
        self.solver.update(
            latents,
            [from, to],
            &differences,
            midpoint,
            noise.as_deref(),
        );
        let keep = self.history_len(at + 1);
        self.outputs.truncate(keep);
        x0
    }

    fn history_len(&self, at: usize) -> usize {
        // the next step looks back one less than its order
        let needed = |step: usize| {
            self.orders[step..]
                .iter()
                .take(3)
                .enumerate()
                .map(|(i, order)| (order - 1).saturating_sub(i))
                .max()
        };
        needed(at.min(self.orders.len())).unwrap_or(0)
    }

    fn history(&self) -> Vec<&[f32]> {
        self.outputs.iter().map(Vec::as_slice).collect()
    }

    fn set_history(&mut self, _at: usize, history: Vec<Vec<f32>>) {
        self.outputs = history;
    }
}
