//! Singlestep DPM-Solver++ of order 1 to 3: Lu et al. 2022, algorithm 1 (DPM-Solver++(2S)).
//!
//! Reference: diffusers' `DPMSolverSinglestepScheduler`, which spends a step of the schedule on each evaluation: steps
//! come in blocks of rising order, and every step of a block starts anew from the latents at the block's start.

use super::dpm_solver::{DpmSolver, Level};
use super::elementwise::map2;
use super::options::{FinalSigma, Options};
use super::prediction::Limit;
use super::sampler::{Noise, Solver};
use crate::{Error, Result};

pub(super) struct DpmSolverSinglestep {
    /// Noise levels, one a step and the final one.
    levels: Vec<Level>,
    solver: DpmSolver,
    /// The order of each step: 1 begins a block.
    orders: Vec<usize>,
    /// Latents at the start of the block.
    start: Vec<f32>,
    /// What the solver interpolates, of the steps of this block, the newest first.
    outputs: Vec<Vec<f32>>,
}

impl DpmSolverSinglestep {
    /// The solver for `sigmas`: noise levels, one a step and the final one. `begin`: the first step that is made.
    pub(super) fn new(options: &Options<'_>, sigmas: &[f32], begin: usize) -> Result<Self> {
        let algorithm = options.algorithm()?;
        if algorithm == super::options::Algorithm::SdeDpmSolver {
            return Err(Error::model(
                "scheduler_config.json: `algorithm_type` is `sde-dpmsolver`: DPMSolverSinglestepScheduler has no such algorithm",
            ));
        }
        let solver = DpmSolver::read(options, algorithm)?;
        if !algorithm.predicts_x0() && solver.limit != Limit::None {
            return Err(Error::model(
                "scheduler_config.json: `thresholding` needs an `algorithm_type` with `++`",
            ));
        }
        let steps = sigmas.len() - 1;
        let solver_order = options.solver_order()?;
        let ends_at_zero = options.final_sigma == FinalSigma::Zero;
        let lower_final = options.keys.boolean("lower_order_final", false)?
            || !steps.is_multiple_of(solver_order)
            || ends_at_zero;
        let mut orders: Vec<usize> = (0..steps).map(|step| step % solver_order + 1).collect();
        if lower_final {
            lower_the_end(&mut orders, solver_order);
        }
        if let Some(last) = orders.last_mut().filter(|_| ends_at_zero) {
            *last = 1;
        }
        // A start in the middle has no earlier outputs to build on.
        for (made, order) in orders.iter_mut().skip(begin).enumerate() {
            *order = (*order).min(made + 1);
        }
        let levels = sigmas.iter().map(|sigma| Level::new(*sigma)).collect();
        Ok(Self {
            levels,
            solver,
            orders,
            start: Vec::new(),
            outputs: Vec::new(),
        })
    }
}

/// A last block that would be whole ends with order 1 instead, and one of two steps of three has no third.
fn lower_the_end(orders: &mut [usize], solver_order: usize) {
    if let Some(last) = orders.last_mut().filter(|last| **last == solver_order) {
        *last = 1;
    }
}

impl Solver for DpmSolverSinglestep {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        noise: Noise<'_>,
    ) -> Vec<f32> {
        let order = self.orders[at];
        let (x0, output) = self.solver.convert(latents, model_output, self.levels[at]);
        self.outputs.insert(0, output);
        self.outputs.truncate(order);
        let noise = self.solver.algorithm.is_sde().then(noise);
        if order == 1 {
            self.start.clone_from(latents);
        } else {
            latents.clone_from(&self.start);
        }
        let (from, to) = (self.levels[at + 1 - order], self.levels[at + 1]);
        let h = to.lambda - from.lambda;
        let ratio = |step: usize| (self.levels[step].lambda - from.lambda) / h;
        let first = &self.outputs[order - 1];
        let slope =
            |later: &[f32], r: f32| map2(later, first, |later, first| 1.0 / r * (later - first));
        let d1: Vec<f32>;
        let d2: Vec<f32>;
        let (differences, midpoint) = match order {
            1 => (vec![&first[..]], true),
            2 => {
                d1 = slope(&self.outputs[0], ratio(at));
                (vec![&first[..], &d1], !self.solver.heun)
            }
            _ => {
                let (r0, r1) = (ratio(at), ratio(at - 1));
                let (near, far) = (slope(&self.outputs[1], r1), slope(&self.outputs[0], r0));
                if self.solver.heun {
                    d1 = map2(&near, &far, |near, far| (r0 * near - r1 * far) / (r0 - r1));
                    d2 = map2(&near, &far, |near, far| 2.0 * (far - near) / (r0 - r1));
                    (vec![&first[..], &d1, &d2], false)
                } else {
                    d1 = far;
                    (vec![&first[..], &d1], false)
                }
            }
        };
        self.solver.update(
            latents,
            [from, to],
            &differences,
            midpoint,
            noise.as_deref(),
        );
        if self.history_len(at + 1) == 0 {
            self.outputs.clear();
            self.start.clear();
        }
        x0
    }

    fn history_len(&self, at: usize) -> usize {
        // inside a block: its start and the outputs so far
        self.orders
            .get(at)
            .filter(|order| **order > 1)
            .map_or(0, |order| *order)
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
