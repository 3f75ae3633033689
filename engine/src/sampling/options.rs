//! What a sampler takes from `scheduler_config.json`, read and checked once.

use serde_json::Value;

use super::class::Class;
use super::config::{Keys, SchedulerConfig, finite, wrong};
use super::dpm_solver::Level;
use super::prediction::{Limit, Prediction};
use crate::{Error, Result};

/// Most training timesteps a file may ask for: tables are this long.
const MOST_TRAIN_TIMESTEPS: usize = 100_000;

/// How inference timesteps are spread over the training timesteps (Lin et al. 2023, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spacing {
    Leading,
    Trailing,
    Linspace,
}

/// The last noise level of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FinalSigma {
    Zero,
    SigmaMin,
}

/// The family of DPM-Solver updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    DpmSolver,
    DpmSolverPp,
    SdeDpmSolver,
    SdeDpmSolverPp,
}

impl Algorithm {
    /// Whether the updates work on the predicted picture rather than on the predicted noise.
    pub(super) fn predicts_x0(self) -> bool {
        matches!(self, Self::DpmSolverPp | Self::SdeDpmSolverPp)
    }

    pub(super) fn is_sde(self) -> bool {
        matches!(self, Self::SdeDpmSolver | Self::SdeDpmSolverPp)
    }
}

/// Options that several samplers share.
#[derive(Debug, Clone)]
pub(super) struct Options<'a> {
    pub(super) class: Class,
    pub(super) keys: Keys<'a>,
    pub(super) num_train_timesteps: usize,
    pub(super) prediction: Prediction,
    pub(super) spacing: Spacing,
    pub(super) steps_offset: usize,
    pub(super) zero_snr: bool,
    pub(super) final_sigma: FinalSigma,
    pub(super) limit: Limit,
    /// Limits of the karras, exponential and beta schedules where the file has them.
    pub(super) sigma_min: Option<f64>,
    pub(super) sigma_max: Option<f64>,
}

impl<'a> Options<'a> {
    /// What `class` makes of the file. Fails naming the key whose value cannot be used.
    pub(super) fn read(config: &'a SchedulerConfig, class: Class, own: bool) -> Result<Self> {
        let keys = config.seen_by(class, own);
        if !config.is_flow() {
            refuse_unsupported(keys)?;
        }
        let num_train_timesteps =
            keys.integer("num_train_timesteps", 1000, MOST_TRAIN_TIMESTEPS)?;
        if num_train_timesteps == 0 {
            return Err(Error::model(
                "scheduler_config.json: `num_train_timesteps` is 0",
            ));
        }
        let spacings = [
            ("leading", Spacing::Leading),
            ("trailing", Spacing::Trailing),
            ("linspace", Spacing::Linspace),
        ];
        let default_spacing = if class.leads() {
            Spacing::Leading
        } else {
            Spacing::Linspace
        };
        let sigma_limit = |key| {
            keys.get_unknown(key)
                .map(|value| positive(key, value))
                .transpose()
        };
        Ok(Self {
            class,
            keys,
            num_train_timesteps,
            prediction: if config.is_flow() {
                Prediction::Flow
            } else {
                keys.choice(
                    "prediction_type",
                    Prediction::Epsilon,
                    &Prediction::NAMES[..3],
                )?
            },
            spacing: keys.choice("timestep_spacing", default_spacing, &spacings)?,
            steps_offset: keys.integer("steps_offset", 0, num_train_timesteps)?,
            zero_snr: read_zero_snr(keys)?,
            final_sigma: keys.choice(
                "final_sigmas_type",
                FinalSigma::Zero,
                &[
                    ("zero", FinalSigma::Zero),
                    ("sigma_min", FinalSigma::SigmaMin),
                ],
            )?,
            limit: read_limit(keys, class)?,
            sigma_min: sigma_limit("sigma_min")?,
            sigma_max: sigma_limit("sigma_max")?,
        })
    }

    /// A noise level for solvers in `lambda`.
    pub(super) fn level(&self, sigma: f32) -> Level {
        if self.prediction == Prediction::Flow {
            Level::of_flow(sigma)
        } else {
            Level::new(sigma)
        }
    }

    /// `solver_order`, 1 to 3.
    pub(super) fn solver_order(&self) -> Result<usize> {
        let order = self.keys.integer("solver_order", 2, 3)?;
        if order == 0 {
            return Err(Error::model(
                "scheduler_config.json: `solver_order` is 0, expected 1, 2 or 3",
            ));
        }
        Ok(order)
    }

    /// `algorithm_type` of the DPM-Solver classes; `deis` stands for `dpmsolver++`, as in diffusers.
    pub(super) fn algorithm(&self) -> Result<Algorithm> {
        let names = [
            ("dpmsolver", Algorithm::DpmSolver),
            ("dpmsolver++", Algorithm::DpmSolverPp),
            ("deis", Algorithm::DpmSolverPp),
            ("sde-dpmsolver", Algorithm::SdeDpmSolver),
            ("sde-dpmsolver++", Algorithm::SdeDpmSolverPp),
        ];
        self.keys
            .choice("algorithm_type", Algorithm::DpmSolverPp, &names)
    }

    /// Whether `solver_type` of the DPM-Solver classes is `heun`; the types of other classes stand for `midpoint`.
    pub(super) fn solver_is_heun(&self) -> Result<bool> {
        let names = [
            ("midpoint", false),
            ("heun", true),
            ("logrho", false),
            ("bh1", false),
            ("bh2", false),
        ];
        // UniPC knows neither rule: a file of its own has lost them when another class reads it
        Ok(self.keys.choice("solver_type", false, &names)?
            && self.keys.written_for() != Some(Class::UniPc))
    }

    /// Whether `solver_type` of UniPC is `bh1`; the types of other classes stand for `bh2`.
    pub(super) fn solver_is_bh1(&self) -> Result<bool> {
        let names = [
            ("bh1", true),
            ("bh2", false),
            ("midpoint", false),
            ("heun", false),
            ("logrho", false),
        ];
        let other = matches!(
            self.keys.written_for(),
            Some(Class::DpmSolverMultistep | Class::DpmSolverSinglestep)
        );
        Ok(self.keys.choice("solver_type", false, &names)? && !other)
    }
}

/// Options that change what the network outputs or how time runs, and that no model of these families uses.
fn refuse_unsupported(keys: Keys<'_>) -> Result<()> {
    for key in ["use_flow_sigmas", "use_dynamic_shifting"] {
        if keys.boolean(key, false)? {
            return Err(unsupported(
                key,
                &Value::from(true),
                "flow matching is another family of models",
            ));
        }
    }
    for (key, reason) in [
        ("solver_p", "a second solver inside UniPC is not supported"),
        (
            "shift_terminal",
            "flow matching is another family of models",
        ),
    ] {
        if let Some(value) = keys.get(key) {
            return Err(unsupported(key, value, reason));
        }
    }
    if let Some(value) = keys.get("variance_type").filter(|value| {
        value
            .as_str()
            .is_some_and(|name| name.starts_with("learned"))
    }) {
        return Err(unsupported(
            "variance_type",
            value,
            "networks that also predict a variance are not supported",
        ));
    }
    Ok(())
}

pub(super) fn unsupported(key: &str, value: &Value, reason: &str) -> Error {
    Error::model(format!(
        "scheduler_config.json: `{key}` is {value}: {reason}"
    ))
}

/// Zero-SNR betas, refused where the class would silently leave them alone.
fn read_zero_snr(keys: Keys<'_>) -> Result<bool> {
    let key = "rescale_betas_zero_snr";
    let Some(value) = keys.get_unknown(key) else {
        return Ok(false);
    };
    value
        .as_bool()
        .ok_or_else(|| wrong(key, value, "true or false"))
}

fn read_limit(keys: Keys<'_>, class: Class) -> Result<Limit> {
    if keys.boolean("thresholding", false)? {
        let ratio = keys.number("dynamic_thresholding_ratio", 0.995)?;
        let most = keys.number("sample_max_value", 1.0)?;
        if !(0.0..=1.0).contains(&ratio) {
            return Err(wrong(
                "dynamic_thresholding_ratio",
                &Value::from(ratio),
                "a number from 0 to 1",
            ));
        }
        if most <= 0.0 {
            return Err(wrong(
                "sample_max_value",
                &Value::from(most),
                "a number above 0",
            ));
        }
        return Ok(Limit::Threshold {
            ratio: as_f32(ratio),
            most: as_f32(most),
        });
    }
    if keys.boolean("clip_sample", class.clips())? {
        let range = keys.number("clip_sample_range", 1.0)?;
        if range < 0.0 {
            return Err(wrong(
                "clip_sample_range",
                &Value::from(range),
                "a number of at least 0",
            ));
        }
        return Ok(Limit::Clip(as_f32(range)));
    }
    Ok(Limit::None)
}

fn positive(key: &str, value: &Value) -> Result<f64> {
    let number = finite(key, value)?;
    if number <= 0.0 {
        Err(wrong(key, value, "a number above 0"))
    } else {
        Ok(number)
    }
}

/// Rounds to single precision, as a Python number does that meets a float32 tensor.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding is what it is for"
)]
pub(super) fn as_f32(value: f64) -> f32 {
    value as f32
}
