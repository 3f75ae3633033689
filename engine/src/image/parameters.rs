//! The settings text that AUTOMATIC1111's web UI writes, as that program writes it.
//!
//! ```text
//! a red apple
//! Negative prompt: blurry
//! Steps: 14, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 3.5, Seed: 1, Size: 256x256, …
//! ```
//!
//! It cannot be read back without doubt when a prompt looks like it; the JSON record can.

use super::Metadata;
use crate::UsedControl;

/// Our names of samplers and A1111's. Those that A1111 lacks are written in its manner.
const SAMPLERS: &[(&str, &str)] = &[
    ("ddim", "DDIM"),
    ("ddpm", "DDPM"),
    ("dpm2", "DPM2"),
    ("dpm2_a", "DPM2 a"),
    ("dpmpp_2m", "DPM++ 2M"),
    ("dpmpp_2m_sde", "DPM++ 2M SDE"),
    ("dpmpp_2s", "DPM++ 2S"),
    ("euler", "Euler"),
    ("euler_a", "Euler a"),
    ("heun", "Heun"),
    ("lcm", "LCM"),
    ("lms", "LMS"),
    ("pndm", "PLMS"),
    ("unipc", "UniPC"),
];

/// Our names of schedules and A1111's.
const SCHEDULES: &[(&str, &str)] = &[
    ("beta", "Beta"),
    ("exponential", "Exponential"),
    ("karras", "Karras"),
    ("normal", "Normal"),
    ("sgm_uniform", "SGM Uniform"),
    ("simple", "Simple"),
];

/// Digits of the model's hash that the text shows.
const SHORT_HASH_DIGITS: usize = 10;
/// Digits of a ControlNet's hash.
const CONTROL_HASH_DIGITS: usize = 8;

pub(super) fn text(metadata: &Metadata) -> String {
    let fields = [
        ("Steps", Some(metadata.num_inference_steps.to_string())),
        ("Sampler", Some(their_name(SAMPLERS, &metadata.sampler))),
        (
            "Schedule type",
            metadata
                .schedule
                .as_deref()
                .map(|name| their_name(SCHEDULES, name)),
        ),
        ("CFG scale", Some(metadata.guidance_scale.to_string())),
        ("Seed", Some(metadata.seed.to_string())),
        (
            "Size",
            Some(format!("{}x{}", metadata.width_px, metadata.height_px)),
        ),
        (
            "Model hash",
            Some(
                metadata
                    .model_hash
                    .chars()
                    .take(SHORT_HASH_DIGITS)
                    .collect(),
            ),
        ),
        ("Model", Some(metadata.model.clone())),
        (
            "Variation seed",
            metadata.variation_seed.map(|seed| seed.to_string()),
        ),
        (
            "Variation seed strength",
            metadata
                .variation_strength
                .map(|strength| strength.to_string()),
        ),
        (
            "Denoising strength",
            metadata
                .strength
                .or(metadata.hires_strength)
                .map(|strength| strength.to_string()),
        ),
        (
            "Mask blur",
            metadata.mask_blur_px.map(|blur| blur.to_string()),
        ),
        (
            "Inpaint area",
            metadata
                .only_masked_padding_px
                .map(|_| "Only masked".to_owned()),
        ),
        (
            "Masked area padding",
            metadata
                .only_masked_padding_px
                .map(|padding| padding.to_string()),
        ),
        (
            "Clip skip",
            metadata
                .clip_skip
                .filter(|&skip| skip > 1)
                .map(|skip| skip.to_string()),
        ),
        (
            "Lora hashes",
            hashes(metadata.loras.iter().map(|lora| (&lora.name, &lora.sha256))),
        ),
        (
            "TI hashes",
            hashes(
                metadata
                    .embeddings
                    .iter()
                    .map(|used| (&used.name, &used.sha256)),
            ),
        ),
        // Where the noise comes from: their word for torch's generator on the CPU.
        (
            "RNG",
            (metadata.noise_generator == "torch").then(|| "CPU".to_owned()),
        ),
        // Their second pass has no strength of its own; ours has one where a picture was there to begin from.
        (
            "Hires denoising strength",
            metadata
                .hires_strength
                .filter(|_| metadata.strength.is_some())
                .map(|strength| strength.to_string()),
        ),
        (
            "Hires upscale",
            metadata.hires_scale.map(|scale| scale.to_string()),
        ),
        (
            "Hires steps",
            metadata.hires_steps.map(|steps| steps.to_string()),
        ),
        (
            "Hires upscaler",
            metadata.hires_scale.map(|_| "Latent".to_owned()),
        ),
        ("Version", Some(format!("imgd {}", metadata.imgd))),
    ];
    let mut settings: Vec<_> = fields
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}: {}", quoted(value?))))
        .collect();
    let controls = metadata.controls.iter().enumerate();
    let before_version = settings.len() - 1;
    settings.splice(
        before_version..before_version,
        controls.map(|(number, used)| format!("ControlNet {number}: {}", quoted(control(used)))),
    );
    let negative = match metadata.negative_prompt.as_deref() {
        None | Some("") => String::new(),
        Some(negative) => format!("\nNegative prompt: {negative}"),
    };
    let tags: String = metadata
        .loras
        .iter()
        .map(|lora| format!(" <lora:{}:{}>", lora.name, lora.weight))
        .collect();
    let prompt = format!("{}{tags}", metadata.prompt);
    let text = format!("{prompt}{negative}\n{}", settings.join(", "));
    // No container of text allows NUL; the record has the prompt exactly.
    text.trim().replace('\0', "\u{fffd}")
}

/// Files of adapters or embeddings, `name: hash`.
fn hashes<'a>(files: impl Iterator<Item = (&'a String, &'a String)>) -> Option<String> {
    let hashes: Vec<_> = files
        .map(|(name, sha256)| {
            let hash: String = sha256.chars().take(SHORT_HASH_DIGITS).collect();
            format!("{name}: {hash}")
        })
        .collect();
    (!hashes.is_empty()).then(|| hashes.join(", "))
}

/// One network as A1111's extension of that name writes it.
fn control(used: &UsedControl) -> String {
    let hash: String = used.sha256.chars().take(CONTROL_HASH_DIGITS).collect();
    let (module, thresholds) = match used.canny {
        Some(canny) => (
            "canny",
            format!("Threshold A: {}, Threshold B: {}, ", canny.low, canny.high),
        ),
        None => ("none", String::new()),
    };
    format!(
        "Module: {module}, Model: {} [{hash}], Weight: {}, Resize Mode: Just Resize, {thresholds}Guidance Start: {}, \
         Guidance End: {}, Control Mode: Balanced",
        used.name, used.weight, used.start, used.end
    )
}

fn their_name(table: &[(&str, &str)], ours: &str) -> String {
    table
        .iter()
        .find(|entry| entry.0 == ours)
        .map_or(ours, |entry| entry.1)
        .to_owned()
}

/// A value that has a separator in it stands in quotation marks, escaped as JSON.
pub(crate) fn quoted(value: String) -> String {
    if value.contains([',', '\n', ':']) {
        serde_json::Value::String(value).to_string()
    } else {
        value
    }
}
