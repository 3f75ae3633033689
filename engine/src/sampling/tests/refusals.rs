//! Configurations and requests that are refused, each naming what is wrong.

use super::super::{SchedulerConfig, plan};
use super::config;
use crate::{Error, ErrorKind};

fn refused(
    class: &str,
    keys: &str,
    sampler: Option<&str>,
    schedule: Option<&str>,
    steps: usize,
) -> Error {
    plan(&config(class, keys), sampler, schedule, steps)
        .err()
        .unwrap_or_else(|| panic!("{class} {keys} is accepted"))
}

#[test]
fn values_of_the_file_that_cannot_be_used_name_their_key() {
    let cases = [
        ("DDIMScheduler", r#""num_train_timesteps": 0"#),
        ("DDIMScheduler", r#""num_train_timesteps": 4000000000"#),
        ("DDIMScheduler", r#""num_train_timesteps": -1"#),
        ("DDIMScheduler", r#""num_train_timesteps": "1000""#),
        ("DDIMScheduler", r#""beta_schedule": "cosine""#),
        ("DDIMScheduler", r#""beta_start": "a""#),
        ("DDIMScheduler", r#""prediction_type": "flow_prediction""#),
        ("DDIMScheduler", r#""timestep_spacing": "even""#),
        ("DDIMScheduler", r#""trained_betas": [0.1, 0.2]"#),
        ("DDIMScheduler", r#""trained_betas": "x""#),
        ("DDIMScheduler", r#""steps_offset": 2000"#),
        ("DDPMScheduler", r#""variance_type": "learned_range""#),
        ("DDPMScheduler", r#""variance_type": "fixed_large_log""#),
        ("EulerDiscreteScheduler", r#""use_karras_sigmas": "yes""#),
        ("EulerDiscreteScheduler", r#""final_sigmas_type": "one""#),
        ("EulerDiscreteScheduler", r#""interpolation_type": "cubic""#),
        ("EulerDiscreteScheduler", r#""timestep_type": "odd""#),
        ("EulerDiscreteScheduler", r#""sigma_min": -1.0"#),
        ("DPMSolverMultistepScheduler", r#""algorithm_type": "rk4""#),
        ("DPMSolverMultistepScheduler", r#""solver_order": 4"#),
        ("DPMSolverMultistepScheduler", r#""solver_order": 0"#),
        (
            "DPMSolverMultistepScheduler",
            r#""solver_type": "trapezoid""#,
        ),
        (
            "DPMSolverMultistepScheduler",
            r#""algorithm_type": "dpmsolver""#,
        ),
        ("DPMSolverMultistepScheduler", r#""use_flow_sigmas": true"#),
        (
            "DPMSolverMultistepScheduler",
            r#""variance_type": "learned""#,
        ),
        (
            "DPMSolverMultistepScheduler",
            r#""lambda_min_clipped": 100.0"#,
        ),
        (
            "DPMSolverMultistepScheduler",
            r#""lambda_min_clipped": NaN"#,
        ),
        (
            "UniPCMultistepScheduler",
            r#""solver_p": {"_class_name": "x"}"#,
        ),
        ("UniPCMultistepScheduler", r#""lower_order_final": false"#),
        ("UniPCMultistepScheduler", r#""predict_x0": false"#),
        ("UniPCMultistepScheduler", r#""disable_corrector": "no""#),
        ("LCMScheduler", r#""original_inference_steps": 5000"#),
        ("LCMScheduler", r#""original_inference_steps": 0"#),
        ("HeunDiscreteScheduler", r#""beta_schedule": "sigmoid""#),
    ];
    for (class, pair) in cases {
        let key = pair.split('"').nth(1).unwrap();
        let error = refused(class, &format!(", {pair}"), None, None, 6);
        assert!(
            error.to_string().contains(&format!("`{key}`")),
            "{pair}: {error}"
        );
    }
}

#[test]
fn betas_that_are_none_are_refused() {
    for pair in [
        r#""beta_end": 1.5"#,
        r#""beta_start": -0.1"#,
        r#""beta_end": 1e300"#,
        r#""beta_start": 0.0, "beta_end": 0.0"#,
    ] {
        for sampler in super::super::samplers() {
            let error = refused(
                "DDIMScheduler",
                &format!(", {pair}"),
                Some(sampler.name),
                None,
                6,
            );
            assert_eq!(
                error.kind(),
                ErrorKind::ModelInvalid,
                "{pair} {}: {error}",
                sampler.name
            );
        }
    }
}

#[test]
fn two_shapes_at_once_are_refused() {
    let error = refused(
        "EulerDiscreteScheduler",
        r#", "use_karras_sigmas": true, "use_beta_sigmas": true"#,
        None,
        None,
        6,
    );
    assert!(
        error
            .to_string()
            .contains("`use_karras_sigmas` and `use_beta_sigmas`"),
        "{error}"
    );
}

#[test]
fn classes_that_are_not_supported_are_named() {
    let error = refused("DEISMultistepScheduler", "", None, None, 6);
    assert!(
        error.to_string().contains("DEISMultistepScheduler"),
        "{error}"
    );
    plan(
        &config("DEISMultistepScheduler", ""),
        Some("euler"),
        None,
        6,
    )
    .unwrap();
    for sampler in [None, Some("euler")] {
        let error = refused("FlowMatchEulerDiscreteScheduler", "", sampler, None, 6);
        assert!(
            error
                .to_string()
                .contains("FlowMatchEulerDiscreteScheduler"),
            "{error}"
        );
    }
}

#[test]
fn a_schedule_on_a_sampler_without_names_the_samplers_that_take_it() {
    for sampler in ["ddim", "ddpm", "pndm", "lcm"] {
        let error = refused("DDIMScheduler", "", Some(sampler), Some("karras"), 6);
        assert_eq!(error.field(), Some("schedule"));
        assert!(error.to_string().contains(sampler), "{error}");
        assert!(
            error.hint().unwrap().contains("euler, euler_a, heun"),
            "{error:?}"
        );
    }
}

#[test]
fn numbers_of_steps_out_of_range_name_the_field() {
    for (sampler, steps) in [
        ("euler", 0),
        ("euler", 1001),
        ("euler", usize::MAX),
        ("lcm", 51),
    ] {
        let error = refused("DDIMScheduler", "", Some(sampler), None, steps);
        assert_eq!(
            error.field(),
            Some("num_inference_steps"),
            "{sampler} {steps}: {error}"
        );
    }
    let error = refused(
        "DDIMScheduler",
        r#", "num_train_timesteps": 20"#,
        None,
        None,
        21,
    );
    assert_eq!(
        error.to_string(),
        "21 steps are not between 1 and 20, the model's training timesteps"
    );
    assert_eq!(
        refused("PNDMScheduler", "", None, None, 3).field(),
        Some("num_inference_steps")
    );
}

#[test]
fn predictions_and_betas_that_a_class_lacks_name_those_that_can() {
    let error = refused(
        "DDIMScheduler",
        r#", "prediction_type": "sample""#,
        Some("euler_a"),
        None,
        6,
    );
    assert_eq!(error.field(), Some("sampler"));
    assert!(error.hint().unwrap().contains("euler, heun"), "{error:?}");
    let error = refused(
        "DDIMScheduler",
        r#", "rescale_betas_zero_snr": true"#,
        Some("heun"),
        None,
        6,
    );
    assert!(
        error.to_string().contains("`rescale_betas_zero_snr`"),
        "{error}"
    );
}

#[test]
fn zero_snr_with_noise_prediction_is_refused_where_no_picture_is_left() {
    let keys = r#", "rescale_betas_zero_snr": true, "timestep_spacing": "trailing""#;
    let error = refused("DDIMScheduler", keys, None, None, 6);
    assert!(
        error.to_string().contains("`rescale_betas_zero_snr`"),
        "{error}"
    );
}

#[test]
fn early_stable_diffusion_files_are_mended_as_their_pipelines_do() {
    let file = br#"{"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}"#;
    let config = SchedulerConfig::from_json(file).unwrap();
    let first = |config: &SchedulerConfig, sampler| {
        plan(config, sampler, None, 10)
            .unwrap()
            .sampler
            .model_input(&[0.0])
            .timestep
    };
    let held = config
        .clone()
        .corrected(&[("steps_offset", 1.into()), ("clip_sample", false.into())]);
    let timesteps = [
        first(&config, None),
        first(&held, None),
        first(&held, Some("ddim")), // a default does not travel to another sampler
        first(&config, None),
    ];
    assert_eq!(timesteps, [900.0, 901.0, 900.0, 900.0]);
}
