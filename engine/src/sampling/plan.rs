//! From names and a model's configuration to a sampler that is ready to go.

use super::class::Class;
use super::config::{SchedulerConfig, wrong};
use super::ddim::Ddim;
use super::ddpm::{Ddpm, Variance};
use super::dpm2::{Dpm2, midpoint};
use super::dpm2_a::Dpm2Ancestral;
use super::dpmpp_2m::DpmSolverMultistep;
use super::dpmpp_2m_sde;
use super::dpmpp_2s::DpmSolverSinglestep;
use super::euler::Euler;
use super::euler_a::{EulerAncestral, EulerAncestralFlow, ancestral};
use super::flow::{self, Flow};
use super::heun::Heun;
use super::lcm::{Lcm, LcmFlow};
use super::lms::Lms;
use super::options::{Algorithm, Options, Spacing};
use super::pndm::Pndm;
use super::prediction::Prediction;
use super::sampler::{Course, Evaluation, Form, Machine, Sampler, Solver};
use super::schedule::{Levels, Schedule, configured, levels};
use super::suggest::{unknown_sampler, unknown_schedule};
use super::tables::{Tables, sigma_of_alpha, spread_whole};
use super::unipc::UniPc;
use super::{SamplerInfo, samplers};
use crate::{Error, Result};

/// Most steps of a plan.
pub const MAX_INFERENCE_STEPS: usize = 1000;

/// A sampler ready to go, with the names of what was chosen.
pub struct Plan {
    /// At its start.
    pub sampler: Box<dyn Sampler>,
    /// Its name in [`samplers`].
    pub sampler_name: &'static str,
    /// The schedule's name in [`schedules`](super::schedules), or, where the model's configuration decides, what it
    /// decides: `karras`, `exponential`, `beta` or `lu`, else the timestep spacing `leading`, `trailing` or `linspace`.
    pub schedule_name: &'static str,
    /// What the network outputs: `epsilon`, `v_prediction`, `sample` or `flow`.
    pub prediction_name: &'static str,
}

/// Plans `num_inference_steps` steps. As [`plan_from`], from the first one on.
pub fn plan(
    config: &SchedulerConfig,
    sampler: Option<&str>,
    schedule: Option<&str>,
    num_inference_steps: usize,
) -> Result<Plan> {
    plan_from(config, sampler, schedule, num_inference_steps, 0)
}

/// Plans `num_inference_steps` steps of which the first `begin` are left out: a picture is there to begin from.
///
/// `sampler`, `schedule`: names of [`samplers`] and [`schedules`](super::schedules); without, `config` decides.
/// Fails when a name is not known or a combination not possible (naming the request's field), and when `config` asks
/// for what is not supported (naming the file's key).
pub fn plan_from(
    config: &SchedulerConfig,
    sampler: Option<&str>,
    schedule: Option<&str>,
    num_inference_steps: usize,
    begin: usize,
) -> Result<Plan> {
    let info = match sampler {
        Some(name) => named(name)?,
        None if config.is_flow() => named(flow::own_sampler(config)?)?,
        None => own_sampler(config)?,
    };
    let class = Class::by_name(info.diffusers_class).expect("the list names classes of ours");
    if config.class_name().starts_with("FlowMatch") && !config.is_flow() {
        let class_name = config.class_name().into();
        return Err(wrong(
            "_class_name",
            &class_name,
            "a diffusion model's scheduler, this one is for flow matching",
        ));
    }
    let options = Options::read(config, class, sampler.is_none())?;
    let schedule = schedule
        .map(|name| accepted_schedule(info, name, options.prediction))
        .transpose()?;
    check_accepted(info, &options, num_inference_steps)?;
    let tables = Tables::new(&options)?;
    let schedule = match schedule {
        None if !config.is_flow() => configured(&options)?,
        asked => asked,
    };
    let request = Request {
        info,
        flow: config.flow(),
        options: &options,
        tables: &tables,
        schedule,
        steps: num_inference_steps,
        begin,
    };
    let mut sampler = request.build(sampler.is_none())?;
    rehearse(info.name, sampler.as_mut())?;
    Ok(Plan {
        sampler,
        sampler_name: info.name,
        schedule_name: request.schedule_name(),
        prediction_name: options.prediction.name(),
    })
}

fn named(name: &str) -> Result<&'static SamplerInfo> {
    samplers()
        .iter()
        .find(|info| info.name == name)
        .ok_or_else(|| unknown_sampler(name))
}

/// The sampler that the file's class stands for.
fn own_sampler(config: &SchedulerConfig) -> Result<&'static SamplerInfo> {
    let name = config.class_name();
    let mut candidates = samplers()
        .iter()
        .filter(|info| info.diffusers_class == name);
    let first = candidates.next().ok_or_else(|| {
        let class_name = name.into();
        wrong("_class_name", &class_name, "a class that is supported")
            .with_hint("choose a sampler: `imgctl samplers`")
    })?;
    match candidates.find(|info| info.stochastic) {
        Some(sde)
            if Options::read(config, Class::DpmSolverMultistep, true)?
                .algorithm()?
                .is_sde() =>
        {
            Ok(sde)
        }
        _ => Ok(first),
    }
}

fn accepted_schedule(info: &SamplerInfo, name: &str, prediction: Prediction) -> Result<Schedule> {
    let known = super::schedules()
        .iter()
        .find(|known| known.name == name)
        .ok_or_else(|| unknown_schedule(name))?;
    // The noise levels of a flow model are the same for every sampler.
    if prediction != Prediction::Flow && !info.schedules.contains(&known.name) {
        let others = samplers()
            .iter()
            .filter(|info| info.schedules.contains(&known.name))
            .map(|info| info.name);
        return Err(Error::invalid(
            "schedule",
            format!(
                "sampler `{}` has its own timesteps and takes no schedule",
                info.name
            ),
        )
        .with_hint(format!(
            "samplers that take `{name}`: {}",
            others.collect::<Vec<_>>().join(", ")
        )));
    }
    Ok(match known.name {
        "karras" => Schedule::Karras,
        "exponential" => Schedule::Exponential,
        "simple" => Schedule::Simple,
        "sgm_uniform" => Schedule::SgmUniform,
        "beta" => Schedule::Beta,
        _ => Schedule::Normal,
    })
}

/// Refuses what the sampler's class lacks.
fn check_accepted(info: &SamplerInfo, options: &Options<'_>, steps: usize) -> Result<()> {
    let able = |accepts: fn(&SamplerInfo, &str) -> bool, what: &str| {
        let names = samplers()
            .iter()
            .filter(|info| accepts(info, what))
            .map(|info| info.name);
        format!(
            "samplers that can: {}",
            names.collect::<Vec<_>>().join(", ")
        )
    };
    let prediction = options.prediction.name();
    if !info.predictions.contains(&prediction) {
        let message = format!(
            "sampler `{}` cannot use a network that predicts `{prediction}`",
            info.name
        );
        let accepts = |info: &SamplerInfo, what: &str| info.predictions.contains(&what);
        return Err(Error::invalid("sampler", message).with_hint(able(accepts, prediction)));
    }
    if options.zero_snr && !info.zero_snr {
        let message = format!(
            "sampler `{}` cannot use a model with `rescale_betas_zero_snr`, as this one is",
            info.name
        );
        return Err(Error::invalid("sampler", message).with_hint(able(|info, _| info.zero_snr, "")));
    }
    let most = MAX_INFERENCE_STEPS.min(options.num_train_timesteps);
    if steps == 0 || steps > most {
        let reason = if steps > MAX_INFERENCE_STEPS || steps == 0 {
            ""
        } else {
            ", the model's training timesteps"
        };
        return Err(Error::invalid(
            "num_inference_steps",
            format!("{steps} steps are not between 1 and {most}{reason}"),
        ));
    }
    Ok(())
}

/// What is to be built.
struct Request<'a> {
    info: &'static SamplerInfo,
    /// How a flow model lays its noise levels out.
    flow: Option<(Flow, usize)>,
    options: &'a Options<'a>,
    tables: &'a Tables,
    schedule: Option<Schedule>,
    steps: usize,
    /// Steps that are left out at the beginning.
    begin: usize,
}

impl Request<'_> {
    fn schedule_name(&self) -> &'static str {
        match (self.schedule, self.options.spacing) {
            (Some(Schedule::Normal), _) => "normal",
            (Some(Schedule::Karras), _) => "karras",
            (Some(Schedule::Exponential), _) => "exponential",
            (Some(Schedule::Simple), _) => "simple",
            (Some(Schedule::SgmUniform), _) => "sgm_uniform",
            (Some(Schedule::Beta), _) => "beta",
            (Some(Schedule::Lu), _) => "lu",
            (None, _) if self.flow.is_some() => "shift",
            (None, Spacing::Leading) => "leading",
            (None, Spacing::Trailing) => "trailing",
            (None, Spacing::Linspace) => "linspace",
        }
    }

    fn build(&self, own: bool) -> Result<Box<dyn Sampler>> {
        match self.options.class {
            Class::EulerAncestral | Class::Lcm if self.flow.is_some() => self.flow_with_noise(),
            Class::Ddim => self.ddim(),
            Class::Ddpm => self.ddpm(),
            Class::Lcm => self.lcm(),
            Class::Pndm => self.pndm(own),
            Class::DpmSolverMultistep | Class::DpmSolverSinglestep | Class::UniPc => {
                self.dpm_solvers()
            }
            _ => self.k_diffusion(),
        }
    }

    /// Puts `solver` on its course, past the evaluations of the steps that are left out.
    fn machine<S: Solver + 'static>(&self, mut course: Course, solver: S) -> Box<dyn Sampler> {
        let evaluations = self.begin * self.info.evaluations_per_step;
        course.begin = evaluations.min(course.evaluations.len().saturating_sub(1));
        Box::new(Machine::new(self.info.name, course, solver))
    }

    fn levels(&self) -> Result<Levels> {
        match self.flow {
            Some(flow) => self.flow_levels(flow),
            None => levels(self.options, self.tables, self.schedule, self.steps),
        }
    }

    fn flow_levels(&self, flow: (Flow, usize)) -> Result<Levels> {
        let mut sigmas = flow::sigmas(flow, self.options.keys, self.schedule, self.steps)?;
        // Solvers in `lambda` need a little of the picture, as diffusers gives them.
        if matches!(self.options.class, Class::DpmSolverMultistep | Class::UniPc) {
            sigmas
                .iter_mut()
                .for_each(|sigma| *sigma = sigma.min(1.0 - 1e-6));
        }
        let train = self.options.num_train_timesteps as f64;
        let timesteps = sigmas
            .iter()
            .map(|sigma| f64::from(super::options::as_f32(f64::from(*sigma) * train)))
            .collect();
        sigmas.push(0.0);
        Ok(Levels { timesteps, sigmas })
    }

    /// Samplers of flow models that go down to a picture and up again with fresh noise.
    fn flow_with_noise(&self) -> Result<Box<dyn Sampler>> {
        let Levels { timesteps, sigmas } = self.levels()?;
        let steps = timesteps.iter().zip(&sigmas);
        let course = Course {
            form: Form::Flow,
            ..plain_course(
                steps.map(|(timestep, sigma)| (*timestep, f64::from(*sigma))),
                0.0,
            )
        };
        Ok(if self.options.class == Class::Lcm {
            self.machine(course, LcmFlow { sigmas })
        } else {
            self.machine(course, EulerAncestralFlow { sigmas })
        })
    }

    /// Samplers whose latents are picture plus `sigma` times noise.
    fn k_diffusion(&self) -> Result<Box<dyn Sampler>> {
        let Levels { timesteps, sigmas } = self.levels()?;
        let prediction = self.options.prediction;
        let pairs: Vec<(f32, f32)> = sigmas.windows(2).map(|pair| (pair[0], pair[1])).collect();
        let inner = &pairs[..timesteps.len() - 1];
        let middle = |midpoints: &[f32]| -> Vec<(f64, f32)> {
            let timestep = |sigma: f32| {
                f64::from(super::options::as_f32(
                    self.tables.timestep_at(f64::from(sigma)),
                ))
            };
            midpoints
                .iter()
                .map(|sigma| (timestep(*sigma), *sigma))
                .collect()
        };
        Ok(match self.options.class {
            Class::EulerAncestral => self.machine(
                self.k_course(&timesteps, &sigmas, &[]),
                EulerAncestral { sigmas, prediction },
            ),
            Class::Lms => {
                let solver = |sigmas| Lms {
                    sigmas,
                    prediction,
                    slopes: Vec::new(),
                    begin: self.begin,
                };
                self.machine(self.k_course(&timesteps, &sigmas, &[]), solver(sigmas))
            }
            Class::Heun => {
                let ends: Vec<(f64, f32)> = timesteps
                    .iter()
                    .copied()
                    .zip(sigmas.iter().copied())
                    .skip(1)
                    .collect();
                let limit = self.options.limit;
                self.machine(
                    self.k_course(&timesteps, &sigmas, &ends),
                    Heun {
                        sigmas,
                        prediction,
                        limit,
                        start: None,
                    },
                )
            }
            Class::Kdpm2 => {
                let midpoints: Vec<f32> = inner
                    .iter()
                    .map(|(from, to)| midpoint(*from, *to))
                    .collect();
                let course = self.k_course(&timesteps, &sigmas, &middle(&midpoints));
                self.machine(
                    course,
                    Dpm2 {
                        sigmas,
                        midpoints,
                        prediction,
                        start: None,
                    },
                )
            }
            Class::Kdpm2Ancestral => {
                let midpoints: Vec<f32> = inner
                    .iter()
                    .map(|(from, to)| midpoint(*from, ancestral(*from, *to).0))
                    .collect();
                let course = self.k_course(&timesteps, &sigmas, &middle(&midpoints));
                self.machine(
                    course,
                    Dpm2Ancestral {
                        sigmas,
                        midpoints,
                        prediction,
                        start: None,
                    },
                )
            }
            _ => self.machine(
                self.k_course(&timesteps, &sigmas, &[]),
                Euler { sigmas, prediction },
            ),
        })
    }

    /// `second`: timestep and level of the second evaluation of each step but the last; empty with one a step.
    fn k_course(&self, timesteps: &[f64], sigmas: &[f32], second: &[(f64, f32)]) -> Course {
        let is_flow = self.flow.is_some();
        let divisor = |sigma: f32| {
            if is_flow {
                1.0
            } else {
                (sigma * sigma + 1.0).sqrt()
            }
        };
        let mut evaluations = Vec::new();
        for (index, (timestep, sigma)) in timesteps.iter().zip(sigmas).enumerate() {
            let first = (*timestep, *sigma, *sigma);
            let second = second
                .get(index)
                .map(|(timestep, middle)| (*timestep, *middle, sigmas[index + 1]));
            for (timestep, sigma, kept) in [Some(first), second].into_iter().flatten() {
                evaluations.push(Evaluation {
                    timestep,
                    input_divisor: divisor(sigma),
                    sigma: f64::from(sigma),
                    kept_sigma: f64::from(kept),
                    inference_step: index + 1,
                });
            }
        }
        let most = sigmas.iter().copied().fold(0.0, f32::max);
        let init_noise_sigma = if is_flow {
            1.0
        } else if self.options.spacing == Spacing::Leading {
            divisor(most)
        } else {
            most
        };
        Course {
            evaluations,
            begin: 0,
            form: if is_flow { Form::Flow } else { Form::Exploding },
            init_noise_sigma,
            final_sigma: f64::from(sigmas[timesteps.len()]),
        }
    }

    /// Samplers in `lambda`, whose latents keep their variance.
    fn dpm_solvers(&self) -> Result<Box<dyn Sampler>> {
        let Levels { timesteps, sigmas } = self.levels()?;
        let mut course = plain_course(
            timesteps
                .iter()
                .zip(&sigmas)
                .map(|(timestep, sigma)| (*timestep, f64::from(*sigma))),
            f64::from(sigmas[timesteps.len()]),
        );
        if self.flow.is_some() {
            course.form = Form::Flow;
        }
        Ok(match (self.options.class, self.info.stochastic) {
            (Class::DpmSolverSinglestep, _) => self.machine(
                course,
                DpmSolverSinglestep::new(self.options, &sigmas, self.begin)?,
            ),
            (Class::UniPc, _) => {
                self.machine(course, UniPc::new(self.options, &sigmas, self.begin)?)
            }
            (_, true) => self.machine(
                course,
                dpmpp_2m_sde::solver(self.options, &sigmas, self.begin)?,
            ),
            (_, false) => {
                // the name says that no noise is drawn, whatever the file says
                let algorithm = match self.options.algorithm()? {
                    Algorithm::SdeDpmSolver => Algorithm::DpmSolver,
                    Algorithm::SdeDpmSolverPp => Algorithm::DpmSolverPp,
                    written => written,
                };
                self.machine(
                    course,
                    DpmSolverMultistep::new(self.options, algorithm, &sigmas, self.begin)?,
                )
            }
        })
    }

    /// Cumulative product after the last step.
    fn final_alpha(&self, set_alpha_to_one: bool) -> Result<f32> {
        let one = self
            .options
            .keys
            .boolean("set_alpha_to_one", set_alpha_to_one)?;
        Ok(if one {
            1.0
        } else {
            self.tables.alphas_cumprod[0]
        })
    }

    fn ddim(&self) -> Result<Box<dyn Sampler>> {
        let stride =
            i64::try_from(self.options.num_train_timesteps / self.steps).expect("at most 100000");
        let final_alpha = self.final_alpha(true)?;
        let timesteps = spread_whole(self.options, self.steps);
        let mut alphas = Vec::new();
        for timestep in &timesteps {
            let next = timestep - stride;
            let next = if next < 0 {
                final_alpha
            } else {
                self.tables.alpha_at(next)?
            };
            alphas.push((self.alpha_asked(*timestep)?, next));
        }
        let course = alpha_course(
            timesteps
                .iter()
                .zip(&alphas)
                .map(|(t, alphas)| (*t, alphas.0)),
            final_alpha,
        );
        let Options {
            prediction, limit, ..
        } = *self.options;
        Ok(self.machine(
            course,
            Ddim {
                alphas,
                prediction,
                limit,
            },
        ))
    }

    fn ddpm(&self) -> Result<Box<dyn Sampler>> {
        let variances = [
            ("fixed_small", Variance::Small),
            ("fixed_small_log", Variance::SmallLog),
            ("fixed_large", Variance::Large),
        ];
        let variance = self
            .options
            .keys
            .choice("variance_type", Variance::Small, &variances)?;
        let steps = self.alpha_steps(spread_whole(self.options, self.steps), Some(1.0))?;
        let course = alpha_course(steps.iter().map(|(t, alpha, _)| (*t, *alpha)), 1.0);
        let Options {
            prediction, limit, ..
        } = *self.options;
        Ok(self.machine(
            course,
            Ddpm {
                steps,
                prediction,
                limit,
                variance,
            },
        ))
    }

    fn lcm(&self) -> Result<Box<dyn Sampler>> {
        let num_train = self.options.num_train_timesteps;
        let original = self
            .options
            .keys
            .integer("original_inference_steps", 50, num_train)?;
        if self.steps > original {
            return Err(Error::invalid(
                "num_inference_steps",
                format!(
                    "{} steps are more than the {original} (`original_inference_steps`) that `lcm` picks from",
                    self.steps
                ),
            ));
        }
        let stride = num_train / original;
        let pick = |index: usize| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "an index below the original steps"
            )]
            let skipped = (index as f64 * (original as f64 / self.steps as f64)) as usize;
            i64::try_from((original - skipped) * stride - 1).expect("at most 100000")
        };
        let steps = self.alpha_steps((0..self.steps).map(pick).collect(), None)?;
        let course = alpha_course(steps.iter().map(|(t, alpha, _)| (*t, *alpha)), 1.0);
        let timestep_scaling = self.options.keys.number("timestep_scaling", 10.0)?;
        let Options {
            prediction, limit, ..
        } = *self.options;
        Ok(self.machine(
            course,
            Lcm {
                steps,
                prediction,
                limit,
                timestep_scaling,
            },
        ))
    }

    /// The cumulative product at a timestep that the network is asked about.
    fn alpha_asked(&self, timestep: i64) -> Result<f32> {
        let alpha = self.tables.alpha_at(timestep)?;
        if alpha <= 0.0 && self.options.prediction == Prediction::Epsilon {
            return Err(Error::model(format!(
                "scheduler_config.json: with `rescale_betas_zero_snr` timestep {timestep} holds no picture, \
                 and none follows from a network that predicts `epsilon`"
            ))
            .with_hint("`prediction_type` is probably `v_prediction`"));
        }
        Ok(alpha)
    }

    /// Timesteps with the cumulative products there and at the next one; after the last, `last` or its own again.
    fn alpha_steps(&self, timesteps: Vec<i64>, last: Option<f32>) -> Result<Vec<(i64, f32, f32)>> {
        let alphas = timesteps
            .iter()
            .map(|t| self.alpha_asked(*t))
            .collect::<Result<Vec<f32>>>()?;
        let next = |index: usize| {
            alphas
                .get(index + 1)
                .copied()
                .or(last)
                .unwrap_or(alphas[index])
        };
        Ok(timesteps
            .into_iter()
            .enumerate()
            .map(|(index, t)| (t, alphas[index], next(index)))
            .collect())
    }

    fn pndm(&self, own: bool) -> Result<Box<dyn Sampler>> {
        let runge_kutta =
            own && self.begin == 0 && !self.options.keys.boolean("skip_prk_steps", false)?;
        let solver = Pndm::new(
            self.options,
            self.tables,
            self.steps,
            runge_kutta,
            self.begin,
        )?;
        let mut course = alpha_course(
            solver.transfers.iter().map(|at| (at.timestep, at.alpha)),
            1.0,
        );
        for (at, evaluation) in course.evaluations.iter_mut().enumerate() {
            evaluation.inference_step = match (runge_kutta, at) {
                (true, 0..12) => at / 4 + 1,
                (true, _) => at - 8,
                (false, 0) => self.begin + 1,
                (false, _) => self.begin + at,
            };
        }
        // What is left out is not in its list.
        Ok(Box::new(Machine::new(self.info.name, course, solver)))
    }
}

/// One evaluation a step, of latents that are given to the network as they are. `steps`: timestep and noise level.
fn plain_course(steps: impl Iterator<Item = (f64, f64)>, final_sigma: f64) -> Course {
    let evaluation = |(index, (timestep, sigma))| Evaluation {
        timestep,
        input_divisor: 1.0,
        sigma,
        kept_sigma: sigma,
        inference_step: index + 1,
    };
    Course {
        evaluations: steps.enumerate().map(evaluation).collect(),
        begin: 0,
        form: Form::Preserving,
        init_noise_sigma: 1.0,
        final_sigma,
    }
}

/// [`plain_course`] over timesteps with their cumulative products.
fn alpha_course(steps: impl Iterator<Item = (i64, f32)>, final_alpha: f32) -> Course {
    plain_course(
        steps.map(|(t, alpha)| (t as f64, sigma_of_alpha(alpha))),
        sigma_of_alpha(final_alpha),
    )
}

/// Goes the whole way with two made-up latents: options that lead to numbers without meaning are refused here, before
/// the network has worked for nothing.
fn rehearse(name: &str, sampler: &mut dyn Sampler) -> Result<()> {
    let start = sampler.save();
    let mut latents = vec![
        0.7 * sampler.init_noise_sigma(),
        -0.4 * sampler.init_noise_sigma(),
    ];
    for evaluation in 0..sampler.evaluation_count() {
        let wave = [0.3, 0.2 * (evaluation % 7) as f32 - 0.5];
        sampler.advance(&mut latents, &wave, &mut || vec![0.5, -0.3]);
        if !latents.iter().all(|value| value.is_finite()) {
            return Err(Error::model(format!(
                "scheduler_config.json: with its options sampler `{name}` makes no finite numbers in step {} of these",
                sampler.inference_step()
            ))
            .with_hint("ask for another number of steps, or choose another sampler"));
        }
    }
    sampler.restore(start)
}
