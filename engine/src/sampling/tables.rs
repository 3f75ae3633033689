//! Tables over the training timesteps: betas, their cumulative products, sigmas; and the spreading of steps over them.
//!
//! Each number is rounded where diffusers rounds it: betas, sigmas and logarithms are single precision, cumulative
//! products are summed in double precision and kept in single.

use super::config::wrong;
use super::options::{Options, Spacing, as_f32};
use crate::{Error, Result};

/// Tables indexed by training timestep, least noise first.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) alphas_cumprod: Vec<f32>,
    /// Noise levels `sqrt((1 - alpha) / alpha)`.
    pub(super) sigmas: Vec<f32>,
    pub(super) log_sigmas: Vec<f32>,
}

impl Tables {
    /// The tables of a model. Fails when the betas do not lie in `[0, 1)`.
    pub(super) fn new(options: &Options<'_>) -> Result<Self> {
        let mut betas = read_betas(options)?;
        if options.zero_snr {
            betas = rescale_to_zero_snr(&betas);
        }
        let mut alphas_cumprod = cumulative_products(&betas);
        if options.zero_snr
            && options.class.floors_zero_snr()
            && let Some(last) = alphas_cumprod.last_mut()
        {
            *last = 1.0 / 16_777_216.0;
        }
        let sigmas: Vec<f32> = alphas_cumprod
            .iter()
            .map(|alpha| ((1.0 - alpha) / alpha).sqrt())
            .collect();
        let log_sigmas = sigmas.iter().map(|sigma| ln_numpy(*sigma)).collect();
        Ok(Self {
            alphas_cumprod,
            sigmas,
            log_sigmas,
        })
    }

    /// The noise level at a fractional timestep, linear between neighbours, as `numpy.interp`.
    pub(super) fn sigma_at(&self, timestep: f64) -> f64 {
        let last = self.sigmas.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "clamped to the table")]
        let below = (timestep.max(0.0) as usize).min(last);
        let (low, high) = (
            f64::from(self.sigmas[below]),
            f64::from(self.sigmas[(below + 1).min(last)]),
        );
        (high - low) * (timestep.max(0.0).min(last as f64) - below as f64) + low
    }

    /// The fractional timestep of a noise level, linear in its logarithm: diffusers' `_sigma_to_t`.
    pub(super) fn timestep_at(&self, sigma: f64) -> f64 {
        let last = self.log_sigmas.len() - 1;
        if last == 0 {
            return 0.0;
        }
        let log_sigma = sigma.max(1e-10).ln();
        let below = self
            .log_sigmas
            .iter()
            .rposition(|entry| log_sigma >= f64::from(*entry))
            .unwrap_or(0)
            .min(last - 1);
        let (low, high) = (self.log_sigmas[below], self.log_sigmas[below + 1]);
        let weight = ((f64::from(low) - log_sigma) / f64::from(low - high)).clamp(0.0, 1.0);
        (1.0 - weight) * below as f64 + weight * (below + 1) as f64
    }

    /// The cumulative product at a timestep. Fails when the timestep is beyond the table.
    pub(super) fn alpha_at(&self, timestep: i64) -> Result<f32> {
        let entry = usize::try_from(timestep)
            .ok()
            .and_then(|timestep| self.alphas_cumprod.get(timestep));
        entry.copied().ok_or_else(|| {
            Error::model(format!(
                "scheduler_config.json: these steps need training timestep {timestep} of {}",
                self.alphas_cumprod.len()
            ))
            .with_hint("ask for fewer steps, or lower `steps_offset`")
        })
    }
}

/// The noise level that belongs to a cumulative product, finite even where no picture is left.
pub(super) fn sigma_of_alpha(alpha: f32) -> f64 {
    let alpha = f64::from(alpha).max(1.0 / 16_777_216.0);
    ((1.0 - alpha) / alpha).max(0.0).sqrt()
}

fn read_betas(options: &Options<'_>) -> Result<Vec<f32>> {
    let (keys, count) = (options.keys, options.num_train_timesteps);
    let betas = if let Some(value) = keys.get("trained_betas") {
        let list: Option<Vec<f32>> = value
            .as_array()
            .and_then(|list| list.iter().map(|beta| beta.as_f64().map(as_f32)).collect());
        list.filter(|list| list.len() == count).ok_or_else(|| {
            wrong(
                "trained_betas",
                value,
                &format!("a list of {count} numbers (`num_train_timesteps`)"),
            )
        })?
    } else {
        let (start, end, schedule) = options.class.default_betas();
        let (start, end) = (
            keys.number("beta_start", start)?,
            keys.number("beta_end", end)?,
        );
        let name = keys.text("beta_schedule", schedule)?;
        if !options.class.beta_schedules().contains(&name) {
            let expected = options.class.beta_schedules().join(", ");
            return Err(wrong(
                "beta_schedule",
                &name.into(),
                &format!("one of {expected} ({})", options.class.name()),
            ));
        }
        make_betas(name, start, end, count)
    };
    if !betas.iter().all(|beta| (0.0..1.0).contains(beta)) || betas.iter().all(|beta| *beta <= 0.0)
    {
        return Err(
            Error::model("scheduler_config.json: the betas do not lie between 0 and 1")
                .with_hint("look at `beta_start`, `beta_end` and `trained_betas`"),
        );
    }
    Ok(betas)
}

fn make_betas(schedule: &str, start: f64, end: f64, count: usize) -> Vec<f32> {
    use std::f64::consts::FRAC_PI_2;
    match schedule {
        "scaled_linear" => linspace_f32(start.sqrt(), end.sqrt(), count)
            .iter()
            .map(|root| root * root)
            .collect(),
        "squaredcos_cap_v2" => betas_of(count, |t| ((t + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2)),
        "exp" => betas_of(count, |t| (t * -12.0).exp()),
        "laplace" => betas_of(count, |t| {
            let log_snr = -0.5 * (0.5 - t).signum() * (1.0 - 2.0 * (0.5 - t).abs() + 1e-6).ln();
            let snr = log_snr.exp();
            (snr / (1.0 + snr)).sqrt()
        }),
        "sigmoid" => {
            let sigmoid = |x: &f32| as_f32(1.0 / (1.0 + (-f64::from(*x)).exp()));
            linspace_f32(-6.0, 6.0, count)
                .iter()
                .map(|x| sigmoid(x) * as_f32(end - start) + as_f32(start))
                .collect()
        }
        _ => linspace_f32(start, end, count),
    }
}

/// Betas whose cumulative product follows `alpha_bar` over `[0, 1]`, none above 0.999.
fn betas_of(count: usize, alpha_bar: impl Fn(f64) -> f64) -> Vec<f32> {
    let at = |index: usize| alpha_bar(index as f64 / count as f64);
    (0..count)
        .map(|index| as_f32((1.0 - at(index + 1) / at(index)).min(0.999)))
        .collect()
}

fn cumulative_products(betas: &[f32]) -> Vec<f32> {
    let mut product = 1.0_f64;
    betas
        .iter()
        .map(|beta| {
            product *= f64::from(1.0 - beta);
            as_f32(product)
        })
        .collect()
}

/// Betas whose last timestep holds no picture at all (Lin et al. 2023, algorithm 1).
fn rescale_to_zero_snr(betas: &[f32]) -> Vec<f32> {
    let mut roots: Vec<f32> = cumulative_products(betas)
        .iter()
        .map(|alpha| alpha.sqrt())
        .collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let scale = first / (first - last);
    for root in &mut roots {
        *root = (*root - last) * scale;
    }
    let mut before = 1.0;
    roots
        .iter()
        .map(|root| {
            let alpha_bar = root * root;
            let beta = 1.0 - alpha_bar / before;
            before = alpha_bar;
            beta
        })
        .collect()
}

/// `torch.linspace` in single precision: both halves count from their own end, fused.
pub(super) fn linspace_f32(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (as_f32(start), as_f32(end));
    if count == 1 {
        return vec![start];
    }
    let step = (end - start) / (count - 1) as f32;
    let at = |index| {
        if index < count / 2 {
            step.mul_add(index as f32, start)
        } else {
            (-step).mul_add((count - 1 - index) as f32, end)
        }
    };
    (0..count).map(at).collect()
}

/// `numpy.linspace` in double precision.
pub(super) fn linspace(start: f64, end: f64, count: usize) -> Vec<f64> {
    let step = if count > 1 {
        (end - start) / (count - 1) as f64
    } else {
        0.0
    };
    let mut values: Vec<f64> = (0..count)
        .map(|index| index as f64 * step + start)
        .collect();
    if let Some(last) = values.last_mut().filter(|_| count > 1) {
        *last = end;
    }
    values
}

/// `count` timesteps below `from`, most noise first, each `num_train / count` below the one before.
///
/// numpy's `arange`, whose rounding gives an extra step for some counts (61 is the first); it is left out here.
pub(super) fn trailing(from: usize, num_train: usize, count: usize) -> Vec<f64> {
    let ratio = num_train as f64 / count as f64;
    let from = from as f64;
    let delta = (from - ratio) - from;
    #[expect(clippy::cast_possible_truncation, reason = "at most `count`")]
    let length = ((from / ratio).ceil() as usize).min(count);
    (0..length)
        .map(|index| (from + index as f64 * delta).round_ties_even() - 1.0)
        .collect()
}

/// Inference timesteps of the classes that use the whole range, most noise first; fractional with `linspace`.
pub(super) fn spread(options: &Options<'_>, count: usize) -> Vec<f64> {
    let num_train = options.num_train_timesteps;
    match options.spacing {
        Spacing::Trailing => trailing(num_train, num_train, count),
        Spacing::Leading => {
            let ratio = num_train / count;
            (0..count)
                .rev()
                .map(|index| (index * ratio + options.steps_offset) as f64)
                .collect()
        }
        Spacing::Linspace => {
            let mut timesteps = linspace(0.0, (num_train - 1) as f64, count);
            timesteps.reverse();
            timesteps
        }
    }
}

/// [`spread`], rounded to whole timesteps.
pub(super) fn spread_whole(options: &Options<'_>, count: usize) -> Vec<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "timesteps are below 2^17")]
    let whole = |timestep: f64| timestep.round_ties_even() as i64;
    spread(options, count).into_iter().map(whole).collect()
}

/// Natural logarithm in single precision, with the rounding of numpy's vector code.
///
/// A rational approximation around 1. Which side of the truth it rounds to decides the whole timestep that some
/// schedules truncate to.
fn ln_numpy(x: f32) -> f32 {
    const NUMERATOR: [f32; 6] = [
        0.025_899_792,
        0.380_883_77,
        1.480_000_6,
        2.112_677_6,
        1.0,
        0.0,
    ];
    const DENOMINATOR: [f32; 6] = [
        0.005_875_095_3,
        0.154_647_64,
        0.986_494_3,
        2.453_006,
        2.612_677_6,
        1.0,
    ];
    if x <= 0.0 || !x.is_finite() {
        return x.ln();
    }
    let bits = x.to_bits();
    let (mut mantissa, mut exponent) = (
        f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000),
        (bits >> 23) as f32 - 127.0,
    );
    if mantissa > std::f32::consts::SQRT_2 {
        (mantissa, exponent) = (mantissa * 0.5, exponent + 1.0);
    }
    let x = mantissa - 1.0;
    let evaluate = |polynomial: [f32; 6]| {
        polynomial[1..]
            .iter()
            .fold(polynomial[0], |sum, next| sum.mul_add(x, *next))
    };
    exponent.mul_add(
        std::f32::consts::LN_2,
        evaluate(NUMERATOR) / evaluate(DENOMINATOR),
    )
}
