//! The diffusers scheduler classes that samplers stand for: their keys and the defaults that differ.

/// One diffusers class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Ddim,
    Ddpm,
    Euler,
    EulerAncestral,
    Heun,
    Kdpm2,
    Kdpm2Ancestral,
    DpmSolverMultistep,
    DpmSolverSinglestep,
    UniPc,
    Lms,
    Pndm,
    Lcm,
}

use Class::*;

/// Every class with its name in diffusers and the keys of its constructor beyond [`COMMON_KEYS`].
const CLASSES: [(Class, &str, &[&[&str]]); 13] = [
    (
        Ddim,
        "DDIMScheduler",
        &[CLIP, THRESHOLD, SPACING, ZERO_SNR, &["set_alpha_to_one"]],
    ),
    (
        Ddpm,
        "DDPMScheduler",
        &[CLIP, THRESHOLD, SPACING, ZERO_SNR, &["variance_type"]],
    ),
    (
        Euler,
        "EulerDiscreteScheduler",
        &[
            SIGMAS,
            SPACING,
            ZERO_SNR,
            FINAL,
            &["interpolation_type", "timestep_type"],
        ],
    ),
    (
        EulerAncestral,
        "EulerAncestralDiscreteScheduler",
        &[SPACING, ZERO_SNR],
    ),
    (Heun, "HeunDiscreteScheduler", &[SIGMAS, CLIP, SPACING]),
    (Kdpm2, "KDPM2DiscreteScheduler", &[SIGMAS, SPACING]),
    (
        Kdpm2Ancestral,
        "KDPM2AncestralDiscreteScheduler",
        &[SIGMAS, SPACING],
    ),
    (
        DpmSolverMultistep,
        "DPMSolverMultistepScheduler",
        &[
            SIGMAS,
            FLOW,
            THRESHOLD,
            SPACING,
            ZERO_SNR,
            FINAL,
            DPM_SOLVER,
            &["euler_at_final", "use_lu_lambdas"],
        ],
    ),
    (
        DpmSolverSinglestep,
        "DPMSolverSinglestepScheduler",
        &[SIGMAS, FLOW, THRESHOLD, FINAL, DPM_SOLVER],
    ),
    (
        UniPc,
        "UniPCMultistepScheduler",
        &[SIGMAS, FLOW, THRESHOLD, SPACING, ZERO_SNR, FINAL, UNI_PC],
    ),
    (Lms, "LMSDiscreteScheduler", &[SIGMAS, SPACING]),
    (
        Pndm,
        "PNDMScheduler",
        &[SPACING, &["skip_prk_steps", "set_alpha_to_one"]],
    ),
    (
        Lcm,
        "LCMScheduler",
        &[
            CLIP,
            THRESHOLD,
            SPACING,
            ZERO_SNR,
            &[
                "set_alpha_to_one",
                "original_inference_steps",
                "timestep_scaling",
            ],
        ],
    ),
];

const COMMON_KEYS: &[&str] = &[
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
];
const CLIP: &[&str] = &["clip_sample", "clip_sample_range"];
const THRESHOLD: &[&str] = &[
    "thresholding",
    "dynamic_thresholding_ratio",
    "sample_max_value",
];
const SPACING: &[&str] = &["timestep_spacing", "steps_offset"];
const ZERO_SNR: &[&str] = &["rescale_betas_zero_snr"];
const SIGMAS: &[&str] = &[
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
];
const FLOW: &[&str] = &["use_flow_sigmas", "use_dynamic_shifting"];
const FINAL: &[&str] = &["final_sigmas_type"];
const DPM_SOLVER: &[&str] = &[
    "solver_order",
    "algorithm_type",
    "solver_type",
    "lower_order_final",
    "lambda_min_clipped",
    "variance_type",
];
const UNI_PC: &[&str] = &[
    "solver_order",
    "predict_x0",
    "solver_type",
    "lower_order_final",
    "disable_corrector",
    "solver_p",
];

impl Class {
    /// The class of that name in diffusers.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        CLASSES
            .iter()
            .find(|entry| entry.1 == name)
            .map(|entry| entry.0)
    }

    pub(super) fn name(self) -> &'static str {
        CLASSES[self as usize].1
    }

    /// Whether the constructor takes `key`.
    pub(super) fn knows(self, key: &str) -> bool {
        COMMON_KEYS.contains(&key)
            || CLASSES[self as usize]
                .2
                .iter()
                .any(|keys| keys.contains(&key))
    }

    /// Default first and last beta and beta schedule.
    pub(super) fn default_betas(self) -> (f64, f64, &'static str) {
        match self {
            Heun | Kdpm2 | Kdpm2Ancestral => (0.00085, 0.012, "linear"),
            Lcm => (0.00085, 0.012, "scaled_linear"),
            _ => (0.0001, 0.02, "linear"),
        }
    }

    /// Beta schedules that the class can make.
    pub(super) fn beta_schedules(self) -> &'static [&'static str] {
        match self {
            Ddpm => &[
                "linear",
                "scaled_linear",
                "squaredcos_cap_v2",
                "laplace",
                "sigmoid",
            ],
            Heun => &["linear", "scaled_linear", "squaredcos_cap_v2", "exp"],
            _ => &["linear", "scaled_linear", "squaredcos_cap_v2"],
        }
    }

    /// Whether the default of `timestep_spacing` is `leading`; otherwise it is `linspace`.
    pub(super) fn leads(self) -> bool {
        matches!(self, Ddim | Ddpm | Pndm | Lcm)
    }

    /// Default of `clip_sample`.
    pub(super) fn clips(self) -> bool {
        matches!(self, Ddim | Ddpm)
    }

    /// Whether zero-SNR betas keep a last cumulative product a little above zero, so that the first sigma is finite.
    pub(super) fn floors_zero_snr(self) -> bool {
        matches!(self, Euler | EulerAncestral | DpmSolverMultistep | UniPc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, (class, name, _)) in CLASSES.iter().enumerate() {
            assert_eq!(*class as usize, index, "{name}");
            assert_eq!(Class::by_name(name), Some(*class));
        }
    }
}
