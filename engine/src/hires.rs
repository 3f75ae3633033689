//! A second pass: the first one's latents are enlarged, and refined as those of a picture to begin from.
//!
//! Sources: the upscaler `Latent` of A1111's hires fix; diffusers' image-to-image pipelines, which take latents as they
//! are. The noise of the second pass is drawn by a new generator of the same seed.

use crate::{
    Error, HiresFix, InitImage, Request, Result, UsedHiresFix,
    controls::Steering,
    families::{Conditioning, LatentShape},
    init,
    sampling::{self, Plan, Sampler, SchedulerConfig, noise},
};

/// How much larger a side may become.
const SCALES: std::ops::RangeInclusive<f64> = 1.1..=4.0;
/// Strength where a request names none.
const DEFAULT_STRENGTH: f64 = 0.7;
/// Longest side of what becomes of it, in pixels.
const LARGEST_SIDE_PX: u32 = 4096;

/// What the first pass is.
pub(crate) struct First {
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
    pub(crate) num_inference_steps: u32,
    /// Network evaluations it takes.
    pub(crate) evaluation_count: usize,
}

/// Checks a second pass behind the first, fills in its defaults and plans its sampler.
///
/// Fails naming the field.
pub(crate) fn resolve(
    hires: HiresFix,
    first: &First,
    multiple_px: u32,
    scheduler_config: &SchedulerConfig,
    request: &Request,
) -> Result<(UsedHiresFix, Plan)> {
    let HiresFix {
        scale,
        strength,
        num_inference_steps,
    } = hires;
    if !SCALES.contains(&scale) {
        let message = format!("`hires_scale` is {scale}, but must be from 1.1 to 4");
        return Err(Error::invalid("hires_scale", message));
    }
    let strength = strength.unwrap_or(DEFAULT_STRENGTH);
    if !(0.0..=1.0).contains(&strength) {
        let message = format!("`hires_strength` is {strength}, but must be from 0 to 1");
        return Err(Error::invalid("hires_strength", message));
    }
    let width_px = enlarged_side(first.width_px, scale, multiple_px)?;
    let height_px = enlarged_side(first.height_px, scale, multiple_px)?;
    let steps = num_inference_steps.unwrap_or(first.num_inference_steps);
    if steps == 0 || steps as usize > sampling::MAX_INFERENCE_STEPS {
        let message = format!(
            "`hires_steps` is {steps}, but must be from 1 to {}",
            sampling::MAX_INFERENCE_STEPS
        );
        return Err(Error::invalid("hires_steps", message));
    }
    let begin = init::first_step(
        "hires_strength",
        steps,
        strength,
        scheduler_config.is_flow(),
    )?;
    let plan = sampling::plan_from(
        &scheduler_config.clone().at_size(width_px, height_px),
        request.sampler.as_deref(),
        request.schedule.as_deref(),
        steps as usize,
        begin,
    )?;
    let used = UsedHiresFix {
        scale,
        strength,
        num_inference_steps: steps,
        width_px,
        height_px,
        first_pass_evaluations: u32::try_from(first.evaluation_count).unwrap_or(u32::MAX),
    };
    Ok((used, plan))
}

/// Refuses a second pass where a part of a picture is kept.
pub(crate) fn check_whole(request: &Request, repaints: bool) -> Result<()> {
    let keeps_a_part = request.init.as_ref().is_some_and(InitImage::keeps_a_part);
    if request.hires.is_none() || !(repaints || keeps_a_part) {
        return Ok(());
    }
    let message = if repaints {
        "`hires_scale` enlarges a whole picture, and this model repaints a part of one"
    } else {
        "`hires_scale` enlarges a whole picture, and a part of this one is kept"
    };
    Err(Error::invalid("hires_scale", message)
        .with_hint("leave it out, or draw without a mask and without extending"))
}

/// A side of what becomes of it, in pixels: rounded down to a multiple of `multiple_px`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive and far below 2^32; the part behind the point is to go"
)]
fn enlarged_side(side_px: u32, scale: f64, multiple_px: u32) -> Result<u32> {
    // 800 times 1.15 is a little less than 920 in binary.
    let side = (f64::from(side_px) * scale + 1e-6) as u32 / multiple_px * multiple_px;
    if side <= LARGEST_SIDE_PX {
        return Ok(side);
    }
    let message = format!(
        "a `hires_scale` of {scale} makes {side_px} pixels {side}, but a side has at most {LARGEST_SIDE_PX}"
    );
    Err(Error::invalid("hires_scale", message).with_hint("give a smaller scale, or a smaller size"))
}

/// What a generation goes on with once its first pass is done.
pub(crate) struct SecondPass {
    /// At its start.
    pub(crate) sampler: Box<dyn Sampler>,
    pub(crate) shape: LatentShape,
    /// A new generator of the same seed.
    pub(crate) noise: noise::Generator,
    /// The ControlNets, shown their pictures at the larger size.
    pub(crate) controls: Vec<Steering>,
    pub(crate) positive: Conditioning,
    pub(crate) negative: Option<Conditioning>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_rounded_down_to_what_the_model_can_draw() {
        for (side, scale, multiple, expected) in [
            (256, 1.5, 8, 384),
            (256, 1.1, 8, 280),
            (800, 1.15, 8, 920),
            (512, 1.3, 16, 656),
            (1024, 4.0, 8, 4096),
        ] {
            assert_eq!(enlarged_side(side, scale, multiple).unwrap(), expected);
        }
        let error = enlarged_side(1032, 4.0, 8).unwrap_err();
        assert_eq!(error.field(), Some("hires_scale"));
        assert!(error.to_string().contains("1032 pixels 4128"), "{error}");
    }
}
