//! A request to enlarge a picture, which has none of what is drawn.

use super::{
    CLIP_SKIP, CONTROLS, EXTEND_BOTTOM_PX, EXTEND_LEFT_PX, EXTEND_RIGHT_PX, EXTEND_TOP_PX,
    FieldError, GUIDANCE_SCALE, HEIGHT_PX, HIRES_SCALE, INIT_IMAGE, LORAS, MASK, MASK_BLUR_PX,
    MAX_SEQUENCE_LENGTH, MODEL, MODEL_CONFIG, MODEL_PARTS, NEGATIVE_PROMPT, NUM_IMAGES,
    NUM_INFERENCE_STEPS, ONLY_MASKED_PADDING_PX, PROMPT, REF_IMAGES, SAMPLER, SCHEDULE, STRENGTH,
    STYLES, UPSCALE_SCALE, UPSCALER, VARIATION_STRENGTH, WIDTH_PX,
    check::{is_name_or_path, number, text},
};
use crate::v1::{GenerateRequest, Upscale};

/// Checks an enlargement: that there is a picture, and nothing that says what or how to draw.
pub(super) fn validate_upscale(request: &GenerateRequest) -> Result<(), FieldError> {
    let Some(Upscale {
        upscaler,
        upscale_scale,
    }) = &request.upscale
    else {
        return Ok(());
    };
    text(&UPSCALER, upscaler)?;
    if !upscaler.is_empty() && !is_name_or_path(upscaler) {
        let message = format!("upscaler {upscaler:?} is neither a name nor an absolute path");
        return Err(FieldError::new(UPSCALER.field, message)
            .with_hint("give the name of a file in the daemon's folder of upscalers".to_owned()));
    }
    upscale_scale.map_or(Ok(()), |scale| number(&UPSCALE_SCALE, scale))?;
    let Some(input) = &request.input else {
        let message = "init_image is missing: it is the picture to enlarge".to_owned();
        return Err(FieldError::new(INIT_IMAGE.field, message)
            .with_hint("give a PNG, JPEG or WebP file".to_owned()));
    };
    let of_input = [
        (MASK.field, !input.mask.is_empty()),
        (STRENGTH.field, input.strength.is_some()),
        (MASK_BLUR_PX.field, input.mask_blur_px.is_some()),
        (
            ONLY_MASKED_PADDING_PX.field,
            input.only_masked_padding_px.is_some(),
        ),
        (EXTEND_LEFT_PX.field, input.extend_left_px > 0),
        (EXTEND_RIGHT_PX.field, input.extend_right_px > 0),
        (EXTEND_TOP_PX.field, input.extend_top_px > 0),
        (EXTEND_BOTTOM_PX.field, input.extend_bottom_px > 0),
    ];
    let of_drawing = [
        (PROMPT.field, !request.prompt.is_empty()),
        (NEGATIVE_PROMPT.field, request.negative_prompt.is_some()),
        (MODEL.field, !request.model.is_empty()),
        (MODEL_CONFIG.field, !request.model_config.is_empty()),
        (MODEL_PARTS.field, !request.model_parts.is_empty()),
        (WIDTH_PX.field, request.width_px.is_some()),
        (HEIGHT_PX.field, request.height_px.is_some()),
        (
            NUM_INFERENCE_STEPS.field,
            request.num_inference_steps.is_some(),
        ),
        (GUIDANCE_SCALE.field, request.guidance_scale.is_some()),
        ("seed", request.seed.is_some()),
        ("variation_seed", request.variation_seed.is_some()),
        (
            VARIATION_STRENGTH.field,
            request.variation_strength.is_some(),
        ),
        (NUM_IMAGES.field, request.num_images.unwrap_or(1) != 1),
        (SAMPLER.field, !request.sampler.is_empty()),
        (SCHEDULE.field, !request.schedule.is_empty()),
        (CLIP_SKIP.field, request.clip_skip.is_some()),
        (
            MAX_SEQUENCE_LENGTH.field,
            request.max_sequence_length.is_some(),
        ),
        ("prompt_syntax", request.prompt_syntax != 0),
        ("prompts_are_final", request.prompts_are_final),
        (STYLES.field, !request.styles.is_empty()),
        (LORAS.field, !request.loras.is_empty()),
        (CONTROLS.field, !request.controls.is_empty()),
        (REF_IMAGES.field, !request.ref_images.is_empty()),
        (HIRES_SCALE.field, request.hires.is_some()),
    ];
    refuse_beside_upscale(of_input.into_iter().chain(of_drawing))
}

/// Fails with the first field that is set.
pub(super) fn refuse_beside_upscale(
    fields: impl IntoIterator<Item = (&'static str, bool)>,
) -> Result<(), FieldError> {
    match fields.into_iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((field, _)) => {
            let message = format!("{field} is set, but the picture is enlarged, not drawn");
            Err(FieldError::new(field, message)
                .with_hint("leave it out, or draw first and enlarge the picture then".to_owned()))
        }
    }
}
