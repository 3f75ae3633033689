//! Golden runs: numbers of diffusers' schedulers, made by `golden/make_golden.py`.

use serde::Deserialize;

use super::super::{SchedulerConfig, plan};
use super::{generator, network};

/// Largest difference from diffusers, relative to the largest latent of the run.
const TOLERANCE: f32 = 2e-5;

/// The same where betas are rescaled to zero SNR: the reference subtracts square roots that differ from machine to
/// machine in the last bit, and noise levels of thousands follow from what is left.
const TOLERANCE_ZERO_SNR: f32 = 1e-4;

#[derive(Deserialize)]
struct Case {
    config: serde_json::Value,
    sampler: Option<String>,
    schedule: Option<String>,
    steps: usize,
    timesteps: Vec<f64>,
    /// The first latent after every evaluation.
    trace: Vec<f32>,
    latents: Vec<f32>,
}

impl Case {
    fn tolerance(&self) -> f32 {
        if self.config["rescale_betas_zero_snr"] == true {
            TOLERANCE_ZERO_SNR
        } else {
            TOLERANCE
        }
    }

    fn run(&self) -> Result<f32, String> {
        let config = SchedulerConfig::from_json(self.config.to_string().as_bytes())
            .map_err(|error| error.to_string())?;
        let plan = plan(
            &config,
            self.sampler.as_deref(),
            self.schedule.as_deref(),
            self.steps,
        );
        let mut sampler = plan.map_err(|error| error.to_string())?.sampler;
        if sampler.evaluation_count() != self.timesteps.len() {
            return Err(format!(
                "{} evaluations, expected {}",
                sampler.evaluation_count(),
                self.timesteps.len()
            ));
        }
        let mut noise = generator(self.steps as u64);
        let mut latents: Vec<f32> = noise
            .randn(self.latents.len())
            .into_iter()
            .map(|x| x * sampler.init_noise_sigma())
            .collect();
        let largest = self
            .latents
            .iter()
            .chain(&self.trace)
            .fold(0.0_f32, |most, x| most.max(x.abs()));
        let mut worst = 0.0_f32;
        for (timestep, first) in self.timesteps.iter().zip(&self.trace) {
            let input = sampler.model_input(&latents);
            // an ancestral midpoint is the square root of a small difference: the reference has few digits of it
            let tolerance = if self.sampler.as_deref() == Some("dpm2_a") {
                0.02
            } else {
                2e-4
            };
            if (input.timestep - timestep).abs() > tolerance {
                return Err(format!("timestep {}, expected {timestep}", input.timestep));
            }
            let output = network(&input.sample, *timestep);
            sampler.advance(&mut latents, &output, &mut || noise.randn(output.len()));
            worst = worst.max((latents[0] - first).abs() / largest);
        }
        for (found, expected) in latents.iter().zip(&self.latents) {
            worst = worst.max((found - expected).abs() / largest);
        }
        Ok(worst)
    }
}

#[test]
fn every_run_gives_diffusers_numbers() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../golden/samplers.json")).unwrap();
    assert!(cases.len() > 500);
    let mut failures = Vec::new();
    let mut worst = (0.0_f32, String::new());
    for case in &cases {
        let name = format!(
            "{:?} {:?} {} {}",
            case.sampler, case.schedule, case.steps, case.config
        );
        match case.run() {
            Ok(difference) if difference <= case.tolerance() => {
                if difference > worst.0 {
                    worst = (difference, name);
                }
            }
            Ok(difference) => failures.push(format!("{difference:e}: {name}")),
            Err(error) => failures.push(format!("{error}: {name}")),
        }
    }
    println!(
        "{} runs, largest relative difference {:e}: {}",
        cases.len(),
        worst.0,
        worst.1
    );
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[derive(Deserialize)]
struct Sigmas {
    schedule: String,
    steps: usize,
    sigmas: Vec<f64>,
}

#[test]
fn schedules_of_comfyui_give_its_sigmas() {
    let cases: Vec<Sigmas> = serde_json::from_str(include_str!("../golden/sigmas.json")).unwrap();
    for case in cases {
        let config = super::config("EulerDiscreteScheduler", "");
        let mut sampler = plan(&config, None, Some(&case.schedule), case.steps)
            .unwrap()
            .sampler;
        let mut latents = vec![1.0];
        for expected in &case.sigmas {
            let difference = (sampler.sigma() - expected).abs() / expected;
            assert!(
                difference < 2e-6,
                "{} {}: {} {expected}",
                case.schedule,
                case.steps,
                sampler.sigma()
            );
            sampler.advance(&mut latents, &[0.1], &mut Vec::new);
        }
        assert!(sampler.sigma().abs() < 1e-12, "the last level is zero");
    }
}
