//! A request for pictures: what it says itself, and the order in which its parts are looked at.

use super::{
    CLIP_SKIP, CONTROLS, FieldError, GUIDANCE_SCALE, HEIGHT_PX, JPEG_QUALITY, LORA, LORAS,
    MAX_SEQUENCE_LENGTH, NEGATIVE_PROMPT, NUM_IMAGES, NUM_INFERENCE_STEPS, PREVIEW_EVERY_N_STEPS,
    PROMPT, REQUEST_ID, SAMPLER, SCHEDULE, SIZE_MULTIPLE_PX, STYLES, VARIATION_STRENGTH, WEIGHT,
    WIDTH_PX,
    check::{count_of, enumeration, identifier, is_name_or_path, number, text, whole},
    durations::{keep_alive, timeout},
    models::{validate_model, validate_model_config, validate_model_parts},
    pictures::{validate_control, validate_input, validate_pictures, validate_ref_images},
    upscale::validate_upscale,
    work::{LEAST, check_work, multiple, validate_hires},
};
use crate::v1::{GenerateRequest, ImageFormat, Lora, Precision, Priority, PromptSyntax};

/// Checks every field of a request that can be checked without its model.
pub fn validate_generate(request: &GenerateRequest) -> Result<(), FieldError> {
    text(&PROMPT, &request.prompt)?;
    text(
        &NEGATIVE_PROMPT,
        request.negative_prompt.as_deref().unwrap_or_default(),
    )?;
    validate_model(&request.model)?;
    validate_model_config(&request.model_config)?;
    validate_model_parts(&request.model_parts)?;
    for (limit, value) in [
        (&WIDTH_PX, request.width_px),
        (&HEIGHT_PX, request.height_px),
    ] {
        if let Some(value) = value {
            whole(limit, value)?;
            multiple(limit.field, value, SIZE_MULTIPLE_PX)?;
        }
    }
    for (limit, value) in [
        (&NUM_INFERENCE_STEPS, request.num_inference_steps),
        (&NUM_IMAGES, request.num_images),
        (&CLIP_SKIP, request.clip_skip),
        (&MAX_SEQUENCE_LENGTH, request.max_sequence_length),
        (&JPEG_QUALITY, request.jpeg_quality),
        (&PREVIEW_EVERY_N_STEPS, Some(request.preview_every_n_steps)),
    ] {
        value.map_or(Ok(()), |value| whole(limit, value))?;
    }
    request
        .guidance_scale
        .map_or(Ok(()), |value| number(&GUIDANCE_SCALE, value))?;
    validate_variation(request)?;
    validate_hires(request)?;
    validate_upscale(request)?;
    request.input.as_ref().map_or(Ok(()), validate_input)?;
    validate_loras(&request.loras)?;
    validate_styles(&request.styles)?;
    whole(&CONTROLS, count_of(&request.controls))?;
    request.controls.iter().try_for_each(validate_control)?;
    validate_ref_images(&request.ref_images)?;
    validate_pictures(request)?;
    text(&SAMPLER, &request.sampler)?;
    text(&SCHEDULE, &request.schedule)?;
    enumeration::<Precision>("precision", request.precision)?;
    enumeration::<PromptSyntax>("prompt_syntax", request.prompt_syntax)?;
    enumeration::<ImageFormat>("format", request.format)?;
    enumeration::<Priority>("priority", request.priority)?;
    if request.jpeg_quality.is_some() && request.format != i32::from(ImageFormat::Jpeg) {
        let message = "jpeg_quality is set, but the format is not JPEG".to_owned();
        return Err(FieldError::new(JPEG_QUALITY.field, message)
            .with_hint("leave it out, or ask for JPEG".to_owned()));
    }
    identifier(&REQUEST_ID, &request.request_id)?;
    request
        .keep_alive
        .as_ref()
        .map_or(Ok(()), |value| keep_alive(value).map(drop))?;
    request
        .timeout
        .as_ref()
        .map_or(Ok(()), |value| timeout(value).map(drop))?;
    // What is absent counts as the least; it is checked again once the model's defaults are known.
    check_work(request, LEAST, request.num_images.unwrap_or(1))
}

/// Checks how much there is of another seed's noise; a seed of which there is nothing is a mistake.
fn validate_variation(request: &GenerateRequest) -> Result<(), FieldError> {
    match request.variation_strength {
        Some(strength) => number(&VARIATION_STRENGTH, strength),
        None if request.variation_seed.is_some() => {
            let message = "variation_seed is set, but variation_strength is not".to_owned();
            Err(
                FieldError::new(VARIATION_STRENGTH.field, message).with_hint(
                    "say how much of it there is: 0.1 changes details, 1 is the other seed"
                        .to_owned(),
                ),
            )
        }
        None => Ok(()),
    }
}

/// Most bytes of a style's name.
const STYLE_BYTES: usize = 80;

/// Checks names of styles. Says nothing of whether they exist.
fn validate_styles(styles: &[String]) -> Result<(), FieldError> {
    whole(&STYLES, u32::try_from(styles.len()).unwrap_or(u32::MAX))?;
    if styles
        .iter()
        .any(|name| name.is_empty() || name.len() > STYLE_BYTES)
    {
        let message = format!("a name in styles is empty or has more than {STYLE_BYTES} bytes");
        return Err(FieldError::new(STYLES.field, message));
    }
    Ok(())
}

/// Checks a prompt that was made from a request's; `field` is its name.
pub fn validate_prompt(field: &str, prompt: &str) -> Result<(), FieldError> {
    let limit = if field == NEGATIVE_PROMPT.field {
        &NEGATIVE_PROMPT
    } else {
        &PROMPT
    };
    text(limit, prompt)
}

/// Checks a list of adapters. Says nothing of whether they exist.
pub fn validate_loras(loras: &[Lora]) -> Result<(), FieldError> {
    whole(&LORAS, u32::try_from(loras.len()).unwrap_or(u32::MAX))?;
    for Lora { lora, weight } in loras {
        text(&LORA, lora)?;
        if !is_name_or_path(lora) {
            let message = format!("lora {lora:?} is neither a name nor an absolute path");
            return Err(FieldError::new(LORAS.field, message)
                .with_hint("give the name of a file in the daemon's folder of LoRAs".to_owned()));
        }
        weight.map_or(Ok(()), |weight| number(&WEIGHT, weight))?;
    }
    Ok(())
}
