//! What a request may ask for: one table that the validator, the documentation and the tests read.
//!
//! Names of samplers, schedules and models are looked up by the daemon, and the multiple that a size must be of comes
//! from the model: this module checks what is the same for all. Nothing is allocated before a request has passed here.
//! The table is in this file; each file of the folder beside it checks a kind of request by it.

mod check;
mod durations;
mod generate;
mod jobs;
mod models;
mod pictures;
mod upscale;
mod work;

use std::fmt::Write as _;

pub use self::{
    durations::{KeepAlive, keep_alive, timeout},
    generate::{validate_generate, validate_loras, validate_prompt},
    jobs::{validate_job_id, validate_page_size, validate_request_id, validate_submit},
    models::{
        validate_add_model, validate_get_model, validate_load, validate_model, validate_model_parts,
    },
    work::{check_work, enlarged_px, multiple},
};
use crate::errors::{Failure, Reason};

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
mod tests;
