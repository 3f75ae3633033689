//! What a picture's file says of how it was made: everything needed to make it again.

use serde::{Deserialize, Serialize};

use super::parameters;
use crate::{Borders, UsedControl, UsedEmbedding, UsedLora};

/// The form of the record. A reader that knows a lower number may miss fields.
pub const METADATA_VERSION: u32 = 1;

/// How a picture was made. A record of it lies in the file as JSON, and A1111's settings text is made from it.
///
/// Nothing in it varies between runs: no time, duration, host, path or thread count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// [`METADATA_VERSION`].
    pub version: u32,
    /// Version of the program, such as `0.1.0`.
    pub imgd: String,
    /// Version of the numerics: two builds with the same one give the same picture on one instruction set.
    pub numerics: String,
    /// The model's name.
    pub model: String,
    /// SHA-256 of the model's weights, 64 hexadecimal digits. See `checkpoint::Sha256`.
    pub model_hash: String,
    /// The prompt, exactly.
    pub prompt: String,
    /// The negative prompt; absent is not the same as empty.
    pub negative_prompt: Option<String>,
    /// Seed of this picture's noise, not of the request's first picture.
    pub seed: u64,
    /// Another seed, part of whose noise there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variation_seed: Option<u64>,
    /// How far the noise is on the way to that seed's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variation_strength: Option<f64>,
    /// Name of the noise generator, such as `torch`.
    pub noise_generator: String,
    /// Name of the solver, such as `dpmpp_2m`.
    pub sampler: String,
    /// Name of the list of sigmas, such as `karras`; absent when the sampler has only its own.
    pub schedule: Option<String>,
    /// What the network outputs: `epsilon`, `v_prediction` or `sample`.
    pub prediction: String,
    /// Steps of the solver.
    pub num_inference_steps: u32,
    /// Weight of the prompt against the negative prompt; 1 or less is without guidance.
    pub guidance_scale: f64,
    /// Width of the picture in pixels.
    pub width_px: u32,
    /// Height of the picture in pixels.
    pub height_px: u32,
    /// Layer of the text encoder, counted from the end as A1111 does; absent is the model's own.
    pub clip_skip: Option<u32>,
    /// How much of the way from noise was gone, where a picture was there to begin from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// How much longer each side became in a second pass; then width and height are those of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hires_scale: Option<f64>,
    /// How much of the way from noise the second pass went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hires_strength: Option<f64>,
    /// Steps of the solver for the whole way, of which the second pass went the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hires_steps: Option<u32>,
    /// SHA-256 of the file of that picture, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_image_sha256: Option<String>,
    /// SHA-256 of the file of its mask, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_sha256: Option<String>,
    /// Blur of the mask, in pixels of that picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_blur_px: Option<u32>,
    /// Pixels that were drawn around the mask, where only what is masked was drawn; then width and height are those of that part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_masked_padding_px: Option<u32>,
    /// What was added around that picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub borders: Option<Borders>,
    /// Tokens that the prompts were cut and filled up to, where the text encoder leaves that open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sequence_length: Option<u32>,
    /// How the prompts were read: `plain` or `a1111`.
    #[serde(default = "plain")]
    pub prompt_syntax: String,
    /// Adapters that changed the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<UsedLora>,
    /// ControlNets that steered it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<UsedControl>,
    /// Embeddings that words of the prompts stand for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<UsedEmbedding>,
    /// SHA-256 of the file of each picture that it looked at, hex.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ref_image_sha256: Vec<String>,
    /// Precision of the network, such as `f32`.
    pub precision: String,
}

/// What was there before prompts had weights.
fn plain() -> String {
    "plain".to_owned()
}

impl Metadata {
    /// The settings text of AUTOMATIC1111's web UI, which galleries and other programs read.
    pub fn parameters(&self) -> String {
        parameters::text(self)
    }

    /// The record as JSON in ASCII: other characters are written as `\u` escapes, so that every container can hold it.
    pub fn to_json(&self) -> String {
        ascii_json(self)
    }

    /// Both.
    pub(super) fn texts(&self) -> Texts {
        Texts {
            parameters: self.parameters(),
            record: self.to_json(),
        }
    }

    /// The record from its JSON; `None` when it is none.
    pub(super) fn from_json(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

/// What a picture's file says of how it was made, as texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// The settings text in A1111's manner.
    pub parameters: String,
    /// The record, JSON in ASCII.
    pub record: String,
}

impl Texts {
    /// `parameters` as every container can hold it, and `record` as JSON.
    pub(crate) fn new(parameters: &str, record: &impl Serialize) -> Self {
        Self {
            parameters: parameters.replace('\0', "\u{fffd}"),
            record: ascii_json(record),
        }
    }
}

fn ascii_json(record: &impl Serialize) -> String {
    let json = serde_json::to_string(record).expect("plain fields are always JSON");
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        // Characters beyond ASCII stand only inside strings. DEL is legal there, and not everywhere else.
        if matches!(character, ' '..='~') {
            ascii.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}
