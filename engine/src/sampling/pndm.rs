//! Pseudo numerical methods: Liu et al. 2022. Pseudo linear multistep (PLMS), started by a repeated step or by
//! pseudo Runge-Kutta steps (`skip_prk_steps` false).
//!
//! Reference: diffusers' `PNDMScheduler`. One evaluation more than steps; nine more with Runge-Kutta.

use super::elementwise::{add_scaled, map2};
use super::options::{Options, as_f32};
use super::prediction::Prediction;
use super::sampler::{Noise, Solver};
use super::tables::{Tables, spread_whole};
use crate::{Error, Result};

/// Evaluations of the Runge-Kutta start: three steps of four.
const RUNGE_KUTTA: usize = 12;

/// One network evaluation: where it is, and the transfer that follows it.
pub(super) struct Transfer {
    /// What the network is told.
    pub(super) timestep: i64,
    /// Cumulative product at that timestep.
    pub(super) alpha: f32,
    /// Cumulative products between which the latents are moved.
    from: f32,
    to: f32,
}

pub(super) struct Pndm {
    pub(super) transfers: Vec<Transfer>,
    runge_kutta: bool,
    prediction: Prediction,
    /// Latents at the start of the present step, where a later evaluation starts from them again.
    start: Option<Vec<f32>>,
    /// Weighted sum of the outputs of the present Runge-Kutta step.
    sum: Option<Vec<f32>>,
    /// Outputs of the last steps, the newest first.
    outputs: Vec<Vec<f32>>,
}

impl Pndm {
    /// The solver for `steps` steps. `runge_kutta`: whether the first three are pseudo Runge-Kutta steps. `begin`: how many
    /// timesteps are left out at the beginning, without Runge-Kutta.
    pub(super) fn new(
        options: &Options<'_>,
        tables: &Tables,
        steps: usize,
        runge_kutta: bool,
        begin: usize,
    ) -> Result<Self> {
        let stride = i64::try_from(options.num_train_timesteps / steps).expect("at most 100000");
        let set_alpha_to_one = options.keys.boolean("set_alpha_to_one", false)?;
        let final_alpha = if set_alpha_to_one {
            1.0
        } else {
            tables.alphas_cumprod[0]
        };
        let alpha_or_final = |t: i64| {
            if t < 0 {
                Ok(final_alpha)
            } else {
                tables.alpha_at(t)
            }
        };
        let timesteps = spread_whole(options, steps);
        let (network, moves): (Vec<i64>, Vec<(i64, i64)>) = if runge_kutta {
            if steps < 4 {
                return Err(Error::invalid(
                    "num_inference_steps",
                    format!("{steps} steps are too few for the Runge-Kutta start of this model's PNDM, which needs 4"),
                )
                .with_hint("ask for more steps, or choose a sampler"));
            }
            with_runge_kutta(&timesteps, stride)
        } else {
            with_repeated_step(&timesteps, stride, begin)
        };
        let transfer = |(timestep, (from, to)): (i64, (i64, i64))| {
            Ok(Transfer {
                timestep,
                alpha: tables.alpha_at(timestep)?,
                from: tables.alpha_at(from)?,
                to: alpha_or_final(to)?,
            })
        };
        let transfers = network
            .into_iter()
            .zip(moves)
            .map(transfer)
            .collect::<Result<_>>()?;
        let prediction = options.prediction;
        Ok(Self {
            transfers,
            runge_kutta,
            prediction,
            start: None,
            sum: None,
            outputs: Vec::new(),
        })
    }

    /// Outputs to keep before evaluation `at`.
    fn outputs_len(&self, at: usize) -> usize {
        match (self.runge_kutta, at) {
            (true, 0..RUNGE_KUTTA) => at.div_ceil(4),
            (true, _) => (at - RUNGE_KUTTA + 3).min(4),
            (false, 0) => 0,
            (false, _) => (at - 1).clamp(1, 4),
        }
    }

    /// What moves the latents after evaluation `at`: a combination of this output and earlier ones.
    fn combine(&mut self, at: usize, latents: &mut Vec<f32>, model_output: &[f32]) -> Vec<f32> {
        if self.runge_kutta && at < RUNGE_KUTTA {
            return self.combine_runge_kutta(at, latents, model_output);
        }
        let repeated = !self.runge_kutta && at == 1;
        if repeated {
            // the first step again, with the mean of the slopes at both its ends
            if let Some(start) = self.start.take() {
                *latents = start;
            }
            return map2(model_output, &self.outputs[0], |now, before| {
                (now + before) / 2.0
            });
        }
        if at == 0 {
            self.start = Some(latents.clone()).filter(|_| self.transfers.len() > 1);
        }
        self.outputs.insert(0, model_output.to_vec());
        self.outputs.truncate(4);
        match &self.outputs[..] {
            [a] => a.clone(),
            [a, b] => map2(a, b, |a, b| (3.0 * a - b) / 2.0),
            [a, b, c] => {
                let two = map2(a, b, |a, b| 23.0 * a - 16.0 * b);
                map2(&two, c, |two, c| (two + 5.0 * c) / 12.0)
            }
            [a, b, c, d, ..] => {
                let two = map2(a, b, |a, b| 55.0 * a - 59.0 * b);
                let three = map2(&two, c, |two, c| two + 37.0 * c);
                map2(&three, d, |three, d| as_f32(1.0 / 24.0) * (three - 9.0 * d))
            }
            [] => Vec::new(),
        }
    }

    fn combine_runge_kutta(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
    ) -> Vec<f32> {
        let weight = as_f32(if at.is_multiple_of(4) || at % 4 == 3 {
            1.0 / 6.0
        } else {
            1.0 / 3.0
        });
        let mut sum = self.sum.take().unwrap_or_else(|| vec![0.0; latents.len()]);
        add_scaled(&mut sum, weight, model_output);
        if at.is_multiple_of(4) {
            self.outputs.insert(0, model_output.to_vec());
            self.start = Some(latents.clone());
        } else if let Some(start) = &self.start {
            latents.clone_from(start);
        }
        if at % 4 == 3 {
            self.start = None;
            return sum;
        }
        self.sum = Some(sum);
        model_output.to_vec()
    }
}

/// Timesteps and moves of PLMS: the second timestep comes twice, and the first step is made twice.
fn with_repeated_step(timesteps: &[i64], stride: i64, begin: usize) -> (Vec<i64>, Vec<(i64, i64)>) {
    let mut network = timesteps.to_vec();
    if let Some(second) = timesteps.get(1) {
        network.insert(1, *second);
    }
    network.drain(..begin.min(network.len()));
    let moves = network.iter().enumerate().map(|(at, t)| {
        if at == 1 {
            (t + stride, *t)
        } else {
            (*t, t - stride)
        }
    });
    let moves = moves.collect();
    (network, moves)
}

/// Timesteps and moves with three pseudo Runge-Kutta steps first, each of four evaluations over half a stride.
fn with_runge_kutta(timesteps: &[i64], stride: i64) -> (Vec<i64>, Vec<(i64, i64)>) {
    let half = stride / 2;
    let (mut network, mut moves) = (Vec::new(), Vec::new());
    for pair in timesteps.windows(2).take(3) {
        let (from, to) = (pair[0], pair[1]);
        network.extend([from, to + half, to + half, to]);
        moves.extend([
            (from, from - half),
            (from, to + half),
            (from, to),
            (from, to),
        ]);
    }
    for t in &timesteps[3..] {
        network.push(*t);
        moves.push((*t, t - stride));
    }
    (network, moves)
}

impl Solver for Pndm {
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        _noise: Noise<'_>,
    ) -> Vec<f32> {
        let Transfer {
            alpha, from, to, ..
        } = self.transfers[at];
        let x0 = self.prediction.x0_preserving(
            latents,
            model_output,
            alpha.sqrt(),
            (1.0 - alpha).sqrt(),
        );
        let combined = self.combine(at, latents, model_output);
        let combined = self.prediction.epsilon_preserving(
            latents,
            &combined,
            from.sqrt(),
            (1.0 - from).sqrt(),
        );
        // equation 9
        let (beta, beta_to) = (1.0 - from, 1.0 - to);
        let scale = (to / from).sqrt();
        let denominator = from * beta_to.sqrt() + (from * beta * to).sqrt();
        *latents = map2(latents, &combined, |x, epsilon| {
            scale * x - (to - from) * epsilon / denominator
        });
        if at + 1 == self.transfers.len() {
            self.outputs.clear();
        }
        x0
    }

    fn history_len(&self, at: usize) -> usize {
        if at >= self.transfers.len() {
            return 0;
        }
        let inside = if self.runge_kutta {
            at < RUNGE_KUTTA && !at.is_multiple_of(4)
        } else {
            at == 1
        };
        let partial = usize::from(inside) + usize::from(inside && self.runge_kutta);
        partial + self.outputs_len(at)
    }

    fn history(&self) -> Vec<&[f32]> {
        self.start
            .iter()
            .chain(&self.sum)
            .chain(&self.outputs)
            .map(Vec::as_slice)
            .collect()
    }

    fn set_history(&mut self, at: usize, history: Vec<Vec<f32>>) {
        let outputs = if history.is_empty() {
            0
        } else {
            self.outputs_len(at)
        };
        let partial = history.len() - outputs;
        let mut history = history.into_iter();
        self.start = if partial > 0 { history.next() } else { None };
        self.sum = if partial > 1 { history.next() } else { None };
        self.outputs = history.collect();
    }
}
