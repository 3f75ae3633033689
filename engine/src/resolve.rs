//! From a request to settings that leave nothing to a default.

use crate::{
    ModelInfo, Request, Result, Settings,
    families::clip_skip_error,
    info::own_or_named,
    request,
    sampling::{self, Plan, SchedulerConfig},
};

/// Checks `request` against the model, fills in its defaults and plans the sampler.
///
/// Fails with [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), naming the field.
pub(crate) fn resolve(
    info: &ModelInfo,
    scheduler_config: &SchedulerConfig,
    request: &Request,
) -> Result<(Settings, Plan)> {
    let defaults = &info.defaults;
    let multiple_px = info.size_multiple_px;
    let num_inference_steps = request::check_steps(
        request
            .num_inference_steps
            .unwrap_or(defaults.num_inference_steps),
    )?;
    let clip_skip = request.clip_skip.unwrap_or(defaults.clip_skip);
    if clip_skip == 0 || clip_skip > info.clip_layers {
        return Err(clip_skip_error(clip_skip, info.clip_layers));
    }
    let plan = sampling::plan(
        scheduler_config,
        request.sampler.as_deref(),
        request.schedule.as_deref(),
        num_inference_steps as usize,
    )?;
    let settings = Settings {
        model: defaults.model.clone(),
        width_px: request::check_side(
            "width_px",
            request.width_px.unwrap_or(defaults.width_px),
            multiple_px,
        )?,
        height_px: request::check_side(
            "height_px",
            request.height_px.unwrap_or(defaults.height_px),
            multiple_px,
        )?,
        num_inference_steps,
        guidance_scale: request::check_guidance(
            request.guidance_scale.unwrap_or(defaults.guidance_scale),
        )?,
        seed: request.seed,
        sampler: plan.sampler_name.to_owned(),
        schedule: own_or_named(plan.schedule_name),
        prediction: plan.prediction_name.to_owned(),
        clip_skip,
        precision: defaults.precision,
    };
    Ok((settings, plan))
}
