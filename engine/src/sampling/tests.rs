//! Tests of the samplers as a whole: against diffusers, and laws that need no reference.

mod golden;
mod laws;
mod refusals;

use super::{SchedulerConfig, noise::Generator};

/// SD 1.5's usual betas and options under the class `name`, with `more` keys.
fn config(name: &str, more: &str) -> SchedulerConfig {
    let json = format!(
        r#"{{"_class_name": "{name}", "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
            "beta_schedule": "scaled_linear", "steps_offset": 1, "clip_sample": false, "set_alpha_to_one": false{more}}}"#
    );
    SchedulerConfig::from_json(json.as_bytes()).unwrap()
}

/// What `golden/make_golden.py` uses as the network: `0.3 x + 0.5 sin(0.003 t + i)`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the network of the golden runs is single precision"
)]
fn network(sample: &[f32], timestep: f64) -> Vec<f32> {
    let wave =
        |index: usize| (0.5 * (0.003 * f64::from(timestep as f32) + index as f64).sin()) as f32;
    sample
        .iter()
        .enumerate()
        .map(|(index, x)| 0.3 * x + wave(index))
        .collect()
}

fn generator(seed: u64) -> Generator {
    Generator::new("torch", seed).unwrap()
}
