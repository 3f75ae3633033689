//! The step machine that every sampler is: one `advance` per network evaluation, state that can be saved between any two.
//!
//! What differs between samplers is a [`Solver`]: the arithmetic of one evaluation and the tensors it remembers.

use super::elementwise::map2;
use super::options::as_f32;
use super::state::SamplerState;
use crate::{Error, ErrorKind, Result};

/// A draw of standard normal numbers, as many as the latents have.
pub type Noise<'a> = &'a mut dyn FnMut() -> Vec<f32>;

/// What the network is asked next.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInput {
    /// The latents, scaled as the network expects them.
    pub sample: Vec<f32>,
    /// Training timestep from 0, whole or fractional.
    pub timestep: f64,
}

/// A sampler on its way from noise to latents.
///
/// Latents are a slice in any layout, the same in every call: all arithmetic is elementwise. The way of use:
/// multiply noise by [`init_noise_sigma`](Self::init_noise_sigma); then, [`evaluation_count`](Self::evaluation_count)
/// times, give the network [`model_input`](Self::model_input) and its output to [`advance`](Self::advance).
pub trait Sampler: Send {
    /// Network evaluations from start to end.
    fn evaluation_count(&self) -> usize;

    /// Network evaluations made.
    fn evaluations_done(&self) -> usize;

    /// The step that the last evaluation belonged to, from 1; 0 before the first evaluation.
    fn inference_step(&self) -> usize;

    /// Standard deviation of the first latents.
    fn init_noise_sigma(&self) -> f32;

    /// What to ask the network next; after the last evaluation, what it was asked last.
    fn model_input(&self, latents: &[f32]) -> ModelInput;

    /// Takes in one evaluation: moves `latents` on. Does nothing after the last evaluation.
    ///
    /// `model_output`: as long as `latents`, guidance applied. `noise` is called once in an evaluation that draws
    /// noise, and not at all in others.
    fn advance(&mut self, latents: &mut Vec<f32>, model_output: &[f32], noise: Noise<'_>);

    /// Noise level of the latents now, relative to the picture in them.
    fn sigma(&self) -> f64;

    /// `picture` with as much of `noise` as the latents have now: what the latents would be of this picture.
    ///
    /// Both are as long as the latents. After the last evaluation it is the picture.
    fn noised(&self, picture: &[f32], noise: &[f32]) -> Vec<f32>;

    /// The picture (as latents) that the last evaluation pointed to, for previews.
    fn denoised(&self) -> Option<&[f32]>;

    /// Everything that the next evaluations depend on beside the latents and the noise.
    fn save(&self) -> SamplerState;

    /// Goes on where [`save`](Self::save) was called, on a sampler of an equal plan.
    /// Fails when the state is of another plan or damaged; then nothing has changed.
    fn restore(&mut self, state: SamplerState) -> Result<()>;
}

/// One network evaluation of a plan.
#[derive(Debug, Clone)]
pub(super) struct Evaluation {
    pub(super) timestep: f64,
    /// The network is given the latents divided by this.
    pub(super) input_divisor: f32,
    /// Noise level of the latents before it.
    pub(super) sigma: f64,
    /// Noise level that what is kept of a picture is given before it: in the middle of a step, that of its end.
    pub(super) kept_sigma: f64,
    /// The inference step it belongs to, from 1.
    pub(super) inference_step: usize,
}

/// How picture and noise make latents at a noise level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `picture + sigma noise`.
    Exploding,
    /// The same, scaled to keep its variance.
    Preserving,
    /// `(1 - sigma) picture + sigma noise`.
    Flow,
}

/// All evaluations of a plan.
#[derive(Debug, Clone)]
pub(super) struct Course {
    pub(super) evaluations: Vec<Evaluation>,
    /// The first evaluation that is made: more than 0 where a picture is given to begin from.
    pub(super) begin: usize,
    pub(super) form: Form,
    pub(super) init_noise_sigma: f32,
    pub(super) final_sigma: f64,
}

/// The arithmetic of a sampler.
pub(super) trait Solver: Send {
    /// Takes in evaluation `at`, from 0. Returns the picture that it points to.
    fn advance(
        &mut self,
        at: usize,
        latents: &mut Vec<f32>,
        model_output: &[f32],
        noise: Noise<'_>,
    ) -> Vec<f32>;

    /// Tensors remembered before evaluation `at`.
    fn history_len(&self, at: usize) -> usize;

    /// The tensors remembered, in a fixed order.
    fn history(&self) -> Vec<&[f32]>;

    /// Remembers `history` (of [`history_len`](Self::history_len) tensors) before evaluation `at`.
    fn set_history(&mut self, at: usize, history: Vec<Vec<f32>>);
}

/// A solver on its course.
pub(super) struct Machine<S> {
    name: &'static str,
    course: Course,
    solver: S,
    done: usize,
    denoised: Option<Vec<f32>>,
}

impl<S: Solver> Machine<S> {
    pub(super) fn new(name: &'static str, course: Course, solver: S) -> Self {
        Self {
            name,
            done: course.begin,
            course,
            solver,
            denoised: None,
        }
    }

    fn current(&self) -> Option<&Evaluation> {
        self.course
            .evaluations
            .get(self.done)
            .or(self.course.evaluations.last())
    }

    /// Tells plans apart: FNV-1a over the numbers of the course.
    fn fingerprint(&self) -> u64 {
        let numbers = self.course.evaluations.iter().flat_map(|evaluation| {
            [
                evaluation.timestep.to_bits(),
                evaluation.sigma.to_bits(),
                u64::from(evaluation.input_divisor.to_bits()),
            ]
        });
        let numbers = numbers.chain([self.course.begin as u64].into_iter().filter(|at| *at > 0));
        numbers.fold(0xcbf2_9ce4_8422_2325, |hash, number| {
            (hash ^ number).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

impl<S: Solver> Sampler for Machine<S> {
    fn evaluation_count(&self) -> usize {
        self.course.evaluations.len() - self.course.begin
    }

    fn evaluations_done(&self) -> usize {
        self.done - self.course.begin
    }

    fn inference_step(&self) -> usize {
        let last = self
            .done
            .checked_sub(1)
            .filter(|_| self.done > self.course.begin)
            .and_then(|last| self.course.evaluations.get(last));
        last.map_or(0, |evaluation| evaluation.inference_step)
    }

    fn init_noise_sigma(&self) -> f32 {
        self.course.init_noise_sigma
    }

    fn model_input(&self, latents: &[f32]) -> ModelInput {
        let (divisor, timestep) = self
            .current()
            .map_or((1.0, 0.0), |next| (next.input_divisor, next.timestep));
        ModelInput {
            sample: latents.iter().map(|x| x / divisor).collect(),
            timestep,
        }
    }

    fn advance(&mut self, latents: &mut Vec<f32>, model_output: &[f32], noise: Noise<'_>) {
        if self.done < self.course.evaluations.len() {
            self.denoised = Some(self.solver.advance(self.done, latents, model_output, noise));
            self.done += 1;
        }
    }

    fn sigma(&self) -> f64 {
        self.course
            .evaluations
            .get(self.done)
            .map_or(self.course.final_sigma, |next| next.sigma)
    }

    fn noised(&self, picture: &[f32], noise: &[f32]) -> Vec<f32> {
        let Some(next) = self.course.evaluations.get(self.done) else {
            return picture.to_vec();
        };
        let sigma = as_f32(next.kept_sigma);
        let (of_picture, of_noise) = match self.course.form {
            Form::Exploding => (1.0, sigma),
            Form::Flow => (1.0 - sigma, sigma),
            Form::Preserving if sigma.is_infinite() => (0.0, 1.0),
            Form::Preserving => {
                let alpha = 1.0 / (next.kept_sigma * next.kept_sigma + 1.0).sqrt();
                (as_f32(alpha), as_f32(next.kept_sigma * alpha))
            }
        };
        map2(picture, noise, |x, noise| of_picture * x + of_noise * noise)
    }

    fn denoised(&self) -> Option<&[f32]> {
        self.denoised.as_deref()
    }

    fn save(&self) -> SamplerState {
        let history = self.solver.history();
        SamplerState::new(
            self.name,
            self.fingerprint(),
            self.evaluations_done(),
            self.denoised.as_deref(),
            &history,
        )
    }

    fn restore(&mut self, state: SamplerState) -> Result<()> {
        let refuse = |what: &str| {
            Err(Error::new(
                ErrorKind::Internal,
                format!("the saved state of the sampler {what}"),
            ))
        };
        if state.sampler() != self.name || state.fingerprint() != self.fingerprint() {
            return refuse("belongs to another plan");
        }
        let done = self.course.begin + state.evaluations_done();
        let (denoised, history) = state.into_tensors();
        let equal =
            |tensors: &[Vec<f32>], length| tensors.iter().all(|tensor| tensor.len() == length);
        let length = denoised.as_ref().map_or(0, Vec::len);
        if done > self.course.evaluations.len()
            || denoised.is_some() != (done > self.course.begin)
            || history.len() != self.solver.history_len(done)
            || !equal(&history, length)
        {
            return refuse("is damaged");
        }
        self.solver.set_history(done, history);
        (self.done, self.denoised) = (done, denoised);
        Ok(())
    }
}
