//! From a request to settings that leave nothing to a default.

use crate::{
    Error, InitImage, ModelInfo, PromptSyntax, Request, Result, Settings, controls,
    families::clip_skip_error,
    hires, image,
    info::own_or_named,
    init::{self, Frame},
    references, request,
    sampling::{self, Plan, SchedulerConfig},
};

/// What becomes of a request.
pub(crate) struct Resolved {
    pub(crate) settings: Settings,
    pub(crate) plan: Plan,
    /// Of the second pass, where there is one.
    pub(crate) second: Option<Plan>,
}

impl Resolved {
    /// Network evaluations of all passes.
    pub(crate) fn evaluation_count(&self) -> usize {
        let plans = [&self.plan].into_iter().chain(&self.second);
        plans.map(|plan| plan.sampler.evaluation_count()).sum()
    }
}

/// Checks `request` against the model, fills in its defaults and plans the sampler.
///
/// Fails with [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), naming the field.
pub(crate) fn resolve(
    info: &ModelInfo,
    scheduler_config: &SchedulerConfig,
    request: &Request,
) -> Result<Resolved> {
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
    if !request.controls.is_empty() && !info.has_controls {
        return Err(controls::none_known());
    }
    controls::check(&request.controls)?;
    let seen_px = references::check(
        &request.ref_images,
        info.ref_images,
        request.init.is_some(),
        multiple_px,
    )?;
    let (default_width, default_height) = default_size(info, request, seen_px)?;
    hires::check_whole(request, info.repaints)?;
    let width_px = request.width_px.unwrap_or(default_width);
    let width_px = request::check_side("width_px", width_px, multiple_px)?;
    let height_px = request.height_px.unwrap_or(default_height);
    let height_px = request::check_side("height_px", height_px, multiple_px)?;
    let keeps_a_part = request.init.as_ref().is_some_and(InitImage::keeps_a_part);
    if info.repaints && !keeps_a_part {
        return Err(Error::invalid(
            "mask",
            "this model repaints a part of a picture, and needs `init_image` and `mask`",
        )
        .with_hint("give both, or choose a model that draws from text alone"));
    }
    let strength = request.init.as_ref().map(init::strength).transpose()?;
    let begin = strength.map_or(Ok(0), |strength| {
        init::first_step(
            "strength",
            num_inference_steps,
            strength,
            scheduler_config.is_flow(),
        )
    })?;
    let max_sequence_length = match (request.max_sequence_length, info.prompt_positions_limit) {
        (None, _) => defaults.max_sequence_length,
        (Some(asked), Some(most)) if (1..=most).contains(&asked) => asked,
        (Some(asked), Some(most)) => {
            let message = format!("`max_sequence_length` is {asked}, not 1 to {most}");
            return Err(Error::invalid("max_sequence_length", message));
        }
        (Some(_), None) => {
            let message = "this model's text encoder reads one length, which cannot be chosen";
            return Err(Error::invalid("max_sequence_length", message));
        }
    };
    let prompt_syntax = request.prompt_syntax.unwrap_or(defaults.prompt_syntax);
    if prompt_syntax != PromptSyntax::Plain && !info.prompt_has_grammar {
        let message = "this model reads prompts as they are: it knows no weights";
        return Err(Error::invalid("prompt_syntax", message).with_hint("leave `prompt_syntax` out"));
    }
    if let Some(lora) = request.loras.iter().find(|lora| !lora.weight.is_finite()) {
        let message = format!(
            "the weight of `{}` is {}, no number",
            lora.name(),
            lora.weight
        );
        return Err(Error::invalid("loras", message));
    }
    let plan = sampling::plan_from(
        &scheduler_config.clone().at_size(width_px, height_px),
        request.sampler.as_deref(),
        request.schedule.as_deref(),
        num_inference_steps as usize,
        begin,
    )?;
    let first = hires::First {
        width_px,
        height_px,
        num_inference_steps,
        evaluation_count: plan.sampler.evaluation_count(),
    };
    let (hires, second) = request
        .hires
        .map(|hires| hires::resolve(hires, &first, multiple_px, scheduler_config, request))
        .transpose()?
        .unzip();
    let settings = Settings {
        model: defaults.model.clone(),
        width_px,
        height_px,
        num_inference_steps,
        guidance_scale: request::check_guidance(
            request.guidance_scale.unwrap_or(defaults.guidance_scale),
        )?,
        seed: request.seed,
        variation: request::check_variation(request.variation)?,
        sampler: plan.sampler_name.to_owned(),
        schedule: own_or_named(plan.schedule_name),
        prediction: plan.prediction_name.to_owned(),
        clip_skip,
        precision: defaults.precision,
        guidance: defaults.guidance,
        max_sequence_length,
        strength,
        prompt_syntax,
        // Known when their files are read.
        loras: Vec::new(),
        controls: Vec::new(),
        embeddings: Vec::new(),
        ref_image_sha256: request
            .ref_images
            .iter()
            .map(|picture| image::sha256(&picture.image))
            .collect(),
        hires,
    };
    Ok(Resolved {
        settings,
        plan,
        second,
    })
}

/// Width and height in pixels of a request that names none: the model's, or what follows from the picture it
/// begins from or is steered by.
fn default_size(
    info: &ModelInfo,
    request: &Request,
    seen_px: Option<(u32, u32)>,
) -> Result<(u32, u32)> {
    let models = seen_px.unwrap_or((info.defaults.width_px, info.defaults.height_px));
    let Some(init) = &request.init else {
        let Some(control) = request.controls.first() else {
            return Ok(models);
        };
        let own = image::size_of(&control.image, "control_image")?;
        return Ok(fitting(own, info.size_multiple_px));
    };
    let frame = Frame::of(init, info.size_multiple_px)?;
    if init.only_masked_padding_px.is_some() {
        return Ok(models);
    }
    if init.borders.are_none() {
        return Ok(fitting(frame.own, info.size_multiple_px));
    }
    for (field, asked, follows) in [
        ("width_px", request.width_px, frame.canvas.0),
        ("height_px", request.height_px, frame.canvas.1),
    ] {
        if asked.is_some_and(|asked| asked != follows) {
            let message =
                format!("`{field}` of an extended picture follows from it: it is {follows}");
            return Err(Error::invalid(field, message)
                .with_hint(format!("leave `{field}` out, and extend by more or less")));
        }
    }
    Ok(frame.canvas)
}

/// Largest side that follows from a picture, in pixels; a request may name a larger one.
const FITTING_SIDE_PX: u32 = 2048;

/// The size nearest to a picture's own that a model can draw, in pixels; large ones are brought down to scale.
fn fitting((width, height): (u32, u32), multiple_px: u32) -> (u32, u32) {
    let longest = width.max(height).max(1);
    let side = |side: u32| {
        let scaled = if longest > FITTING_SIDE_PX {
            u64::from(side) * u64::from(FITTING_SIDE_PX) / u64::from(longest)
        } else {
            u64::from(side)
        };
        let scaled = u32::try_from(scaled).unwrap_or(FITTING_SIDE_PX);
        (scaled / multiple_px * multiple_px).max(multiple_px)
    };
    (side(width), side(height))
}
