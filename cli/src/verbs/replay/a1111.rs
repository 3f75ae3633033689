//! The settings text of AUTOMATIC1111's web UI, which many programs write:
//!
//! ```text
//! a red apple
//! Negative prompt: blurry
//! Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, Model: name
//! ```
//!
//! It does not say everything, so what had to be guessed is told.

use imgd_client::{GenerateRequest, HiresFix, Precision, PromptSyntax};
use serde_json::Map;

use super::recipe::Recipe;
use crate::numbers;

/// Their names of samplers and ours.
const SAMPLERS: &[(&str, &str)] = &[
    ("DDIM", "ddim"),
    ("DDPM", "ddpm"),
    ("DPM2", "dpm2"),
    ("DPM2 a", "dpm2_a"),
    ("DPM++ 2M", "dpmpp_2m"),
    ("DPM++ 2M SDE", "dpmpp_2m_sde"),
    ("DPM++ 2S", "dpmpp_2s"),
    ("Euler", "euler"),
    ("Euler a", "euler_a"),
    ("Heun", "heun"),
    ("LCM", "lcm"),
    ("LMS", "lms"),
    ("PLMS", "pndm"),
    ("UniPC", "unipc"),
];

/// Their names of schedules and ours. Older versions write them behind the sampler's.
const SCHEDULES: &[(&str, &str)] = &[
    ("Beta", "beta"),
    ("Exponential", "exponential"),
    ("Karras", "karras"),
    ("Normal", "normal"),
    ("SGM Uniform", "sgm_uniform"),
    ("Simple", "simple"),
];

/// Settings that say nothing of how the pixels come about, or that are looked at elsewhere.
const KNOWN: &[&str] = &[
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Seed",
    "Variation seed",
    "Variation seed strength",
    "Size",
    "Model hash",
    "Model",
    "Clip skip",
    "Lora hashes",
    "TI hashes",
    "RNG",
    "Denoising strength",
    "Hires denoising strength",
    "Hires upscale",
    "Hires steps",
    "Hires upscaler",
    "Version",
];

const NEGATIVE: &str = "Negative prompt:";

/// Reads a text; fails where it cannot be replayed at all.
pub(super) fn recipe(text: &str) -> Result<Recipe, String> {
    let (before, settings) = match text.trim_end().rsplit_once('\n') {
        Some((before, last)) if last.starts_with("Steps: ") => (before, last),
        None if text.starts_with("Steps: ") => ("", text.trim_end()),
        _ => return Err("its text has no line of settings".into()),
    };
    let (prompt, negative) = match before
        .find(NEGATIVE)
        .filter(|&at| is_line_start(before, at))
    {
        Some(at) => (&before[..at], Some(before[at + NEGATIVE.len()..].trim())),
        None => (before, None),
    };
    let settings = pairs(settings);
    let get = |name: &str| {
        let found = settings.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    let missing = |name: &str| format!("its text has no `{name}`");
    let mut guesses = Vec::new();
    let number = |name: &str| get(name).and_then(|text| text.parse().ok());
    let seed = number("Seed");
    let size = get("Size").and_then(|size| numbers::size(size).ok());
    let (sampler, schedule) = sampler(get("Sampler"), get("Schedule type"), &mut guesses);
    let model = get("Model").map(str::to_owned);
    if model.is_none() {
        guesses.push("it names no model: the default one is taken".into());
    }
    match get("RNG") {
        Some("CPU") => {}
        Some(other) => guesses.push(format!(
            "its noise is of a {other}, which is not drawn here: the picture will be another"
        )),
        None => guesses.push(
            "it does not say where its noise is from: a CPU's is taken, and a GPU's gives another picture".into(),
        ),
    }
    match get("Version") {
        Some(version) if version.starts_with("imgd ") => {}
        Some(version) => guesses.push(format!("another program made it ({version})")),
        None => guesses.push("it does not say which program made it".into()),
    }
    let hires = hires(&get, &mut guesses);
    for (name, _) in &settings {
        if !KNOWN.contains(&name.as_str()) {
            guesses.push(format!("`{name}` is not known here and passed over"));
        }
    }
    let size = size.ok_or_else(|| missing("Size"))?;
    let request = GenerateRequest {
        prompt: prompt.trim_end_matches('\n').to_owned(),
        negative_prompt: negative.map(str::to_owned),
        model,
        width_px: Some(size.width_px),
        height_px: Some(size.height_px),
        num_inference_steps: get("Steps").and_then(|steps| steps.parse().ok()),
        guidance_scale: get("CFG scale").and_then(|scale| scale.parse().ok()),
        seed: Some(seed.ok_or_else(|| missing("Seed"))?),
        variation_seed: number("Variation seed"),
        variation_strength: get("Variation seed strength").and_then(|text| text.parse().ok()),
        hires,
        num_images: Some(1),
        sampler,
        schedule,
        clip_skip: get("Clip skip").and_then(|skip| skip.parse().ok()),
        prompt_syntax: PromptSyntax::A1111,
        precision: Precision::Auto,
        ..GenerateRequest::default()
    };
    Ok(Recipe {
        request,
        record: Map::new(),
        model_hash: get("Model hash").map(str::to_owned),
        guesses,
    })
}

/// The second pass, where there was one. A strength without one is that of a picture to begin from.
fn hires<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    guesses: &mut Vec<String>,
) -> Option<HiresFix> {
    let first = get("Denoising strength");
    let own = get("Hires denoising strength");
    let scale = get("Hires upscale").and_then(|scale| scale.parse().ok());
    if first.is_some() && (scale.is_none() || own.is_some()) {
        guesses.push(
            "`Denoising strength` is of another picture that it began from: this one is drawn from noise".into(),
        );
    }
    let hires_scale = scale?;
    match get("Hires upscaler") {
        None | Some("Latent") => {}
        Some(other) => guesses.push(format!(
            "upscaler `{other}` is not known here: latents are enlarged (`Latent`)"
        )),
    }
    let is_ours = get("Version").is_some_and(|version| version.starts_with("imgd "));
    if !is_ours {
        guesses.push(
            "its hires steps are those that were made; here they are those of the whole way, of which \
             `Denoising strength` is made"
                .into(),
        );
    }
    Some(HiresFix {
        hires_scale,
        hires_strength: own.or(first).and_then(|strength| strength.parse().ok()),
        // 0 is as many as the first pass.
        hires_steps: get("Hires steps")
            .and_then(|steps| steps.parse().ok())
            .filter(|steps| *steps > 0),
    })
}

fn is_line_start(text: &str, at: usize) -> bool {
    at == 0 || text[..at].ends_with('\n')
}

/// Our names of a sampler and its schedule.
fn sampler(
    sampler: Option<&str>,
    schedule: Option<&str>,
    guesses: &mut Vec<String>,
) -> (Option<String>, Option<String>) {
    let ours = |table: &[(&str, &str)], theirs: &str| {
        let is_it =
            |(name, own): &&(&str, &str)| name.eq_ignore_ascii_case(theirs) || *own == theirs;
        table.iter().find(is_it).map(|(_, own)| (*own).to_owned())
    };
    let Some(theirs) = sampler else {
        guesses.push("it names no sampler: the model's is taken".into());
        return (None, None);
    };
    // `DPM++ 2M Karras`.
    let suffix = SCHEDULES.iter().find_map(|(name, own)| {
        let rest = theirs.strip_suffix(name)?.strip_suffix(' ')?;
        Some((rest, *own))
    });
    let (name, behind) = match (ours(SAMPLERS, theirs), suffix) {
        (None, Some((rest, own))) => (rest, Some(own.to_owned())),
        _ => (theirs, None),
    };
    let sampler = ours(SAMPLERS, name);
    if sampler.is_none() {
        guesses.push(format!(
            "sampler `{name}` is not known here: the model's is taken"
        ));
    }
    let schedule = match schedule {
        None | Some("Automatic") if behind.is_some() => behind,
        None | Some("Automatic") => {
            guesses.push("it names no schedule: the model's is taken".into());
            None
        }
        Some(theirs) => {
            let schedule = ours(SCHEDULES, theirs);
            if schedule.is_none() {
                guesses.push(format!(
                    "schedule `{theirs}` is not known here: the model's is taken"
                ));
            }
            schedule
        }
    };
    (sampler, schedule)
}

/// `Name: value, Name: "value, with a comma"`.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = line;
    while let Some((name, tail)) = rest.split_once(':') {
        let tail = tail.trim_start();
        let (value, tail) = match quoted(tail) {
            Some(parts) => parts,
            None => {
                let end = tail.find(',').unwrap_or(tail.len());
                (tail[..end].trim().to_owned(), &tail[end..])
            }
        };
        pairs.push((name.trim().to_owned(), value));
        rest = tail.trim_start().trim_start_matches(',');
    }
    pairs
}

/// A JSON text at the beginning, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
    if !text.starts_with('"') {
        return None;
    }
    let value = values.next()?.ok()?;
    let end = values.byte_offset();
    Some((value, &text[end..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_imgd_writes_is_read_without_a_guess() {
        let recipe = recipe(
            "a red apple, oil\nNegative prompt: blurry\nSteps: 14, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: \
             3.5, Seed: 18446744073709551615, Size: 24x16, Model hash: 0123456789, Model: \"a: b, \\\"c\\\"\", Variation seed: 9, \
             Variation seed strength: 0.25, Clip skip: 2, RNG: CPU, Version: imgd 0.1.0",
        )
        .unwrap();
        let request = recipe.request;
        assert_eq!(request.prompt, "a red apple, oil");
        assert_eq!(request.negative_prompt.as_deref(), Some("blurry"));
        assert_eq!(
            (request.sampler.as_deref(), request.schedule.as_deref()),
            (Some("dpmpp_2m"), Some("karras"))
        );
        assert_eq!((request.seed, request.clip_skip), (Some(u64::MAX), Some(2)));
        assert_eq!(
            (request.variation_seed, request.variation_strength),
            (Some(9), Some(0.25))
        );
        assert_eq!((request.width_px, request.height_px), (Some(24), Some(16)));
        assert_eq!(request.model.as_deref(), Some("a: b, \"c\""));
        assert_eq!(recipe.model_hash.as_deref(), Some("0123456789"));
        assert_eq!(recipe.guesses, Vec::<String>::new());
    }

    #[test]
    fn older_texts_name_the_schedule_behind_the_sampler() {
        let recipe = recipe(
            "masterpiece,\n(a cat:1.2)\nNegative prompt: bad,\nworse\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, \
             Seed: 42, Size: 512x768, Model hash: 6ce0161689, Model: v1-5-pruned, Hires resize: 1024x1536, Version: v1.6.0",
        )
        .unwrap();
        let request = &recipe.request;
        assert_eq!(request.prompt, "masterpiece,\n(a cat:1.2)");
        assert_eq!(request.negative_prompt.as_deref(), Some("bad,\nworse"));
        assert_eq!(
            (request.sampler.as_deref(), request.schedule.as_deref()),
            (Some("dpmpp_2m"), Some("karras"))
        );
        let guesses = recipe.guesses.join("\n");
        for said in ["GPU", "v1.6.0", "`Hires resize`"] {
            assert!(guesses.contains(said), "{guesses}");
        }
    }

    #[test]
    fn a_second_pass_is_made_again() {
        let of = |more: &str| {
            recipe(&format!(
                "x\nSteps: 20, Sampler: Euler a, Schedule type: Karras, Seed: 1, Size: 256x256, Model: m, RNG: CPU, {more}"
            ))
            .unwrap()
        };
        let ours = of(
            "Denoising strength: 0.7, Hires upscale: 1.5, Hires steps: 10, Hires upscaler: Latent, Version: imgd 0.1.0",
        );
        let hires = ours.request.hires.unwrap();
        assert_eq!(
            (hires.hires_scale, hires.hires_strength, hires.hires_steps),
            (1.5, Some(0.7), Some(10))
        );
        assert_eq!(ours.guesses, Vec::<String>::new());
        let both = of(
            "Denoising strength: 0.4, Hires denoising strength: 0.6, Hires upscale: 2, Version: imgd 0.1.0",
        );
        assert_eq!(both.request.hires.unwrap().hires_strength, Some(0.6));
        assert!(both.guesses[0].contains("began from"));
        let theirs = of(
            "Denoising strength: 0.5, Hires upscale: 2, Hires steps: 0, Hires upscaler: R-ESRGAN 4x+, Version: v1.10.1",
        );
        assert_eq!(theirs.request.hires.unwrap().hires_steps, None);
        let guesses = theirs.guesses.join("\n");
        assert!(
            guesses.contains("`R-ESRGAN 4x+`") && guesses.contains("hires steps"),
            "{guesses}"
        );
        let began = of("Denoising strength: 0.5, Version: v1.10.1");
        assert!(began.request.hires.is_none());
        assert!(
            began
                .guesses
                .iter()
                .any(|guess| guess.contains("began from"))
        );
    }

    #[test]
    fn what_cannot_be_replayed_is_refused() {
        assert!(recipe("a red apple").is_err());
        assert_eq!(
            recipe("x\nSteps: 3, Size: 8x8").unwrap_err(),
            "its text has no `Seed`"
        );
        assert_eq!(
            recipe("Steps: 3, Seed: 1").unwrap_err(),
            "its text has no `Size`"
        );
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(text in "(?s).*", line in "Steps: [ -~]*") {
            drop(recipe(&text));
            drop(recipe(&format!("{text}\n{line}")));
        }
    }
}
