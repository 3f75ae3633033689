//! What a tool was given, as a request of the contract.

use imgd_client::{GenerateRequest, ImageInput, Upscale, v1};
use imgd_proto::limits::validate_generate;

use crate::{
    arguments::Arguments,
    input::Allowed,
    refusal::{Refusal, Result},
};

/// `generate_image`.
pub(crate) fn generate(arguments: &Arguments) -> Result<GenerateRequest> {
    checked(drawing(arguments)?)
}

/// `edit_image`.
pub(crate) fn edit(arguments: &Arguments, allowed: &Allowed) -> Result<GenerateRequest> {
    let mask = allowed.picture(
        "mask",
        arguments.text("mask_path").as_deref(),
        arguments.text("mask_base64").as_deref(),
    )?;
    let input = ImageInput {
        init_image: image(arguments, allowed)?.into(),
        mask: mask.unwrap_or_default().into(),
        strength: arguments.number("strength"),
        ..ImageInput::default()
    };
    checked(GenerateRequest {
        input: Some(input),
        ..drawing(arguments)?
    })
}

/// `upscale_image`.
pub(crate) fn upscale(arguments: &Arguments, allowed: &Allowed) -> Result<GenerateRequest> {
    let upscale = Upscale {
        upscaler: name(arguments, "upscaler")?.unwrap_or_default(),
        upscale_scale: arguments.number("scale"),
    };
    checked(GenerateRequest {
        input: Some(ImageInput {
            init_image: image(arguments, allowed)?.into(),
            ..ImageInput::default()
        }),
        upscale: Some(upscale),
        ..GenerateRequest::default()
    })
}

/// What both drawing tools take.
fn drawing(arguments: &Arguments) -> Result<GenerateRequest> {
    Ok(GenerateRequest {
        negative_prompt: arguments.text("negative_prompt"),
        model: name(arguments, "model")?,
        width_px: arguments.small("width_px"),
        height_px: arguments.small("height_px"),
        num_inference_steps: arguments.small("num_inference_steps"),
        guidance_scale: arguments.number("guidance_scale"),
        seed: arguments.integer("seed"),
        num_images: Some(arguments.small("num_images").unwrap_or(1)),
        sampler: arguments.text("sampler"),
        schedule: arguments.text("schedule"),
        ..GenerateRequest::new(arguments.text("prompt").unwrap_or_default())
    })
}

fn image(arguments: &Arguments, allowed: &Allowed) -> Result<Vec<u8>> {
    let picture = allowed.picture(
        "image",
        arguments.text("image_path").as_deref(),
        arguments.text("image_base64").as_deref(),
    )?;
    picture.ok_or_else(|| {
        Refusal::field("image_path", "there is no picture to begin from")
            .hint("give image_path or image_base64")
    })
}

/// A name, and no path: which files the daemon opens is the user's affair.
fn name(arguments: &Arguments, field: &str) -> Result<Option<String>> {
    let Some(name) = arguments.text(field) else {
        return Ok(None);
    };
    if name.starts_with(['/', '~', '.']) {
        let message = format!("{field} must be a name, not a path");
        return Err(Refusal::field(field, message)
            .hint("list_models says which there are; the user can give a model a name with `imgctl models add`"));
    }
    Ok(Some(name))
}

/// The request, if the contract allows it; what only the daemon knows it says itself.
fn checked(request: GenerateRequest) -> Result<GenerateRequest> {
    validate_generate(&v1::GenerateRequest::from(request.clone()))?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::tools::{EDIT, GENERATE, Spec, UPSCALE};

    fn arguments(tool: &str, given: Value) -> Arguments {
        let Value::Object(given) = given else {
            unreachable!("an object")
        };
        Arguments::read(Spec::named(tool).unwrap(), given).unwrap()
    }

    fn nothing_allowed() -> Allowed {
        Allowed {
            folders: Vec::new(),
        }
    }

    #[test]
    fn a_request_says_what_was_given_and_leaves_the_rest_to_the_model() {
        let given = json!({ "prompt": "a fox", "seed": 7, "width_px": 256, "sampler": "euler" });
        let request = generate(&arguments(GENERATE, given)).unwrap();
        let expected = GenerateRequest {
            seed: Some(7),
            width_px: Some(256),
            sampler: Some("euler".into()),
            num_images: Some(1),
            ..GenerateRequest::new("a fox")
        };
        assert_eq!(request, expected);
    }

    #[test]
    fn paths_are_no_models() {
        for model in ["/etc", "~/models/x", "../x", "./x"] {
            let given = json!({ "prompt": "", "model": model });
            let refusal = generate(&arguments(GENERATE, given)).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some("model"));
        }
        let given = json!({ "prompt": "", "model": "hf:org/repo" });
        assert!(generate(&arguments(GENERATE, given)).is_ok());
    }

    #[test]
    fn an_edit_needs_a_picture_and_an_enlargement_takes_no_prompt() {
        let given = json!({ "prompt": "x" });
        let refusal = edit(&arguments(EDIT, given), &nothing_allowed()).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("image_path"));
        let png = "iVBORw0KGgo=";
        let given = json!({ "image_base64": png, "scale": 2 });
        let request = upscale(&arguments(UPSCALE, given), &nothing_allowed()).unwrap();
        assert_eq!(request.upscale.unwrap().upscale_scale, Some(2.0));
        let given =
            json!({ "image_base64": png, "mask_base64": png, "prompt": "x", "strength": 0.5 });
        let request = edit(&arguments(EDIT, given), &nothing_allowed()).unwrap();
        let input = request.input.unwrap();
        assert_eq!((input.strength, input.mask.len()), (Some(0.5), 8));
    }

    #[test]
    fn what_the_contract_forbids_is_refused_before_the_daemon_is_asked() {
        let given = json!({ "prompt": "", "width_px": 12 });
        let refusal = generate(&arguments(GENERATE, given)).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("width_px"));
    }
}
