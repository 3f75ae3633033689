//! What a picture's texts say of how it was made, as a request.

use imgd_client::{GenerateRequest, HiresFix, ImageFormat, Lora, Precision, PromptSyntax};
use serde_json::{Map, Value};

use super::{a1111, embedded::Texts};

/// The highest version of the record that this program knows.
const RECORD_VERSION: u64 = 1;

/// How a picture was made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recipe {
    /// What to ask for; the format is left open.
    pub(super) request: GenerateRequest,
    /// The record as it stands in the file; empty where it came from A1111's text.
    pub(super) record: Map<String, Value>,
    /// SHA-256 of the model's weights, or the first digits of whatever hash another program takes.
    pub(super) model_hash: Option<String>,
    /// What the texts did not say clearly and was guessed, or is passed over.
    pub(super) guesses: Vec<String>,
}

/// Reads the recipe; fails with what is missing.
pub(super) fn recipe(texts: &Texts) -> Result<Recipe, String> {
    let record = texts.record.as_deref().map(of_record);
    match (record, &texts.parameters) {
        (Some(Ok(recipe)), _) => Ok(recipe),
        (None, None) => Err("there are no settings in it".into()),
        (Some(Err(why)), None) => Err(why),
        (None, Some(parameters)) => a1111::recipe(parameters),
        (Some(Err(why)), Some(parameters)) => {
            let mut recipe = a1111::recipe(parameters)?;
            recipe
                .guesses
                .insert(0, format!("{why}; its A1111 text is taken"));
            Ok(recipe)
        }
    }
}

/// The record that imgd writes: JSON with one member a setting.
fn of_record(json: &str) -> Result<Recipe, String> {
    let Ok(Value::Object(record)) = serde_json::from_str(json) else {
        return Err("its record is damaged".into());
    };
    if let Some(upscaler) = record.get("upscaler").and_then(Value::as_str) {
        let before = record.get("made_of").ok_or_else(|| {
            format!("it was enlarged by `{upscaler}`, which its record says alone")
        })?;
        let mut recipe = of_record(&before.to_string())?;
        recipe.guesses.push(format!(
            "it was enlarged by `{upscaler}` afterwards: this one is not; `imgctl upscale` does it"
        ));
        return Ok(recipe);
    }
    let version = record.get("version").and_then(Value::as_u64);
    let mut guesses = Vec::new();
    match version {
        None => return Err("its record has no version".into()),
        Some(version) if version > RECORD_VERSION => guesses.push(format!(
            "the record is of version {version}, and this program knows up to {RECORD_VERSION}: there may be settings in \
             it that are passed over"
        )),
        Some(_) => {}
    }
    let missing = |name: &str| format!("its record has no `{name}`");
    let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
    let whole = |name: &str| record.get(name).and_then(Value::as_u64);
    let small = |name: &str| whole(name).and_then(|value| u32::try_from(value).ok());
    let required = |name: &str| small(name).ok_or_else(|| missing(name));
    let precision = match text("precision").as_deref() {
        Some("f32") => Precision::F32,
        Some("bf16") => Precision::Bf16,
        Some("auto") | None => Precision::Auto,
        Some(other) => {
            guesses.push(format!(
                "precision `{other}` is not known here: auto is taken"
            ));
            Precision::Auto
        }
    };
    if let Some(generator) = text("noise_generator").filter(|generator| generator != "torch") {
        guesses.push(format!(
            "noise of `{generator}` is not known here: torch's is taken"
        ));
    }
    if record.contains_key("init_image_sha256") {
        guesses.push(
            "it began from another picture, which is not in it: this one is drawn from noise"
                .to_owned(),
        );
    }
    if record.contains_key("controls") {
        guesses.push(
            "a ControlNet steered it by another picture, which is not in it: this one is drawn without".to_owned(),
        );
    }
    if record.contains_key("ref_image_sha256") {
        guesses.push(
            "the model looked at other pictures, which are not in it: this one is drawn without"
                .to_owned(),
        );
    }
    let prompt_syntax = match text("prompt_syntax").as_deref() {
        Some("a1111") => PromptSyntax::A1111,
        // Earlier records say nothing: there was one way.
        _ => PromptSyntax::Plain,
    };
    let request = GenerateRequest {
        prompt_syntax,
        loras: loras(&record),
        max_sequence_length: small("max_sequence_length"),
        prompt: text("prompt").ok_or_else(|| missing("prompt"))?,
        negative_prompt: text("negative_prompt"),
        model: text("model"),
        width_px: Some(required("width_px")?),
        height_px: Some(required("height_px")?),
        num_inference_steps: Some(required("num_inference_steps")?),
        guidance_scale: record.get("guidance_scale").and_then(Value::as_f64),
        seed: Some(whole("seed").ok_or_else(|| missing("seed"))?),
        variation_seed: whole("variation_seed"),
        variation_strength: record.get("variation_strength").and_then(Value::as_f64),
        hires: hires(&record),
        num_images: Some(1),
        sampler: text("sampler"),
        schedule: text("schedule"),
        clip_skip: small("clip_skip"),
        precision,
        format: ImageFormat::Unspecified,
        ..GenerateRequest::default()
    };
    Ok(Recipe {
        request,
        model_hash: text("model_hash"),
        record,
        guesses,
    })
}

/// The second pass, where there was one.
fn hires(record: &Map<String, Value>) -> Option<HiresFix> {
    let number = |name: &str| record.get(name).and_then(Value::as_f64);
    let steps = record.get("hires_steps").and_then(Value::as_u64);
    Some(HiresFix {
        hires_scale: number("hires_scale")?,
        hires_strength: number("hires_strength"),
        hires_steps: steps.and_then(|steps| u32::try_from(steps).ok()),
    })
}

/// Adapters by name: the daemon's folder has to have them.
fn loras(record: &Map<String, Value>) -> Vec<Lora> {
    let all = record.get("loras").and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .filter_map(|lora| {
            Some(Lora {
                lora: lora.get("name")?.as_str()?.to_owned(),
                weight: lora.get("weight").and_then(Value::as_f64),
            })
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const RECORD: &str = r#"{"version":1,"imgd":"0.1.0","numerics":"1","model":"starter",
        "model_hash":"0123456789abcdef","prompt":"a red apple","negative_prompt":null,"seed":18446744073709551615,
        "noise_generator":"torch","sampler":"dpmpp_2m","schedule":"karras","prediction":"v_prediction",
        "num_inference_steps":14,"guidance_scale":3.5,"width_px":256,"height_px":128,"clip_skip":2,"precision":"f32"}"#;

    #[test]
    fn the_record_says_everything() {
        let texts = Texts {
            record: Some(RECORD.into()),
            parameters: Some("something else\nSteps: 3, Seed: 1, Size: 8x8".into()),
        };
        let recipe = recipe(&texts).unwrap();
        let request = recipe.request;
        assert_eq!(
            (request.prompt.as_str(), request.negative_prompt),
            ("a red apple", None)
        );
        assert_eq!(
            (request.seed, request.guidance_scale),
            (Some(u64::MAX), Some(3.5))
        );
        assert_eq!(
            (request.width_px, request.height_px),
            (Some(256), Some(128))
        );
        assert_eq!(
            (request.clip_skip, request.precision),
            (Some(2), Precision::F32)
        );
        assert_eq!(recipe.guesses, Vec::<String>::new());
    }

    #[test]
    fn adapters_syntax_and_pictures_to_begin_from_are_known() {
        let of = |more: &str| {
            recipe(&Texts {
                record: Some(RECORD.replace("\"seed\"", &format!("{more},\"seed\""))),
                parameters: None,
            })
            .unwrap()
        };
        let plain = of("\"unknown\":1");
        assert_eq!(plain.request.prompt_syntax, PromptSyntax::Plain);
        assert!(plain.request.loras.is_empty());
        let with = of(
            "\"prompt_syntax\":\"a1111\",\"max_sequence_length\":64,\"loras\":[{\"name\":\"ink\",\"weight\":0.5,\"sha256\":\"00\"}]",
        );
        assert_eq!(with.request.prompt_syntax, PromptSyntax::A1111);
        assert_eq!(with.request.max_sequence_length, Some(64));
        let lora = &with.request.loras[0];
        assert_eq!((lora.lora.as_str(), lora.weight), ("ink", Some(0.5)));
        assert!(with.guesses.is_empty());
        let varied = of("\"variation_seed\":9,\"variation_strength\":0.25").request;
        assert_eq!(
            (varied.variation_seed, varied.variation_strength),
            (Some(9), Some(0.25))
        );
        let refined = of("\"hires_scale\":1.5,\"hires_strength\":0.6,\"hires_steps\":9");
        let expected = HiresFix {
            hires_scale: 1.5,
            hires_strength: Some(0.6),
            hires_steps: Some(9),
        };
        assert_eq!(refined.request.hires, Some(expected));
        assert!(refined.guesses.is_empty() && plain.request.hires.is_none());
        let began = of("\"init_image_sha256\":\"00\"");
        assert!(began.guesses[0].contains("began from another picture"));
        let steered = of("\"controls\":[]");
        assert!(steered.guesses[0].contains("ControlNet"));
        let looked = of("\"ref_image_sha256\":[\"00\"]");
        assert!(looked.guesses[0].contains("looked at other pictures"));
    }

    #[test]
    fn what_is_missing_or_new_is_said() {
        let of = |json: &str| {
            recipe(&Texts {
                record: Some(json.into()),
                parameters: None,
            })
        };
        assert_eq!(of("{").unwrap_err(), "its record is damaged");
        assert_eq!(of("{}").unwrap_err(), "its record has no version");
        assert_eq!(
            of(&RECORD.replace("seed", "sead")).unwrap_err(),
            "its record has no `seed`"
        );
        assert_eq!(
            recipe(&Texts::default()).unwrap_err(),
            "there are no settings in it"
        );
        let newer = of(&RECORD.replace("\"version\":1", "\"version\":2")).unwrap();
        assert!(newer.guesses[0].contains("version 2"));
        let other = of(&RECORD
            .replace("torch", "philox")
            .replace("\"f32\"", "\"f8\""))
        .unwrap();
        assert_eq!(other.guesses.len(), 2);
    }
}
