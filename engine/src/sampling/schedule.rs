//! Schedules: lists of noise levels from most noise to none, and the timesteps that the network is told.
//!
//! Without a schedule by name the model's configuration decides, as in diffusers: the training table at the spaced
//! timesteps, or the shape that a `use_…_sigmas` key asks for.

use super::beta_distribution::beta_quantile;
use super::class::Class;
use super::options::{FinalSigma, Options, Spacing, as_f32};
use super::tables::{Tables, linspace, linspace_f32, spread, trailing};
use crate::{Error, Result};

/// The shape of a list of noise levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schedule {
    /// ComfyUI's `normal_scheduler`: `steps` points evenly from the last timestep to the first, in time.
    Normal,
    /// Karras et al. 2022, equation 5, with rho 7: `(max^(1/7) + ramp (min^(1/7) - max^(1/7)))^7`.
    Karras,
    /// Evenly in the logarithm of sigma.
    Exponential,
    /// ComfyUI's `simple_scheduler`: entries `-(1 + floor(i * length / steps))` of the training table.
    Simple,
    /// ComfyUI's `normal_scheduler` with `sgm`: `steps + 1` points evenly in time, the last left out.
    SgmUniform,
    /// Lee et al. 2024: `min + (max - min) quantile(1 - ramp)` of the beta distribution with 0.6 and 0.6.
    Beta,
    /// Lu et al. 2022: evenly in the logarithm of the signal-to-noise ratio. Only from a model's configuration.
    Lu,
}

/// Noise levels with the network's timesteps.
#[derive(Debug, Clone)]
pub(super) struct Levels {
    /// Timesteps as the network takes them, one a step.
    pub(super) timesteps: Vec<f64>,
    /// Noise levels, one a step and the final one.
    pub(super) sigmas: Vec<f32>,
}

/// How a class makes whole numbers of the timesteps that belong to a shape's noise levels.
#[derive(Clone, Copy)]
enum Whole {
    No,
    Round,
    Truncate,
}

/// The schedule that the model's configuration asks for; nothing when it is the spaced training table.
pub(super) fn configured(options: &Options<'_>) -> Result<Option<Schedule>> {
    let flags = [
        ("use_karras_sigmas", Schedule::Karras),
        ("use_exponential_sigmas", Schedule::Exponential),
        ("use_beta_sigmas", Schedule::Beta),
    ];
    let mut chosen = Vec::new();
    for (key, schedule) in flags {
        if options.keys.boolean(key, false)? {
            chosen.push((key, schedule));
        }
    }
    if let [first, second, ..] = chosen[..] {
        return Err(Error::model(format!(
            "scheduler_config.json: `{}` and `{}` are both true, at most one can be",
            first.0, second.0
        )));
    }
    let lu = options.keys.boolean("use_lu_lambdas", false)?;
    // diffusers looks at Lu's after Karras' and before the other two
    Ok(match chosen.first() {
        Some((_, Schedule::Karras)) => Some(Schedule::Karras),
        _ if lu => Some(Schedule::Lu),
        other => other.map(|choice| choice.1),
    })
}

/// The levels of `steps` steps. `schedule`: a shape, or the spaced training table.
pub(super) fn levels(
    options: &Options<'_>,
    tables: &Tables,
    schedule: Option<Schedule>,
    steps: usize,
) -> Result<Levels> {
    let levels = if matches!(
        options.class,
        Class::DpmSolverMultistep | Class::DpmSolverSinglestep | Class::UniPc
    ) {
        dpm_levels(options, tables, schedule, steps)?
    } else {
        k_levels(options, tables, schedule, steps)?
    };
    let (last, before) = levels
        .sigmas
        .split_last()
        .expect("a final sigma is always there");
    if !(last.is_finite() && before.iter().all(|sigma| sigma.is_finite() && *sigma > 0.0)) {
        return Err(Error::model(
            "scheduler_config.json: its betas give a step without noise, or without picture",
        ));
    }
    Ok(levels)
}

/// Levels of the classes in the form of k-diffusion: shapes run between the spaced levels.
fn k_levels(
    options: &Options<'_>,
    tables: &Tables,
    schedule: Option<Schedule>,
    steps: usize,
) -> Result<Levels> {
    let mut timesteps: Vec<f64> = spread(options, steps)
        .into_iter()
        .map(|t| f64::from(as_f32(t)))
        .collect();
    let log_linear = options.keys.choice(
        "interpolation_type",
        false,
        &[("linear", false), ("log_linear", true)],
    )?;
    let mut sigmas: Vec<f64> = if log_linear {
        let ends = [tables.log_sigmas.last(), tables.log_sigmas.first()]
            .map(|end| f64::from(*end.unwrap_or(&0.0)));
        let logs = linspace_f32(ends[0], ends[1], steps + 1);
        logs.into_iter()
            .map(|log| f64::from(as_f32(f64::from(log).exp())))
            .collect()
    } else {
        timesteps.iter().map(|t| tables.sigma_at(*t)).collect()
    };
    if let Some(schedule) = schedule {
        let ends = [sigmas.first(), sigmas.last()].map(|end| *end.expect("at least one step"));
        sigmas = shape(schedule, options, tables, ends, steps);
        let rounds = schedule == Schedule::Karras
            && matches!(options.class, Class::Kdpm2 | Class::Kdpm2Ancestral);
        let whole = if rounds { Whole::Round } else { Whole::No };
        timesteps = timesteps_of(&sigmas, tables, whole);
    }
    let mut sigmas: Vec<f32> = sigmas.into_iter().map(as_f32).collect();
    sigmas.push(final_sigma(options, tables));
    let continuous = options.keys.choice(
        "timestep_type",
        false,
        &[("discrete", false), ("continuous", true)],
    )?;
    if continuous && options.prediction.name() == "v_prediction" {
        let log = |sigma: &f32| f64::from(as_f32(f64::from(*sigma).ln()) * 0.25);
        timesteps = sigmas[..timesteps.len()].iter().map(log).collect();
    }
    Ok(Levels { timesteps, sigmas })
}

/// Levels of the DPM-Solver and UniPC classes: whole timesteps, shapes run over the whole training table.
fn dpm_levels(
    options: &Options<'_>,
    tables: &Tables,
    schedule: Option<Schedule>,
    steps: usize,
) -> Result<Levels> {
    let (timesteps, mut sigmas) = if let Some(schedule) = schedule {
        let (first, last) = (tables.sigmas[0], tables.sigmas[tables.sigmas.len() - 1]);
        let sigmas = shape(
            schedule,
            options,
            tables,
            [f64::from(last), f64::from(first)],
            steps,
        );
        let cosine = options
            .keys
            .text("beta_schedule", options.class.default_betas().2)?
            == "squaredcos_cap_v2";
        let unrounded = options.class == Class::DpmSolverMultistep && cosine;
        let whole = match schedule {
            Schedule::Exponential | Schedule::Beta => Whole::Truncate,
            Schedule::Karras | Schedule::Lu if unrounded => Whole::Truncate,
            _ => Whole::Round,
        };
        (timesteps_of(&sigmas, tables, whole), sigmas)
    } else {
        let timesteps = dpm_timesteps(options, tables, steps)?;
        let sigmas: Vec<f64> = timesteps.iter().map(|t| tables.sigma_at(*t)).collect();
        (timesteps, sigmas)
    };
    let repeats_last = options.class == Class::UniPc
        && options.final_sigma == FinalSigma::SigmaMin
        && schedule.is_some();
    let last = if repeats_last {
        sigmas.last().copied()
    } else {
        None
    };
    sigmas.push(last.unwrap_or_else(|| f64::from(final_sigma(options, tables))));
    Ok(Levels {
        timesteps,
        sigmas: sigmas.into_iter().map(as_f32).collect(),
    })
}

/// Spaced whole timesteps of the DPM-Solver and UniPC classes, which count one more point than steps.
fn dpm_timesteps(options: &Options<'_>, tables: &Tables, steps: usize) -> Result<Vec<f64>> {
    let num_train = options.num_train_timesteps;
    let usable = num_train - clipped(options, tables)?;
    let points: Vec<f64> = match options.spacing {
        Spacing::Trailing => return Ok(trailing(usable, num_train, steps)),
        Spacing::Leading => {
            let whole = if options.class == Class::UniPc {
                num_train
            } else {
                usable
            };
            let ratio = whole / (steps + 1);
            (0..=steps)
                .map(|index| (index * ratio + options.steps_offset) as f64)
                .collect()
        }
        Spacing::Linspace => {
            let last = usable.checked_sub(1).ok_or_else(|| {
                Error::model(
                    "scheduler_config.json: `lambda_min_clipped` leaves no training timestep",
                )
            })?;
            linspace(0.0, last as f64, steps + 1)
                .into_iter()
                .map(f64::round_ties_even)
                .collect()
        }
    };
    Ok(points.into_iter().skip(1).rev().collect())
}

/// How many of the noisiest timesteps `lambda_min_clipped` takes away.
fn clipped(options: &Options<'_>, tables: &Tables) -> Result<usize> {
    let Some(value) = options
        .keys
        .get("lambda_min_clipped")
        .filter(|value| value.as_str() != Some("-Infinity"))
    else {
        return Ok(0);
    };
    let least = as_f32(super::config::finite("lambda_min_clipped", value)?);
    let lambda = |alpha: &f32| {
        as_f32(f64::from(alpha.sqrt()).ln()) - as_f32(f64::from((1.0 - alpha).sqrt()).ln())
    };
    Ok(tables
        .alphas_cumprod
        .iter()
        .rev()
        .take_while(|alpha| lambda(alpha) < least)
        .count())
}

/// The `steps` noise levels of a shape. `ends`: most and least noise, where neither the shape nor the file sets them.
fn shape(
    schedule: Schedule,
    options: &Options<'_>,
    tables: &Tables,
    ends: [f64; 2],
    steps: usize,
) -> Vec<f64> {
    // LMSDiscreteScheduler's Karras levels know no limits from the file
    let limited = !(options.class == Class::Lms && schedule == Schedule::Karras);
    let max = options.sigma_max.filter(|_| limited).unwrap_or(ends[0]);
    let min = options.sigma_min.filter(|_| limited).unwrap_or(ends[1]);
    let ramp = || linspace(0.0, 1.0, steps).into_iter();
    match schedule {
        Schedule::Karras => {
            let (max, min) = (max.powf(1.0 / 7.0), min.powf(1.0 / 7.0));
            ramp().map(|r| (max + r * (min - max)).powf(7.0)).collect()
        }
        Schedule::Exponential => linspace(max.ln(), min.ln(), steps)
            .into_iter()
            .map(f64::exp)
            .collect(),
        Schedule::Beta => ramp()
            .map(|r| min + beta_quantile(1.0 - r, 0.6) * (max - min))
            .collect(),
        Schedule::Lu => {
            let logs = [tables.log_sigmas.last(), tables.log_sigmas.first()]
                .map(|log| f64::from(*log.unwrap_or(&0.0)));
            ramp()
                .map(|r| (logs[0] + r * (logs[1] - logs[0])).exp())
                .collect()
        }
        Schedule::Simple => {
            let stride = tables.sigmas.len() as f64 / steps as f64;
            #[expect(clippy::cast_possible_truncation, reason = "an index of the table")]
            let entry = |index: usize| {
                tables.sigmas[tables.sigmas.len() - 1 - (index as f64 * stride) as usize]
            };
            (0..steps).map(|index| f64::from(entry(index))).collect()
        }
        Schedule::Normal => even_in_time(tables, steps, false),
        Schedule::SgmUniform => even_in_time(tables, steps, true),
    }
}

/// Levels at even timesteps, between neighbours linear in the logarithm.
fn even_in_time(tables: &Tables, steps: usize, leave_last_out: bool) -> Vec<f64> {
    let last = tables.log_sigmas.len() - 1;
    let level = |t: f32| {
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the table")]
        let below = (t.max(0.0) as usize).min(last);
        let (low, high) = (
            tables.log_sigmas[below],
            tables.log_sigmas[(below + 1).min(last)],
        );
        let weight = t - below as f32;
        f64::from(as_f32(
            f64::from((1.0 - weight) * low + weight * high).exp(),
        ))
    };
    let points = steps + usize::from(leave_last_out);
    linspace_f32(last as f64, 0.0, points)
        .into_iter()
        .take(steps)
        .map(level)
        .collect()
}

fn timesteps_of(sigmas: &[f64], tables: &Tables, whole: Whole) -> Vec<f64> {
    let timestep = |sigma: &f64| {
        let t = tables.timestep_at(*sigma);
        match whole {
            Whole::No => f64::from(as_f32(t)),
            Whole::Round => t.round_ties_even(),
            Whole::Truncate => t.trunc(),
        }
    };
    sigmas.iter().map(timestep).collect()
}

fn final_sigma(options: &Options<'_>, tables: &Tables) -> f32 {
    match options.final_sigma {
        FinalSigma::Zero => 0.0,
        FinalSigma::SigmaMin => tables.sigmas[0],
    }
}
