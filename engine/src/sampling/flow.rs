//! Flow matching: latents are `(1 - sigma) picture + sigma noise`, and sigma goes from 1 to 0.
//!
//! Where the noise levels lie is a matter of the pipeline, of the file and of the picture's size: a *shift* moves them to
//! where there is more noise, the more the larger the picture (Esser et al. 2024, section 5.3.2). Reference: diffusers'
//! `FlowMatchEulerDiscreteScheduler` and the pipelines that use it.

use super::beta_distribution::beta_quantile;
use super::config::{Keys, SchedulerConfig, wrong};
use super::options::as_f32;
use super::schedule::Schedule;
use super::tables::linspace;
use crate::{Error, Result};

/// The classes of diffusers that flow models are saved with, and the samplers they stand for.
const CLASSES: [(&str, &str); 3] = [
    ("FlowMatchEulerDiscreteScheduler", "euler"),
    ("FlowMatchHeunDiscreteScheduler", "heun"),
    ("FlowMatchLCMScheduler", "lcm"),
];

/// Name of the sampler that the file of a flow model stands for.
pub(super) fn own_sampler(config: &SchedulerConfig) -> Result<&'static str> {
    let class = config.class_name();
    let known = CLASSES.iter().find(|(name, _)| *name == class);
    let Some((_, sampler)) = known else {
        return Err(
            wrong("_class_name", &class.into(), "a class that is supported")
                .with_hint("choose a sampler: `imgctl samplers`"),
        );
    };
    // A step to the picture and back up with fresh noise is the sampler of consistency models.
    if config.own_keys().own_boolean("stochastic_sampling")? {
        return Ok("lcm");
    }
    Ok(sampler)
}

/// What a pipeline decides about the noise levels of its models.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flow {
    /// Pixels that a token of the picture stands for, on a side.
    pub pixels_per_token: u32,
    /// Where the levels lie before they are shifted.
    pub levels: FlowLevels,
    /// By how much a dynamic shift moves them.
    pub shift: DynamicShift,
}

/// Noise levels before they are shifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowLevels {
    /// Evenly from 1 to one step's length.
    ToLastStep,
    /// Evenly between the ends of the training levels, which are shifted already.
    TrainingRange,
}

/// The logarithm of a shift that depends on the picture's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynamicShift {
    /// Linear between the file's `base_shift` and `max_shift`. Source: diffusers `calculate_shift`.
    Linear,
    /// Fitted to tokens and steps. Source: diffusers `compute_empirical_mu`.
    Empirical,
}

/// The noise levels of `steps` steps, most noise first, without the 0 at the end.
pub(super) fn sigmas(
    (flow, image_tokens): (Flow, usize),
    keys: Keys<'_>,
    schedule: Option<Schedule>,
    steps: usize,
) -> Result<Vec<f32>> {
    let shift = Shift::read(flow, keys, image_tokens, steps)?;
    let plain = match flow.levels {
        FlowLevels::ToLastStep => linspace(1.0, 1.0 / steps as f64, steps)
            .into_iter()
            // The pipeline hands them on in single precision.
            .map(|sigma| f64::from(as_f32(sigma)))
            .collect(),
        FlowLevels::TrainingRange => {
            let [most, least] = shift.training_ends();
            let train = shift.num_train_timesteps as f64;
            linspace(most * train, least * train, steps)
                .into_iter()
                .map(|timestep| timestep / train)
                .collect::<Vec<f64>>()
        }
    };
    let shifted: Vec<f64> = plain.into_iter().map(|sigma| shift.of(sigma)).collect();
    let shifted = stretched(shifted, keys)?;
    let schedule = match schedule {
        Some(schedule) => Some(schedule),
        None => configured(keys)?,
    };
    let ends = [shifted[0], shifted[steps - 1]];
    Ok(shaped(schedule, shifted, ends, &shift, steps)
        .into_iter()
        .map(as_f32)
        .collect())
}

/// The shape that the file asks for.
fn configured(keys: Keys<'_>) -> Result<Option<Schedule>> {
    for (key, schedule) in [
        ("use_karras_sigmas", Schedule::Karras),
        ("use_exponential_sigmas", Schedule::Exponential),
        ("use_beta_sigmas", Schedule::Beta),
    ] {
        if keys.own_boolean(key)? {
            return Ok(Some(schedule));
        }
    }
    Ok(None)
}

fn shaped(
    schedule: Option<Schedule>,
    shifted: Vec<f64>,
    [most, least]: [f64; 2],
    shift: &Shift,
    steps: usize,
) -> Vec<f64> {
    let ramp = || linspace(0.0, 1.0, steps).into_iter();
    match schedule {
        Some(Schedule::Karras) => {
            let (most, least) = (most.powf(1.0 / 7.0), least.powf(1.0 / 7.0));
            ramp()
                .map(|r| (most + r * (least - most)).powf(7.0))
                .collect()
        }
        Some(Schedule::Exponential) => linspace(most.ln(), least.ln(), steps)
            .into_iter()
            .map(f64::exp)
            .collect(),
        Some(Schedule::Beta) => ramp()
            .map(|r| least + beta_quantile(1.0 - r, 0.6) * (most - least))
            .collect(),
        // ComfyUI's: entries of the training levels, the noisiest first.
        Some(Schedule::Simple) => {
            let train = shift.num_train_timesteps;
            let stride = train as f64 / steps as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an index of the table"
            )]
            let entry = |index: usize| train - (index as f64 * stride) as usize;
            (0..steps)
                .map(|index| shift.of(entry(index) as f64 / train as f64))
                .collect()
        }
        // ComfyUI's: evenly in time, the last point left out.
        Some(Schedule::SgmUniform) => {
            linspace(1.0, 1.0 / shift.num_train_timesteps as f64, steps + 1)
                .into_iter()
                .take(steps)
                .map(|sigma| shift.of(sigma))
                .collect()
        }
        Some(Schedule::Normal | Schedule::Lu) | None => shifted,
    }
}

/// `shift_terminal`: the levels are stretched so that the last one has this much noise.
fn stretched(sigmas: Vec<f64>, keys: Keys<'_>) -> Result<Vec<f64>> {
    let terminal = keys.own_number("shift_terminal", 0.0)?;
    let last = sigmas.last().copied().unwrap_or(0.0);
    if terminal == 0.0 || last >= 1.0 {
        return Ok(sigmas);
    }
    if !(0.0..1.0).contains(&terminal) {
        return Err(wrong(
            "shift_terminal",
            &terminal.into(),
            "a number from 0 to 1",
        ));
    }
    let scale = (1.0 - last) / (1.0 - terminal);
    Ok(sigmas
        .into_iter()
        .map(|sigma| 1.0 - (1.0 - sigma) / scale)
        .collect())
}

/// How levels are moved.
struct Shift {
    num_train_timesteps: usize,
    /// The file's.
    shift: f64,
    /// The logarithm of a shift by size, and whether it is one.
    mu: Option<(f64, bool)>,
}

impl Shift {
    fn read(flow: Flow, keys: Keys<'_>, image_tokens: usize, steps: usize) -> Result<Self> {
        let num_train_timesteps = keys.integer("num_train_timesteps", 1000, 100_000)?.max(1);
        let shift = keys.own_number("shift", 1.0)?;
        if shift <= 0.0 {
            return Err(wrong("shift", &shift.into(), "a number above 0"));
        }
        if keys.own_boolean("invert_sigmas")? {
            return Err(Error::model(
                "scheduler_config.json: `invert_sigmas` is true: that is not supported",
            ));
        }
        let mu = if keys.own_boolean("use_dynamic_shifting")? {
            let is_exponential = match keys.own_text("time_shift_type")?.unwrap_or("exponential") {
                "exponential" => true,
                "linear" => false,
                other => {
                    return Err(wrong(
                        "time_shift_type",
                        &other.into(),
                        "`exponential`, `linear`",
                    ));
                }
            };
            let mu = match flow.shift {
                DynamicShift::Linear => linear_mu(keys, image_tokens as f64)?,
                DynamicShift::Empirical => empirical_mu(image_tokens as f64, steps as f64),
            };
            Some((mu, is_exponential))
        } else {
            None
        };
        Ok(Self {
            num_train_timesteps,
            shift,
            mu,
        })
    }

    fn of(&self, sigma: f64) -> f64 {
        match self.mu {
            Some((mu, is_exponential)) => {
                let factor = if is_exponential { mu.exp() } else { mu };
                factor / (factor + (1.0 / sigma - 1.0))
            }
            None => self.shift * sigma / (1.0 + (self.shift - 1.0) * sigma),
        }
    }

    /// Most and least noise in training; a dynamic shift is not in them.
    fn training_ends(&self) -> [f64; 2] {
        [1.0, 1.0 / self.num_train_timesteps as f64].map(|sigma| {
            let shifted = match self.mu {
                Some(_) => sigma,
                None => self.of(sigma),
            };
            f64::from(as_f32(shifted))
        })
    }
}

/// Source: diffusers `calculate_shift`.
fn linear_mu(keys: Keys<'_>, image_tokens: f64) -> Result<f64> {
    let (base, most) = (
        keys.own_number("base_shift", 0.5)?,
        keys.own_number("max_shift", 1.15)?,
    );
    let from = keys.own_number("base_image_seq_len", 256.0)?;
    let to = keys.own_number("max_image_seq_len", 4096.0)?;
    if from == to {
        return Err(wrong(
            "max_image_seq_len",
            &to.into(),
            "another number than `base_image_seq_len`",
        ));
    }
    let slope = (most - base) / (to - from);
    Ok(image_tokens * slope + (base - slope * from))
}

/// Source: diffusers `compute_empirical_mu`.
fn empirical_mu(image_tokens: f64, steps: f64) -> f64 {
    let at_200 = 0.000_169_27 * image_tokens + 0.456_666_66;
    if image_tokens > 4300.0 {
        return at_200;
    }
    let at_10 = 8.738_095_24e-5 * image_tokens + 1.898_333_33;
    let slope = (at_200 - at_10) / 190.0;
    slope * steps + at_200 - 200.0 * slope
}
