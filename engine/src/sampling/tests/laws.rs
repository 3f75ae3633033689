//! Laws that need no reference: saving changes nothing, errors fall with the order, the list and `plan` agree.

use super::super::{Plan, SamplerState, SchedulerConfig, plan, samplers, schedules};
use super::{config, generator, network};

/// Goes from noise to latents; before every evaluation `between` may replace the sampler.
fn run(make: &dyn Fn() -> Plan, between: impl Fn(Plan) -> Plan) -> Vec<u32> {
    let mut now = make();
    let mut noise = generator(11);
    let mut latents: Vec<f32> = noise
        .randn(24)
        .into_iter()
        .map(|x| x * now.sampler.init_noise_sigma())
        .collect();
    for _ in 0..now.sampler.evaluation_count() {
        now = between(now);
        let input = now.sampler.model_input(&latents);
        let output = network(&input.sample, input.timestep);
        now.sampler
            .advance(&mut latents, &output, &mut || noise.randn(24));
    }
    now = between(now);
    let denoised = now.sampler.denoised().unwrap();
    assert_eq!(
        now.sampler.evaluations_done(),
        now.sampler.evaluation_count()
    );
    latents
        .iter()
        .chain(denoised)
        .map(|x| x.to_bits())
        .collect()
}

#[test]
fn saved_and_restored_after_every_evaluation_equals_straight_through() {
    let mut plans = Vec::new();
    for info in samplers() {
        for order in [1, 2, 3] {
            plans.push((
                Some(info.name),
                config("DDIMScheduler", &format!(r#", "solver_order": {order}"#)),
                9,
            ));
        }
        plans.push((Some(info.name), config("DDIMScheduler", ""), 1));
    }
    plans.push((None, config("PNDMScheduler", ""), 7)); // with a Runge-Kutta start
    for class in [
        "DPMSolverSinglestepScheduler",
        "DPMSolverMultistepScheduler",
    ] {
        let keys = r#", "algorithm_type": "sde-dpmsolver++", "solver_order": 3"#;
        plans.push((None, config(class, keys), 9));
    }
    for (sampler, config, steps) in plans {
        let make = || plan(&config, sampler, None, steps).unwrap();
        let straight = run(&make, |plan| plan);
        let restored = run(&make, |before| {
            let state = SamplerState::from_bytes(&before.sampler.save().to_bytes()).unwrap();
            let mut fresh = make();
            fresh.sampler.restore(state.clone()).unwrap();
            assert_eq!(fresh.sampler.save(), state);
            assert_eq!(
                fresh.sampler.inference_step(),
                before.sampler.inference_step()
            );
            fresh
        });
        assert_eq!(straight, restored, "{sampler:?} {config:?}");
    }
}

#[test]
fn a_state_of_another_plan_is_refused_and_changes_nothing() {
    let config = config("DDIMScheduler", "");
    let make = |sampler, steps| plan(&config, Some(sampler), None, steps).unwrap().sampler;
    let mut heun = make("heun", 5);
    let mut latents = vec![0.5; 4];
    heun.advance(&mut latents, &[0.1; 4], &mut Vec::new);
    let state = heun.save();
    for (sampler, steps) in [("heun", 6), ("euler", 5), ("dpm2", 5)] {
        let mut other = make(sampler, steps);
        assert!(other.restore(state.clone()).is_err(), "{sampler} {steps}");
        assert_eq!(other.evaluations_done(), 0);
    }
    make("heun", 5).restore(state).unwrap();
}

/// What the exact solution is known of: a picture that is normal with deviation 0.7 in every value.
fn error_at_the_end(sampler: &str, steps: usize) -> f64 {
    let config = config(
        "EulerDiscreteScheduler",
        r#", "final_sigmas_type": "sigma_min", "solver_order": 2"#,
    );
    let mut sampler = plan(&config, Some(sampler), Some("karras"), steps)
        .unwrap()
        .sampler;
    let deviation = |sigma: f64| (0.49 + sigma * sigma).sqrt();
    let start = sampler.sigma();
    // latents in the variance-preserving form are scaled by the root of 1 + sigma^2
    let preserving = (f64::from(sampler.init_noise_sigma()) - 1.0).abs() < 1e-6;
    let scale = |sigma: f64| {
        if preserving {
            (1.0 + sigma * sigma).sqrt()
        } else {
            1.0
        }
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "latents are single precision"
    )]
    let mut latents = vec![(deviation(start) / scale(start)) as f32];
    for _ in 0..sampler.evaluation_count() {
        let sigma = sampler.sigma();
        let x = f64::from(latents[0]) * scale(sigma);
        let epsilon = sigma * x / (0.49 + sigma * sigma);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "latents are single precision"
        )]
        sampler.advance(&mut latents, &[epsilon as f32], &mut Vec::new);
    }
    let end = sampler.sigma();
    (f64::from(latents[0]) * scale(end) - deviation(end)).abs()
}

#[test]
fn errors_fall_with_the_order_of_the_sampler() {
    for (sampler, order) in [
        ("euler", 1.0),
        ("heun", 2.0),
        ("dpm2", 2.0),
        ("dpmpp_2m", 2.0),
    ] {
        let rate = (error_at_the_end(sampler, 8) / error_at_the_end(sampler, 32)).log2() / 2.0;
        assert!(
            rate > order - 0.3 && rate < order + 0.6,
            "{sampler}: measured order {rate}"
        );
    }
}

#[test]
fn plan_accepts_exactly_what_the_list_says() {
    for info in samplers() {
        for prediction in ["epsilon", "v_prediction", "sample"] {
            for zero_snr in [false, true] {
                let keys = format!(
                    r#", "prediction_type": "{prediction}", "rescale_betas_zero_snr": {zero_snr}, "timestep_spacing": "leading""#
                );
                let config = config("DDIMScheduler", &keys);
                // lcm always starts at the last timestep, where zero-SNR betas leave no picture to find by its noise
                let blind = zero_snr && prediction == "epsilon" && info.name == "lcm";
                let possible = info.predictions.contains(&prediction)
                    && (!zero_snr || info.zero_snr)
                    && !blind;
                assert_eq!(
                    plan(&config, Some(info.name), None, 6).is_ok(),
                    possible,
                    "{} {keys}",
                    info.name
                );
                for schedule in schedules() {
                    let planned = plan(&config, Some(info.name), Some(schedule.name), 6);
                    let possible = possible && info.schedules.contains(&schedule.name);
                    assert_eq!(
                        planned.is_ok(),
                        possible,
                        "{} {} {keys}",
                        info.name,
                        schedule.name
                    );
                    if let Ok(planned) = planned {
                        assert_eq!(planned.sampler_name, info.name);
                        assert_eq!(planned.schedule_name, schedule.name);
                        assert_eq!(planned.prediction_name, prediction);
                    }
                }
            }
        }
    }
}

#[test]
fn every_sampler_draws_and_evaluates_as_the_list_says() {
    for info in samplers() {
        let config = config("DDIMScheduler", "");
        let mut sampler = plan(&config, Some(info.name), None, 6).unwrap().sampler;
        let expected = match (info.evaluations_per_step, info.name) {
            (2, _) => 11,
            (_, "pndm") => 7,
            _ => 6,
        };
        assert_eq!(sampler.evaluation_count(), expected, "{}", info.name);
        let (mut latents, mut draws, mut level) = (vec![1.0; 4], 0, f64::INFINITY);
        let mut steps = Vec::new();
        for _ in 0..expected {
            if sampler
                .evaluations_done()
                .is_multiple_of(info.evaluations_per_step)
            {
                assert!(sampler.sigma() <= level, "{}: noise falls", info.name);
                level = sampler.sigma();
            }
            let output = network(&sampler.model_input(&latents).sample, 0.0);
            sampler.advance(&mut latents, &output, &mut || {
                draws += 1;
                vec![0.1; 4]
            });
            steps.push(sampler.inference_step());
        }
        assert_eq!(draws > 0, info.stochastic, "{}", info.name);
        assert!(
            steps.is_sorted() && steps[0] == 1 && steps[expected - 1] == 6,
            "{}: {steps:?}",
            info.name
        );
        let end = latents.clone();
        sampler.advance(&mut latents, &[9.0; 4], &mut Vec::new);
        assert_eq!(latents, end, "{}: nothing happens after the end", info.name);
    }
}

#[test]
fn any_number_of_steps_gives_finite_numbers_or_a_clear_error() {
    for info in samplers() {
        for spacing in ["leading", "trailing", "linspace"] {
            let config = config(
                "DDIMScheduler",
                &format!(r#", "timestep_spacing": "{spacing}""#),
            );
            for steps in [1, 2, 3, 50, 61, 244, 499, 500, 501, 998, 999, 1000] {
                match plan(&config, Some(info.name), None, steps) {
                    Ok(plan) => assert!(
                        plan.sampler.evaluation_count() >= steps,
                        "{} {spacing} {steps}",
                        info.name
                    ),
                    Err(error) => assert!(steps > 50, "{} {spacing} {steps}: {error}", info.name),
                }
            }
        }
    }
}

#[test]
fn a_short_pndm_file_spaces_as_each_class_does_by_itself() {
    let file = br#"{"_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "beta_start": 0.00085, "num_train_timesteps": 1000, "skip_prk_steps": true, "steps_offset": 1}"#;
    let config = SchedulerConfig::from_json(file).unwrap();
    let name = |sampler| plan(&config, sampler, None, 5).unwrap().schedule_name;
    assert_eq!(name(Some("euler")), "linspace");
    assert_eq!(name(Some("ddim")), "leading");
    assert_eq!(name(None), "leading");
}
