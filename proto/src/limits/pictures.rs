//! Pictures that come with a request: to begin from, to look at, to steer by. Nothing looks into them.

use super::{
    CANNY_HIGH, CANNY_LOW, CONTROL_END, CONTROL_IMAGE, CONTROL_MODEL, CONTROL_START,
    CONTROL_WEIGHT, EXTEND_BOTTOM_PX, EXTEND_LEFT_PX, EXTEND_RIGHT_PX, EXTEND_TOP_PX, FieldError,
    INIT_IMAGE, MASK, MASK_BLUR_PX, MAX_PICTURES_BYTES, ONLY_MASKED_PADDING_PX, REF_IMAGE,
    REF_IMAGES, STRENGTH,
    check::{bytes_of, count_of, enumeration, is_name_or_path, number, text, whole},
    grouped,
};
use crate::v1::{Control, ControlPreprocess, GenerateRequest, ImageInput, ReferenceImage};

fn is_extended(input: &ImageInput) -> bool {
    [
        input.extend_left_px,
        input.extend_right_px,
        input.extend_top_px,
        input.extend_bottom_px,
    ] != [0; 4]
}

pub(super) fn keeps_a_part(input: &ImageInput) -> bool {
    !input.mask.is_empty() || is_extended(input)
}

/// Checks a picture to begin from, without looking into it.
pub(super) fn validate_input(input: &ImageInput) -> Result<(), FieldError> {
    if input.init_image.is_empty() {
        let message = "init_image is empty: it is a picture's file".to_owned();
        return Err(FieldError::new(INIT_IMAGE.field, message)
            .with_hint("leave `input` out to draw from noise".to_owned()));
    }
    for (limit, bytes) in [(&INIT_IMAGE, &input.init_image), (&MASK, &input.mask)] {
        bytes_of(limit, bytes.len())?;
    }
    for (limit, value) in [
        (&MASK_BLUR_PX, input.mask_blur_px),
        (&ONLY_MASKED_PADDING_PX, input.only_masked_padding_px),
        (&EXTEND_LEFT_PX, Some(input.extend_left_px)),
        (&EXTEND_RIGHT_PX, Some(input.extend_right_px)),
        (&EXTEND_TOP_PX, Some(input.extend_top_px)),
        (&EXTEND_BOTTOM_PX, Some(input.extend_bottom_px)),
    ] {
        value.map_or(Ok(()), |value| whole(limit, value))?;
    }
    for (limit, is_set, has_what_it_needs) in [
        (
            &MASK_BLUR_PX,
            input.mask_blur_px.is_some_and(|blur| blur > 0),
            !input.mask.is_empty(),
        ),
        (
            &ONLY_MASKED_PADDING_PX,
            input.only_masked_padding_px.is_some(),
            keeps_a_part(input),
        ),
    ] {
        if is_set && !has_what_it_needs {
            let message = format!("{} is set, but there is no mask", limit.field);
            return Err(FieldError::new(limit.field, message)
                .with_hint("give a mask, or leave it out".to_owned()));
        }
    }
    input
        .strength
        .map_or(Ok(()), |strength| number(&STRENGTH, strength))
}

pub(super) fn validate_control(control: &Control) -> Result<(), FieldError> {
    let Control {
        control_model,
        control_image,
        preprocess,
        control_weight,
        control_start,
        control_end,
        canny_low,
        canny_high,
    } = control;
    text(&CONTROL_MODEL, control_model)?;
    if !is_name_or_path(control_model) {
        let message =
            format!("control_model {control_model:?} is neither a name nor an absolute path");
        return Err(FieldError::new(CONTROL_MODEL.field, message)
            .with_hint("give a name in the daemon's folder of ControlNets".to_owned()));
    }
    if control_image.is_empty() {
        let message = "control_image is empty: a ControlNet steers by a picture".to_owned();
        return Err(FieldError::new(CONTROL_IMAGE.field, message)
            .with_hint("give a PNG, JPEG or WebP file".to_owned()));
    }
    bytes_of(&CONTROL_IMAGE, control_image.len())?;
    enumeration::<ControlPreprocess>("preprocess", *preprocess)?;
    for (limit, value) in [
        (&CONTROL_WEIGHT, control_weight),
        (&CONTROL_START, control_start),
        (&CONTROL_END, control_end),
    ] {
        value.map_or(Ok(()), |value| number(limit, value))?;
    }
    let (start, end) = (control_start.unwrap_or(0.0), control_end.unwrap_or(1.0));
    if start >= end {
        let message = format!("control_start is {start}: it must be below the end, {end}");
        return Err(FieldError::new(CONTROL_START.field, message));
    }
    for (limit, value) in [(&CANNY_LOW, canny_low), (&CANNY_HIGH, canny_high)] {
        value.map_or(Ok(()), |value| whole(limit, value))?;
        if value.is_some() && *preprocess != i32::from(ControlPreprocess::Canny) {
            let message = format!("{} is set, but no edges are made", limit.field);
            return Err(FieldError::new(limit.field, message)
                .with_hint("leave it out, or ask for Canny's edges".to_owned()));
        }
    }
    let (low, high) = (canny_low.unwrap_or(100), canny_high.unwrap_or(200));
    if low > high {
        let message = format!("canny_low is {low}: it must be at most the high one, {high}");
        return Err(FieldError::new(CANNY_LOW.field, message));
    }
    Ok(())
}

/// Checks pictures to look at, without looking into them.
pub(super) fn validate_ref_images(pictures: &[ReferenceImage]) -> Result<(), FieldError> {
    whole(&REF_IMAGES, count_of(pictures))?;
    pictures.iter().try_for_each(|picture| {
        if picture.ref_image.is_empty() {
            let message = "ref_image is empty: it is a picture's file".to_owned();
            return Err(FieldError::new(REF_IMAGE.field, message)
                .with_hint("give a PNG, JPEG or WebP file".to_owned()));
        }
        bytes_of(&REF_IMAGE, picture.ref_image.len())
    })
}

/// Checks what all pictures of a request take together.
pub(super) fn validate_pictures(request: &GenerateRequest) -> Result<(), FieldError> {
    let of_input = request
        .input
        .iter()
        .flat_map(|input| [&input.init_image, &input.mask]);
    let of_controls = request
        .controls
        .iter()
        .map(|control| &control.control_image);
    let to_look_at = request.ref_images.iter().map(|picture| &picture.ref_image);
    let all = of_input.chain(of_controls).chain(to_look_at);
    let bytes: usize = all.map(|image| image.len()).sum();
    if bytes > MAX_PICTURES_BYTES {
        let message = format!(
            "the pictures of the request have {bytes} bytes together: they may have {}",
            grouped(MAX_PICTURES_BYTES as u64)
        );
        let field = if request.ref_images.is_empty() {
            CONTROL_IMAGE.field
        } else {
            REF_IMAGE.field
        };
        return Err(
            FieldError::new(field, message).with_hint("save them smaller, or as JPEG".to_owned())
        );
    }
    Ok(())
}
