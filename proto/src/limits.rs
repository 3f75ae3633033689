//! What a request may ask for: one table that the validator, the documentation and the tests read.
//!
//! Names of samplers, schedules and models are looked up by the daemon, and the multiple that a size must be of comes
//! from the model: this file checks what is the same for all. Nothing is allocated before a request has passed here.

use std::{fmt::Write as _, time::Duration};

use crate::{
    errors::{Failure, Reason},
    v1::{
        AddModelRequest, Control, ControlPreprocess, GenerateRequest, GetModelRequest, HiresFix,
        ImageFormat, ImageInput, LoadModelRequest, Lora, ModelPart, Precision, Priority,
        PromptSyntax, ReferenceImage, SubmitJobRequest, Upscale,
    },
};

/// What a field may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// A whole number, both ends included.
    Integer {
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
    },
    /// A finite number, both ends included.
    Number {
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
    },
    /// A text of so many bytes of UTF-8.
    Bytes {
        /// Most bytes.
        max: u64,
    },
    /// A text of so many characters of `[A-Za-z0-9_-]`.
    Characters {
        /// Most characters.
        max: u64,
    },
    /// A time longer than nothing.
    Hours {
        /// Longest time.
        max: u64,
    },
}

/// One field and what it may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// The contract's name of the field.
    pub field: &'static str,
    /// What it may be.
    pub range: Range,
    /// Its unit; empty for a plain number.
    pub unit: &'static str,
    /// What it is when absent.
    pub default: &'static str,
    /// What it is.
    pub meaning: &'static str,
}

impl Limit {
    /// The range as the comments of the contract write it: `8 to 4,096`, `up to 24 hours`.
    pub fn phrase(&self) -> String {
        match self.range {
            Range::Integer { min, max } => format!("{} to {}", grouped(min), grouped(max)),
            Range::Number { min, max } => format!("{min} to {max}"),
            Range::Bytes { max } => format!("0 to {} bytes", grouped(max)),
            Range::Characters { max } => format!("up to {max} characters"),
            Range::Hours { max } => format!("up to {max} hours"),
        }
    }
}

macro_rules! table {
    ($($constant:ident: $field:literal, $range:expr, $unit:literal, $default:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $constant: Limit =
            Limit { field: $field, range: $range, unit: $unit, default: $default, meaning: $meaning };)*
        /// Every limit, in the order of the contract.
        pub const LIMITS: &[Limit] = &[$($constant),*];
    };
}

const fn integer(min: u64, max: u64) -> Range {
    Range::Integer { min, max }
}

table! {
    PROMPT: "prompt", Range::Bytes { max: 32_768 }, "bytes", "", "What the picture shows";
    NEGATIVE_PROMPT: "negative_prompt", Range::Bytes { max: 32_768 }, "bytes", "absent", "What the picture avoids";
    MODEL: "model", Range::Bytes { max: 4_096 }, "bytes", "the daemon's", "Name or absolute path of the model";
    MODEL_CONFIG: "model_config", Range::Bytes { max: 4_096 }, "bytes", "none", "Absolute path of a directory with what a single file lacks";
    MODEL_PARTS: "model_parts", integer(0, 8), "", "none", "Parts of the model that have files of their own";
    PART: "part", Range::Bytes { max: 64 }, "bytes", "", "Name of such a part";
    PART_FILE: "file", Range::Bytes { max: 4_096 }, "bytes", "", "Name or absolute path of its file";
    LORAS: "loras", integer(0, 16), "", "none", "Adapters that change what the model draws";
    LORA: "lora", Range::Bytes { max: 4_096 }, "bytes", "", "Name or absolute path of an adapter's file";
    WEIGHT: "weight", Range::Number { min: -10.0, max: 10.0 }, "", "1", "How strongly an adapter is applied";
    CONTROLS: "controls", integer(0, 4), "", "none", "ControlNets that steer what is drawn";
    CONTROL_MODEL: "control_model", Range::Bytes { max: 4_096 }, "bytes", "", "Name or absolute path of a ControlNet";
    CONTROL_IMAGE: "control_image", Range::Bytes { max: 16 << 20 }, "bytes", "", "File of the picture that a ControlNet steers by";
    CONTROL_WEIGHT: "control_weight", Range::Number { min: -10.0, max: 10.0 }, "", "1", "How strongly a ControlNet steers";
    CONTROL_START: "control_start", Range::Number { min: 0.0, max: 1.0 }, "", "0", "Share of the evaluations after which a ControlNet begins";
    CONTROL_END: "control_end", Range::Number { min: 0.0, max: 1.0 }, "", "1", "Share of the evaluations after which a ControlNet ends";
    CANNY_LOW: "canny_low", integer(0, 2_040), "", "100", "Strength above which a pixel continues an edge";
    CANNY_HIGH: "canny_high", integer(0, 2_040), "", "200", "Strength above which a pixel begins an edge";
    STYLES: "styles", integer(0, 16), "", "none", "Styles that the prompts are put into";
    REF_IMAGES: "ref_images", integer(0, 4), "", "none", "Pictures that the model looks at";
    REF_IMAGE: "ref_image", Range::Bytes { max: 16 << 20 }, "bytes", "", "File of a picture that the model looks at";
    WIDTH_PX: "width_px", integer(8, 4_096), "px", "the model's", "Width of the picture";
    HEIGHT_PX: "height_px", integer(8, 4_096), "px", "the model's", "Height of the picture";
    NUM_INFERENCE_STEPS: "num_inference_steps", integer(1, 1_000), "", "the model's", "Denoising steps";
    GUIDANCE_SCALE: "guidance_scale", Range::Number { min: 0.0, max: 100.0 }, "", "the model's", "Classifier-free guidance";
    NUM_IMAGES: "num_images", integer(1, 10_000), "", "1", "Number of pictures";
    SAMPLER: "sampler", Range::Bytes { max: 64 }, "bytes", "the model's", "Name of the solver";
    SCHEDULE: "schedule", Range::Bytes { max: 64 }, "bytes", "the model's", "Name of the list of noise levels";
    CLIP_SKIP: "clip_skip", integer(1, 12), "", "the model's", "Layer of the text encoder, counted from the last";
    MAX_SEQUENCE_LENGTH: "max_sequence_length", integer(1, 512), "tokens", "the model's", "Tokens that the prompt is cut and filled up to";
    INIT_IMAGE: "init_image", Range::Bytes { max: 16 << 20 }, "bytes", "none", "File of a picture to begin from";
    MASK: "mask", Range::Bytes { max: 16 << 20 }, "bytes", "none", "File of a picture that is light where is repainted";
    STRENGTH: "strength", Range::Number { min: 0.0, max: 1.0 }, "", "0.75, with a mask or borders 1", "How much of the way from noise is gone";
    MASK_BLUR_PX: "mask_blur_px", integer(0, 256), "px", "0", "Blur of the mask";
    ONLY_MASKED_PADDING_PX: "only_masked_padding_px", integer(0, 1_024), "px", "the whole picture is drawn", "What is drawn around the mask, where only what is masked is drawn";
    EXTEND_LEFT_PX: "extend_left_px", integer(0, 4_096), "px", "0", "What is added on the left";
    EXTEND_RIGHT_PX: "extend_right_px", integer(0, 4_096), "px", "0", "What is added on the right";
    EXTEND_TOP_PX: "extend_top_px", integer(0, 4_096), "px", "0", "What is added above";
    EXTEND_BOTTOM_PX: "extend_bottom_px", integer(0, 4_096), "px", "0", "What is added below";
    VARIATION_STRENGTH: "variation_strength", Range::Number { min: 0.0, max: 1.0 }, "", "0", "How much there is of another seed's noise";
    HIRES_SCALE: "hires_scale", Range::Number { min: 1.1, max: 4.0 }, "", "", "How much longer each side becomes in a second pass";
    HIRES_STRENGTH: "hires_strength", Range::Number { min: 0.0, max: 1.0 }, "", "0.7", "How much of the way from noise the second pass goes";
    HIRES_STEPS: "hires_steps", integer(1, 1_000), "", "the first pass's", "Denoising steps of the second pass's whole way";
    UPSCALER: "upscaler", Range::Bytes { max: 4_096 }, "bytes", "the only one", "Name or absolute path of an upscaler's file";
    UPSCALE_SCALE: "upscale_scale", Range::Number { min: 0.25, max: 16.0 }, "", "the upscaler's", "How much longer each side becomes when a picture is enlarged";
    JPEG_QUALITY: "jpeg_quality", integer(1, 100), "", "95", "Quality of a JPEG";
    PREVIEW_EVERY_N_STEPS: "preview_every_n_steps", integer(0, 1_000), "steps", "0", "Distance between previews";
    REQUEST_ID: "request_id", Range::Characters { max: 64 }, "characters", "none", "The client's own name for the request";
    HOLD_AFTER_STEPS: "hold_after_steps", integer(0, 1_000), "steps", "0", "Step at which pictures are held";
    IMAGES: "images", integer(0, 10_000), "", "none", "What each picture of a job has of its own";
    PAGE_SIZE: "page_size", integer(0, 1_000), "", "50 jobs, 100 pictures", "Most answers of one page";
    TIMEOUT: "timeout", Range::Hours { max: 24 }, "", "none", "Gives the work up after this long";
}

/// Most pixels x steps x images of one request: 64 pictures of 4,096 x 4,096 in 1,000 steps fit, and 10,000 of
/// 1,024 x 1,024 in 100 steps; 10,000 of the largest do not.
pub const MAX_PIXEL_STEPS: u64 = 1 << 40;

/// Every width and height is a multiple of this in pixels; a model's own factor is this or a multiple of it.
pub const SIZE_MULTIPLE_PX: u32 = 8;

/// Largest message a daemon accepts for one call, in bytes: two prompts at their limits fit several times.
pub const MAX_REQUEST_BYTES: usize = 1 << 20;

/// Most bytes of all pictures' files of one request: a picture and its mask at their limits.
pub const MAX_PICTURES_BYTES: usize = 32 << 20;

/// Largest message a daemon accepts for a call that may carry pictures, in bytes.
pub const MAX_PICTURE_REQUEST_BYTES: usize = MAX_PICTURES_BYTES + MAX_REQUEST_BYTES;

/// Largest part of a picture's file in one event, in bytes.
pub const IMAGE_CHUNK_BYTES: usize = 256 << 10;

/// A field that is not what it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FieldError {
    /// The contract's name of the field.
    pub field: &'static str,
    /// What is wrong and what it may be.
    pub message: String,
    /// What to do, where that says more than the message.
    pub hint: Option<String>,
}

impl FieldError {
    fn new(field: &'static str, message: String) -> Self {
        Self {
            field,
            message,
            hint: None,
        }
    }

    fn with_hint(mut self, hint: String) -> Self {
        self.hint = Some(hint);
        self
    }
}

impl From<FieldError> for Failure {
    fn from(error: FieldError) -> Self {
        Self {
            hint: error.hint,
            ..Self::new(Reason::InvalidField, error.message).with_field(error.field)
        }
    }
}

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

/// Width, height and steps that every request has at least.
const LEAST: (u32, u32, u32) = (SIZE_MULTIPLE_PX, SIZE_MULTIPLE_PX, 1);

/// Checks a second pass; see [`check_work`] for the size that it makes.
fn validate_hires(request: &GenerateRequest) -> Result<(), FieldError> {
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

/// Checks an enlargement: that there is a picture, and nothing that says what or how to draw.
fn validate_upscale(request: &GenerateRequest) -> Result<(), FieldError> {
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
fn refuse_beside_upscale(
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

fn is_extended(input: &ImageInput) -> bool {
    [
        input.extend_left_px,
        input.extend_right_px,
        input.extend_top_px,
        input.extend_bottom_px,
    ] != [0; 4]
}

fn keeps_a_part(input: &ImageInput) -> bool {
    !input.mask.is_empty() || is_extended(input)
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

/// Whether it is an absolute path, or a name that leads out of no folder.
fn is_name_or_path(name: &str) -> bool {
    let is_inside = || {
        name.split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.'))
    };
    !name.contains('\0') && (name.starts_with('/') || is_inside())
}

fn count_of<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

/// Checks pictures to look at, without looking into them.
fn validate_ref_images(pictures: &[ReferenceImage]) -> Result<(), FieldError> {
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
fn validate_pictures(request: &GenerateRequest) -> Result<(), FieldError> {
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

fn validate_control(control: &Control) -> Result<(), FieldError> {
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

/// Checks a picture to begin from, without looking into it.
fn validate_input(input: &ImageInput) -> Result<(), FieldError> {
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

/// Checks every field of a job that can be checked without its model.
pub fn validate_submit(request: &SubmitJobRequest) -> Result<(), FieldError> {
    let Some(generate) = &request.generate else {
        return Err(FieldError::new(
            "generate",
            "generate is required".to_owned(),
        ));
    };
    validate_generate(generate)?;
    for (field, is_set) in [
        ("private", generate.private == Some(true)),
        (TIMEOUT.field, generate.timeout.is_some()),
    ] {
        if is_set {
            let message = format!("{field} is set, but the job outlives its client");
            return Err(FieldError::new(field, message).with_hint(
                "leave it out, or call Generate, whose job ends with its stream".to_owned(),
            ));
        }
    }
    whole(&HOLD_AFTER_STEPS, request.hold_after_steps)?;
    let count = u32::try_from(request.images.len()).unwrap_or(u32::MAX);
    if generate.upscale.is_some() {
        refuse_beside_upscale([
            (HOLD_AFTER_STEPS.field, request.hold_after_steps > 0),
            (IMAGES.field, count > 0),
        ])?;
    }
    if count == 0 {
        return Ok(());
    }
    whole(&IMAGES, count)?;
    if generate.num_images.is_some_and(|images| images != count) {
        let message = format!(
            "num_images is {}, but `images` has {count}",
            generate.num_images.unwrap_or_default()
        );
        return Err(FieldError::new(NUM_IMAGES.field, message)
            .with_hint("leave num_images out: the number of `images` counts".to_owned()));
    }
    for image in &request.images {
        text(&PROMPT, image.prompt.as_deref().unwrap_or_default())?;
        text(
            &NEGATIVE_PROMPT,
            image.negative_prompt.as_deref().unwrap_or_default(),
        )?;
    }
    check_work(generate, LEAST, count)
}

/// Checks the name of a job: 4 to 32 hexadecimal digits, the first of its id.
pub fn validate_job_id(job_id: &str) -> Result<(), FieldError> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if (4..=32).contains(&job_id.len()) && job_id.bytes().all(is_digit) {
        return Ok(());
    }
    let message =
        format!("job_id {job_id:?} is no name of a job: it has 4 to 32 digits of [0-9a-f]");
    Err(FieldError::new("job_id", message).with_hint("`imgctl jobs` lists them".to_owned()))
}

/// Checks the client's own name for a request; empty is none.
pub fn validate_request_id(request_id: &str) -> Result<(), FieldError> {
    identifier(&REQUEST_ID, request_id)
}

/// Checks how many answers a page may have.
pub fn validate_page_size(page_size: u32) -> Result<(), FieldError> {
    whole(&PAGE_SIZE, page_size)
}

/// Checks the fields of a request to load a model.
pub fn validate_load(request: &LoadModelRequest) -> Result<(), FieldError> {
    validate_model(&request.model)?;
    validate_model_config(&request.model_config)?;
    validate_model_parts(&request.model_parts)?;
    enumeration::<Precision>("precision", request.precision)?;
    request
        .keep_alive
        .as_ref()
        .map_or(Ok(()), |value| keep_alive(value).map(drop))
}

/// Checks the name or path of a model: empty for the default; an absolute path; or one to four parts as files are called, 120
/// characters each, separated by `/`. Says nothing of whether it exists.
pub fn validate_model(model: &str) -> Result<(), FieldError> {
    text(&MODEL, model)?;
    let wrong = |why: &str| {
        let message = format!("model {model:?} is no name of a model: {why}");
        let hint =
            "give a name that `imgctl models` lists, or the absolute path of a diffusers directory";
        Err(FieldError::new(MODEL.field, message).with_hint(hint.to_owned()))
    };
    if model.contains('\0') {
        return wrong("it holds a NUL character");
    }
    if model.is_empty() || model.starts_with('/') {
        return Ok(());
    }
    let parts: Vec<&str> = model.split('/').collect();
    if parts.len() > 4 {
        return wrong("it has more than four parts");
    }
    for part in parts {
        let Some(first) = part.chars().next() else {
            return wrong("one of its parts is empty");
        };
        if !first.is_alphanumeric() && !"_[(".contains(first) {
            return wrong("a part begins with a letter, a digit, a bracket or `_`");
        }
        if part.chars().count() > 120 {
            return wrong("a part has at most 120 characters");
        }
        if part.chars().any(char::is_control) || part.contains('\\') || part.ends_with(' ') {
            return wrong("it has a backslash, a control character or a space at an end");
        }
    }
    Ok(())
}

/// Checks a model to add: its path, its names and its configuration. Says nothing of whether they exist or are taken.
pub fn validate_add_model(request: &AddModelRequest) -> Result<(), FieldError> {
    let AddModelRequest {
        path,
        name,
        aliases,
        model_config,
    } = request;
    let wrong = |field, why: String, hint: &str| {
        Err(FieldError::new(field, why).with_hint(hint.to_owned()))
    };
    if text(&MODEL, path).is_err() || !path.starts_with('/') || path.contains('\0') {
        let why = format!("path {path:?} is no absolute path");
        return wrong(
            "path",
            why,
            "give that of a diffusers directory, or of a safetensors or GGUF file",
        );
    }
    for own in aliases.iter().chain((!name.is_empty()).then_some(name)) {
        if own.is_empty() || own.contains('/') || own.len() > 80 || validate_model(own).is_err() {
            let field = if own == name { "name" } else { "aliases" };
            let why = format!("{own:?} is no name for a model");
            return wrong(
                field,
                why,
                "a name has 1 to 80 bytes and no `/`, and begins with a letter or a digit",
            );
        }
    }
    if aliases.len() > 16 {
        let why = format!(
            "aliases has {} names; a model has at most 16",
            aliases.len()
        );
        return wrong("aliases", why, "leave some out");
    }
    validate_model_config(model_config)
}

/// Checks a request for a model's description.
pub fn validate_get_model(request: &GetModelRequest) -> Result<(), FieldError> {
    validate_model(&request.model)?;
    validate_model_config(&request.model_config)?;
    validate_model_parts(&request.model_parts)
}

/// Checks the path of a directory with what a single file lacks; empty is none.
fn validate_model_config(path: &str) -> Result<(), FieldError> {
    text(&MODEL_CONFIG, path)?;
    if path.is_empty() || (path.starts_with('/') && !path.contains('\0')) {
        return Ok(());
    }
    let message = format!("model_config {path:?} is no absolute path");
    Err(FieldError::new(MODEL_CONFIG.field, message)
        .with_hint("give the absolute path of a diffusers directory".to_owned()))
}

/// Checks the parts that have files of their own. Says nothing of whether the model has them or the files exist.
pub fn validate_model_parts(parts: &[ModelPart]) -> Result<(), FieldError> {
    whole(&MODEL_PARTS, u32::try_from(parts.len()).unwrap_or(u32::MAX))?;
    for (at, ModelPart { part, file }) in parts.iter().enumerate() {
        text(&PART, part)?;
        text(&PART_FILE, file)?;
        let wrong = |why: String, hint: &str| {
            Err(FieldError::new(MODEL_PARTS.field, why).with_hint(hint.to_owned()))
        };
        let is_name = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
        if part.is_empty() || !part.bytes().all(is_name) {
            return wrong(
                format!("{part:?} is no name of a part"),
                "parts are called `vae`, `unet`, `transformer`, `text_encoder_2` and the like",
            );
        }
        if parts[..at].iter().any(|before| before.part == *part) {
            return wrong(format!("`{part}` is given twice"), "give each part once");
        }
        if !is_name_or_path(file) {
            return wrong(
                format!("the file of `{part}`, {file:?}, is neither a name nor an absolute path"),
                "give the absolute path of a safetensors or GGUF file",
            );
        }
    }
    Ok(())
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
fn check_budget(width_px: u32, height_px: u32, steps: u32, images: u32) -> Result<(), FieldError> {
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

/// How long a model stays resident when idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// This long; zero unloads at once.
    For(Duration),
    /// Until someone unloads it.
    Forever,
}

/// Reads `keep_alive`: negative is for ever.
pub fn keep_alive(value: &prost_types::Duration) -> Result<KeepAlive, FieldError> {
    well_formed("keep_alive", value)?;
    Ok(Duration::try_from(*value).map_or(KeepAlive::Forever, KeepAlive::For))
}

/// Reads `timeout`.
pub fn timeout(value: &prost_types::Duration) -> Result<Duration, FieldError> {
    well_formed(TIMEOUT.field, value)?;
    let Range::Hours { max } = TIMEOUT.range else {
        unreachable!("timeout is limited in hours")
    };
    match Duration::try_from(*value) {
        Ok(timeout) if !timeout.is_zero() && timeout <= Duration::from_secs(max * 3600) => {
            Ok(timeout)
        }
        _ => {
            let seconds = value.seconds as f64 + f64::from(value.nanos) / 1e9;
            let message = format!(
                "timeout is {seconds} s: it must be longer than 0 s and {}",
                TIMEOUT.phrase()
            );
            Err(FieldError::new(TIMEOUT.field, message))
        }
    }
}

/// The table as Markdown, for the documentation.
pub fn table() -> String {
    let mut table = "| field | range | unit | default | |\n|---|---|---|---|---|\n".to_owned();
    for limit in LIMITS {
        let Limit {
            field,
            unit,
            default,
            meaning,
            ..
        } = limit;
        // Writing to a String cannot fail.
        writeln!(
            table,
            "| `{field}` | {} | {unit} | {default} | {meaning} |",
            limit.phrase()
        )
        .unwrap_or_default();
    }
    table
}

fn outside(limit: &Limit, value: impl std::fmt::Display) -> FieldError {
    let Limit { field, unit, .. } = limit;
    let space = if unit.is_empty() { "" } else { " " };
    FieldError::new(
        field,
        format!(
            "{field} is {value}{space}{unit}: it must be {}",
            limit.phrase()
        ),
    )
}

fn whole(limit: &Limit, value: u32) -> Result<(), FieldError> {
    match limit.range {
        Range::Integer { min, max } if (min..=max).contains(&u64::from(value)) => Ok(()),
        _ => Err(outside(limit, value)),
    }
}

fn number(limit: &Limit, value: f64) -> Result<(), FieldError> {
    match limit.range {
        // NaN is in no range.
        Range::Number { min, max } if (min..=max).contains(&value) => Ok(()),
        _ => Err(outside(limit, value)),
    }
}

fn text(limit: &Limit, value: &str) -> Result<(), FieldError> {
    bytes_of(limit, value.len())
}

fn bytes_of(limit: &Limit, length: usize) -> Result<(), FieldError> {
    match limit.range {
        Range::Bytes { max } if length as u64 <= max => Ok(()),
        _ => {
            let Limit { field, .. } = limit;
            let message = format!("{field} has {length} bytes: it may have {}", limit.phrase());
            Err(FieldError::new(field, message))
        }
    }
}

fn identifier(limit: &Limit, value: &str) -> Result<(), FieldError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    match limit.range {
        Range::Characters { max } if value.len() as u64 <= max && value.bytes().all(allowed) => {
            Ok(())
        }
        _ => {
            let Limit { field, .. } = limit;
            let message = format!("{field} may have {} of [A-Za-z0-9_-]", limit.phrase());
            Err(FieldError::new(field, message))
        }
    }
}

fn enumeration<E: TryFrom<i32>>(field: &'static str, value: i32) -> Result<(), FieldError> {
    match E::try_from(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(FieldError::new(
            field,
            format!("{field} is {value}: the contract has no such value"),
        )
        .with_hint("the client may be newer than the daemon".to_owned())),
    }
}

/// Seconds up to 10,000 years and nanoseconds of the same sign, as google.protobuf.Duration demands.
fn well_formed(field: &'static str, value: &prost_types::Duration) -> Result<(), FieldError> {
    let prost_types::Duration { seconds, nanos } = *value;
    let opposed = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    if seconds.unsigned_abs() > 315_576_000_000 || nanos.unsigned_abs() > 999_999_999 || opposed {
        let message = format!("{field} is {seconds} s and {nanos} ns: that is no duration");
        return Err(FieldError::new(field, message));
    }
    Ok(())
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
