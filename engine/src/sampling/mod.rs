//! From noise to latents: samplers, schedules, predictions, noise.
//!
//! Three independent axes. A *sampler* is the solver (`euler`, `dpmpp_2m`), a *schedule* the list of noise levels
//! (`karras`), a *prediction* what the network outputs (`epsilon`). [`plan`] combines them as a model's
//! `scheduler_config.json` and the request ask; [`samplers`] and [`schedules`] list what there is, and `plan` accepts
//! exactly what they list. Pure arithmetic on slices: no tensors, no device, no randomness of its own.

mod beta_distribution;
mod class;
mod config;
mod ddim;
mod ddpm;
mod dpm2;
mod dpm2_a;
mod dpm_solver;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_2s;
mod elementwise;
mod euler;
mod euler_a;
mod flow;
pub mod guidance;
mod heun;
mod lcm;
mod lms;
pub mod noise;
mod options;
mod plan;
mod pndm;
mod prediction;
mod sampler;
mod schedule;
mod state;
mod suggest;
mod tables;
#[cfg(test)]
mod tests;
mod unipc;

pub use config::SchedulerConfig;
pub use flow::{DynamicShift, Flow, FlowLevels};
pub use plan::{MAX_INFERENCE_STEPS, Plan, plan, plan_from};
pub use sampler::{ModelInput, Noise, Sampler};
pub use state::SamplerState;

/// A sampler and what it can be combined with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SamplerInfo {
    /// The name that a request gives.
    pub name: &'static str,
    /// What it is, in one line.
    pub description: &'static str,
    /// The class of diffusers whose numbers it gives.
    pub diffusers_class: &'static str,
    /// Names of the schedules that it accepts; none when its timesteps are its own.
    pub schedules: &'static [&'static str],
    /// Names of the predictions that it accepts.
    pub predictions: &'static [&'static str],
    /// Whether it accepts betas rescaled to zero terminal signal-to-noise ratio.
    pub zero_snr: bool,
    /// Whether it draws noise on the way.
    pub stochastic: bool,
    /// Network evaluations a step; the last step of two takes one, and `pndm` takes one more in all.
    pub evaluations_per_step: usize,
}

/// A schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleInfo {
    /// The name that a request gives.
    pub name: &'static str,
    /// What it is, in one line.
    pub description: &'static str,
}

const ALL: &[&str] = &[
    "normal",
    "karras",
    "exponential",
    "simple",
    "sgm_uniform",
    "beta",
];
const NONE: &[&str] = &[];
const ANY: &[&str] = &["epsilon", "v_prediction", "sample"];
const NO_SAMPLE: &[&str] = &["epsilon", "v_prediction"];
const ANY_OR_FLOW: &[&str] = &["epsilon", "v_prediction", "sample", "flow"];
const NO_SAMPLE_OR_FLOW: &[&str] = &["epsilon", "v_prediction", "flow"];

#[rustfmt::skip]
const SAMPLERS: &[SamplerInfo] = &[
    info("ddim", "denoising diffusion implicit model, eta 0", "DDIMScheduler", NONE, ANY, true, false, 1),
    info("ddpm", "denoising diffusion probabilistic model", "DDPMScheduler", NONE, ANY, true, true, 1),
    info("euler", "Euler's method, order 1", "EulerDiscreteScheduler", ALL, ANY_OR_FLOW, true, false, 1),
    info("euler_a", "ancestral Euler, fresh noise in every step", "EulerAncestralDiscreteScheduler", ALL, NO_SAMPLE_OR_FLOW, true, true, 1),
    info("heun", "Heun's method, order 2", "HeunDiscreteScheduler", ALL, ANY_OR_FLOW, false, false, 2),
    info("dpm2", "DPM-Solver-2, midpoint in log sigma, order 2", "KDPM2DiscreteScheduler", ALL, NO_SAMPLE, false, false, 2),
    info("dpm2_a", "ancestral DPM-Solver-2", "KDPM2AncestralDiscreteScheduler", ALL, NO_SAMPLE, false, true, 2),
    info("dpmpp_2m", "DPM-Solver++(2M), multistep, order 2", "DPMSolverMultistepScheduler", ALL, ANY_OR_FLOW, true, false, 1),
    info("dpmpp_2m_sde", "SDE-DPM-Solver++(2M), fresh noise in every step", "DPMSolverMultistepScheduler", ALL, ANY_OR_FLOW, true, true, 1),
    info("dpmpp_2s", "DPM-Solver++(2S), singlestep, order 2", "DPMSolverSinglestepScheduler", ALL, ANY, false, false, 1),
    info("unipc", "UniPC, predictor and corrector, order 2", "UniPCMultistepScheduler", ALL, ANY_OR_FLOW, true, false, 1),
    info("lms", "linear multistep, order 4", "LMSDiscreteScheduler", ALL, ANY, false, false, 1),
    info("pndm", "pseudo linear multistep, order 4", "PNDMScheduler", NONE, NO_SAMPLE, false, false, 1),
    info("lcm", "latent consistency model, few steps", "LCMScheduler", NONE, ANY_OR_FLOW, true, true, 1),
];

#[rustfmt::skip]
const SCHEDULES: &[ScheduleInfo] = &[
    ScheduleInfo { name: "normal", description: "even in time from the last training timestep to the first" },
    ScheduleInfo { name: "karras", description: "even in the seventh root of sigma: short steps where there is little noise" },
    ScheduleInfo { name: "exponential", description: "even in the logarithm of sigma" },
    ScheduleInfo { name: "simple", description: "even picks of the training table, the noisiest first" },
    ScheduleInfo { name: "sgm_uniform", description: "even in time, ending one step before the first training timestep" },
    ScheduleInfo { name: "beta", description: "quantiles of the beta distribution (0.6, 0.6): short steps at both ends" },
];

#[expect(clippy::too_many_arguments, reason = "a line of the table above")]
const fn info(
    name: &'static str,
    description: &'static str,
    diffusers_class: &'static str,
    schedules: &'static [&'static str],
    predictions: &'static [&'static str],
    zero_snr: bool,
    stochastic: bool,
    evaluations_per_step: usize,
) -> SamplerInfo {
    SamplerInfo {
        name,
        description,
        diffusers_class,
        schedules,
        predictions,
        zero_snr,
        stochastic,
        evaluations_per_step,
    }
}

/// Every sampler.
pub fn samplers() -> &'static [SamplerInfo] {
    SAMPLERS
}

/// Every schedule.
pub fn schedules() -> &'static [ScheduleInfo] {
    SCHEDULES
}
