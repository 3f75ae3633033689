//! What a model is, known from its configuration and the headers of its weights.

use serde::{Deserialize, Serialize};

use crate::{
    Precision, PromptSyntax, Request, Result, Settings,
    checkpoint::Source,
    families::{self, ModelFiles},
    resolve::resolve,
    sampling,
};

/// What a model is, known from configuration and headers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The family's short name.
    pub family: String,
    /// diffusers' pipeline class.
    pub pipeline_class: String,
    /// Number of parameters of all parts.
    pub parameter_count: u64,
    /// Size of the weights on disk in bytes.
    pub weights_bytes: u64,
    /// Memory that the loaded weights take in bytes, estimated.
    pub loaded_bytes: u64,
    /// Memory the model needs at its default size in bytes, estimated.
    pub memory_bytes: u64,
    /// Memory a picture takes besides the weights, in bytes for each of its pixels, estimated.
    pub working_bytes_per_pixel: u64,
    /// Width and height must be multiples of this, in pixels.
    pub size_multiple_px: u32,
    /// Text encoder positions a prompt may take, begin and end included.
    pub prompt_positions: u32,
    /// Most positions that a request's `max_sequence_length` may name; none where there is one length.
    #[serde(default)]
    pub prompt_positions_limit: Option<u32>,
    /// Whether prompts may have weights and parts.
    #[serde(default)]
    pub prompt_has_grammar: bool,
    /// Whether the network repaints a part of a picture, and needs both.
    #[serde(default)]
    pub repaints: bool,
    /// Whether there are ControlNets for its kind.
    #[serde(default)]
    pub has_controls: bool,
    /// Pictures that it looks at, at most.
    #[serde(default)]
    pub ref_images: u32,
    /// Layers that `clip_skip` may count.
    pub clip_layers: u32,
    /// What a request gets that names nothing (seed 0). Sampler, schedule and prediction are empty when the model's
    /// own sampler is not known; then a request must name one.
    pub defaults: Settings,
    /// The parts with weights.
    pub components: Vec<ComponentInfo>,
}

/// One part of a model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ComponentInfo {
    /// diffusers' name of the part.
    pub name: String,
    /// diffusers' or transformers' class.
    pub class: String,
    /// Number of parameters.
    pub parameter_count: u64,
    /// Number format on disk.
    pub dtype: String,
}

/// Describes a model without loading it. `name` is the model as the caller names it.
pub fn inspect(source: &Source, name: &str, precision: Precision) -> Result<ModelInfo> {
    let (files, family) = ModelFiles::open(source, name, None)?;
    describe(&files, family, precision)
}

/// What would be made of a request.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Every setting, defaults filled in.
    pub settings: Settings,
    /// Network evaluations the picture takes.
    pub evaluation_count: usize,
}

/// Resolves a request against a model without loading it, as [`crate::Model::start`] does. `name` is the model as the
/// caller names it.
///
/// Fails as opening does when the files are not there or not a model, and with
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), naming the field, as starting does.
pub fn plan(
    source: &Source,
    name: &str,
    precision: Precision,
    request: &Request,
) -> Result<Planned> {
    let (files, family) = ModelFiles::open(source, name, None)?;
    let info = describe(&files, family, precision)?;
    let resolved = resolve(&info, &(family.scheduler)(&files)?, request)?;
    Ok(Planned {
        evaluation_count: resolved.evaluation_count(),
        settings: resolved.settings,
    })
}

/// Describes opened files.
pub(crate) fn describe(
    files: &ModelFiles,
    family: &families::FamilyEntry,
    precision: Precision,
) -> Result<ModelInfo> {
    let description = (family.describe)(files)?;
    let defaults = description.defaults;
    let config = (family.scheduler)(files)?.at_size(defaults.width_px, defaults.height_px);
    // A model whose own sampler is not one of ours opens all the same: a request may name another one.
    let own =
        sampling::plan(&config, None, None, defaults.num_inference_steps as usize).map(|plan| {
            [
                plan.sampler_name.to_owned(),
                own_or_named(plan.schedule_name),
                plan.prediction_name.to_owned(),
            ]
        });
    let [sampler, schedule, prediction] = own.unwrap_or_default();
    let loaded_bytes = files.loaded_bytes(precision);
    Ok(ModelInfo {
        family: family.name.to_owned(),
        pipeline_class: files.pipeline_class().to_owned(),
        parameter_count: files.parameter_count(),
        weights_bytes: files.weights_bytes(),
        loaded_bytes,
        memory_bytes: loaded_bytes
            + description.working_bytes_per_pixel
                * u64::from(defaults.width_px)
                * u64::from(defaults.height_px),
        working_bytes_per_pixel: description.working_bytes_per_pixel,
        size_multiple_px: description.size_multiple_px,
        prompt_positions: u32::try_from(description.prompt_positions).unwrap_or(u32::MAX),
        prompt_positions_limit: description
            .prompt_positions_limit
            .map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
        repaints: description.repaints,
        has_controls: description.has_controls,
        ref_images: family.ref_images,
        prompt_has_grammar: description.prompt_has_grammar,
        clip_layers: description.clip_layers,
        defaults: Settings {
            model: files.name().to_owned(),
            width_px: defaults.width_px,
            height_px: defaults.height_px,
            num_inference_steps: defaults.num_inference_steps,
            guidance_scale: defaults.guidance_scale,
            seed: 0,
            variation: None,
            sampler,
            schedule,
            prediction,
            clip_skip: defaults.clip_skip,
            precision: precision.resolved(),
            guidance: description.guidance,
            max_sequence_length: match description.prompt_positions_limit {
                Some(_) => u32::try_from(description.prompt_positions).unwrap_or(u32::MAX),
                None => 0,
            },
            strength: None,
            prompt_syntax: if description.prompt_has_grammar {
                PromptSyntax::A1111
            } else {
                PromptSyntax::Plain
            },
            loras: Vec::new(),
            controls: Vec::new(),
            embeddings: Vec::new(),
            ref_image_sha256: Vec::new(),
            hires: None,
        },
        components: files
            .parts()
            .into_iter()
            .map(|part| ComponentInfo {
                name: part.name.to_owned(),
                class: part.class,
                parameter_count: part.parameter_count,
                dtype: part.dtype.to_owned(),
            })
            .collect(),
    })
}

/// The name of a schedule that a request could give; empty for timesteps as the model's own files space them.
pub(crate) fn own_or_named(schedule: &str) -> String {
    let named = sampling::schedules()
        .iter()
        .any(|info| info.name == schedule);
    if named {
        schedule.to_owned()
    } else {
        String::new()
    }
}
