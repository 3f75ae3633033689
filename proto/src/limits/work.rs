//! How much work a request is: sizes, steps and pictures, and the second pass at a larger size.

use super::{
    FieldError, HEIGHT_PX, HIRES_SCALE, HIRES_STEPS, HIRES_STRENGTH, Limit, MAX_PIXEL_STEPS,
    NUM_IMAGES, NUM_INFERENCE_STEPS, Range, SIZE_MULTIPLE_PX, WIDTH_PX,
    check::{number, whole},
    grouped,
    pictures::keeps_a_part,
};
use crate::v1::{GenerateRequest, HiresFix};

/// Width, height and steps that every request has at least.
pub(super) const LEAST: (u32, u32, u32) = (SIZE_MULTIPLE_PX, SIZE_MULTIPLE_PX, 1);

/// Checks a second pass; see [`check_work`] for the size that it makes.
pub(super) fn validate_hires(request: &GenerateRequest) -> Result<(), FieldError> {
    let Some(hires) = &request.hires else {
        return Ok(());
    };
    let HiresFix {
        hires_scale,
        hires_strength,
        hires_steps,
    } = *hires;
    number(&HIRES_SCALE, hires_scale)?;
    hires_strength.map_or(Ok(()), |strength| number(&HIRES_STRENGTH, strength))?;
    hires_steps.map_or(Ok(()), |steps| whole(&HIRES_STEPS, steps))?;
    if request.input.as_ref().is_some_and(keeps_a_part) {
        let message = "hires_scale is set, but a part of the picture is kept".to_owned();
        return Err(FieldError::new(HIRES_SCALE.field, message)
            .with_hint("leave it out, or draw without a mask and without extending".to_owned()));
    }
    Ok(())
}

/// A side in pixels after a second pass of that scale, before it is rounded down to a model's factor.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a scale is a small positive number, and the part behind the point is to go"
)]
pub fn enlarged_px(side_px: u32, scale: f64) -> u32 {
    // 800 times 1.15 is a little less than 920 in binary.
    (f64::from(side_px) * scale + 1e-6) as u32
}

/// Checks the work of a request, and the size of its second pass. `defaults`: width, height and steps of one that names none. Call
/// it again once those of the model are known.
pub fn check_work(
    request: &GenerateRequest,
    defaults: (u32, u32, u32),
    images: u32,
) -> Result<(), FieldError> {
    let width_px = request.width_px.unwrap_or(defaults.0);
    let height_px = request.height_px.unwrap_or(defaults.1);
    let steps = request.num_inference_steps.unwrap_or(defaults.2);
    check_budget(width_px, height_px, steps, images)?;
    let Some(hires) = &request.hires else {
        return Ok(());
    };
    let enlarged = |limit: &Limit, side_px: u32| {
        let side = enlarged_px(side_px, hires.hires_scale) / SIZE_MULTIPLE_PX * SIZE_MULTIPLE_PX;
        match limit.range {
            Range::Integer { max, .. } if u64::from(side) > max => {
                let message = format!(
                    "hires_scale is {}: it makes {side_px} pixels {side}, and a side has at most {}",
                    hires.hires_scale,
                    grouped(max)
                );
                Err(FieldError::new(HIRES_SCALE.field, message)
                    .with_hint("give a smaller scale, or a smaller size".to_owned()))
            }
            _ => Ok(side),
        }
    };
    let width_px = enlarged(&WIDTH_PX, width_px)?;
    let height_px = enlarged(&HEIGHT_PX, height_px)?;
    check_budget(
        width_px,
        height_px,
        hires.hires_steps.unwrap_or(steps),
        images,
    )
}

/// Checks that a size is a multiple of a model's factor, both in pixels, and names the nearest sizes that are.
pub fn multiple(field: &'static str, value_px: u32, multiple_px: u32) -> Result<(), FieldError> {
    if multiple_px == 0 || value_px.is_multiple_of(multiple_px) {
        return Ok(());
    }
    let below = value_px - value_px % multiple_px;
    let max = u32::try_from(4_096 / u64::from(multiple_px)).unwrap_or(0) * multiple_px;
    let above = below.saturating_add(multiple_px);
    let nearest: Vec<String> = [below, above]
        .into_iter()
        .filter(|size| (multiple_px..=max).contains(size))
        .map(|size| size.to_string())
        .collect();
    let message = format!("{field} is {value_px}: it must be a multiple of {multiple_px}");
    Err(FieldError::new(field, message)
        .with_hint(format!("the nearest is {}", nearest.join(" or "))))
}

/// Checks pixels x steps x images of one pass against [`MAX_PIXEL_STEPS`].
pub(super) fn check_budget(
    width_px: u32,
    height_px: u32,
    steps: u32,
    images: u32,
) -> Result<(), FieldError> {
    let asked = [width_px, height_px, steps, images]
        .into_iter()
        .map(u128::from)
        .product::<u128>();
    if asked <= u128::from(MAX_PIXEL_STEPS) {
        return Ok(());
    }
    let message = format!(
        "{width_px} x {height_px} pixels x {steps} steps x {images} images is {asked}: a request has at most {}",
        grouped(MAX_PIXEL_STEPS)
    );
    let field = if images > 1 {
        NUM_IMAGES.field
    } else {
        NUM_INFERENCE_STEPS.field
    };
    Err(FieldError::new(field, message)
        .with_hint("ask for fewer images, fewer steps or a smaller size".to_owned()))
}
