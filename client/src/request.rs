//! What to draw, in the words of a user.

use std::time::Duration;

use imgd_proto::v1;
pub use imgd_proto::v1::{
    Control, ControlPreprocess, HiresFix, ImageFormat, ImageInput, Lora, ModelPart, Precision,
    Priority, PromptSyntax, ReferenceImage, Upscale,
};

/// What to draw. Everything but the prompt has a default that fits the model: leave it `None`.
///
/// Ranges are checked by the daemon, which names the field; they stand beside each field.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerateRequest {
    /// What the picture shows, 0 to 32,768 bytes.
    pub prompt: String,
    /// What the picture avoids, 0 to 32,768 bytes. `None` is not the same as `""` for every model.
    pub negative_prompt: Option<String>,
    /// A model's name, or the absolute path of a diffusers directory.
    pub model: Option<String>,
    /// The absolute path of a diffusers directory with what a single file lacks.
    pub model_config: Option<String>,
    /// Parts of the model whose weights come from files of their own.
    pub model_parts: Vec<ModelPart>,
    /// Width in pixels, 8 to 4,096, a multiple of the model's factor.
    pub width_px: Option<u32>,
    /// Height in pixels, 8 to 4,096, a multiple of the model's factor.
    pub height_px: Option<u32>,
    /// Denoising steps, 1 to 1,000.
    pub num_inference_steps: Option<u32>,
    /// Classifier-free guidance, 0 to 100; 1 or less is none.
    pub guidance_scale: Option<f64>,
    /// Seed of the first image; image i uses seed + i. `None` is a random one, reported in [`crate::Event::Started`].
    pub seed: Option<u64>,
    /// Another seed, part of whose noise there is; image i uses variation_seed + i and the same seed. `None` is a random one.
    pub variation_seed: Option<u64>,
    /// How far the noise is on the way to that seed's, 0 to 1.
    pub variation_strength: Option<f64>,
    /// Number of pictures, 1 to 10,000.
    pub num_images: Option<u32>,
    /// The solver, a name from [`crate::Client::samplers`].
    pub sampler: Option<String>,
    /// The list of noise levels, a name from [`crate::Client::samplers`].
    pub schedule: Option<String>,
    /// Layer of the text encoder counted from the last, 1 to 12.
    pub clip_skip: Option<u32>,
    /// Tokens that the prompt is cut and filled up to, 1 to 512; for models whose text encoder leaves that open.
    pub max_sequence_length: Option<u32>,
    /// How both prompts are read.
    pub prompt_syntax: PromptSyntax,
    /// Adapters that change what the model draws.
    pub loras: Vec<Lora>,
    /// ControlNets that steer what is drawn, each by a picture.
    pub controls: Vec<Control>,
    /// Names of styles in the daemon's config that the prompts are put into.
    pub styles: Vec<String>,
    /// Takes the prompts as they are: no choices, no lines of files, no styles.
    pub prompts_are_final: bool,
    /// Pictures that the model looks at beside the prompt, where it can.
    pub ref_images: Vec<ReferenceImage>,
    /// A picture to begin from, or to repaint in part.
    pub input: Option<ImageInput>,
    /// A second pass at a larger size.
    pub hires: Option<HiresFix>,
    /// Enlarges the picture of `input` instead of drawing one; then nothing else says what or how to draw.
    pub upscale: Option<Upscale>,
    /// Number format of the computation.
    pub precision: Precision,
    /// File format of the pictures.
    pub format: ImageFormat,
    /// Quality of a JPEG, 1 to 100.
    pub jpeg_quality: Option<u32>,
    /// Leaves prompt and settings out of the files.
    pub omit_metadata: bool,
    /// Sends a preview every so many steps; 0 sends none.
    pub preview_every_n_steps: u32,
    /// How urgent it is.
    pub priority: Priority,
    /// Your own name for the request, up to 64 characters of `[A-Za-z0-9_-]`.
    pub request_id: Option<String>,
    /// How long the model stays resident afterwards. `None` is the daemon's setting.
    pub keep_alive: Option<KeepAlive>,
    /// Gives up after this long, waiting included; up to 24 hours.
    pub timeout: Option<Duration>,
    /// Keeps nothing on disk, neither prompt nor picture. `None` is the daemon's setting.
    pub private: Option<bool>,
}

impl GenerateRequest {
    /// A request for one picture with the model's own settings.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            ..Self::default()
        }
    }
}

/// How long an idle model stays in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// This long after its last use; zero unloads it at once.
    For(Duration),
    /// Until it is unloaded by hand or the daemon ends.
    Forever,
}

impl From<KeepAlive> for prost_types::Duration {
    fn from(keep_alive: KeepAlive) -> Self {
        match keep_alive {
            KeepAlive::For(duration) => wire_duration(duration),
            KeepAlive::Forever => Self {
                seconds: -1,
                nanos: 0,
            },
        }
    }
}

impl From<GenerateRequest> for v1::GenerateRequest {
    fn from(request: GenerateRequest) -> Self {
        Self {
            prompt: request.prompt,
            negative_prompt: request.negative_prompt,
            model: request.model.unwrap_or_default(),
            model_config: request.model_config.unwrap_or_default(),
            model_parts: request.model_parts,
            width_px: request.width_px,
            height_px: request.height_px,
            num_inference_steps: request.num_inference_steps,
            guidance_scale: request.guidance_scale,
            seed: request.seed,
            variation_seed: request.variation_seed,
            variation_strength: request.variation_strength,
            num_images: request.num_images,
            sampler: request.sampler.unwrap_or_default(),
            schedule: request.schedule.unwrap_or_default(),
            clip_skip: request.clip_skip,
            max_sequence_length: request.max_sequence_length,
            prompt_syntax: request.prompt_syntax.into(),
            loras: request.loras,
            controls: request.controls,
            styles: request.styles,
            prompts_are_final: request.prompts_are_final,
            // The daemon's affair.
            embeddings: Vec::new(),
            ref_images: request.ref_images,
            input: request.input,
            hires: request.hires,
            upscale: request.upscale,
            precision: request.precision.into(),
            format: request.format.into(),
            jpeg_quality: request.jpeg_quality,
            omit_metadata: request.omit_metadata,
            preview_every_n_steps: request.preview_every_n_steps,
            priority: request.priority.into(),
            request_id: request.request_id.unwrap_or_default(),
            keep_alive: request.keep_alive.map(Into::into),
            timeout: request.timeout.map(wire_duration),
            private: request.private,
        }
    }
}

/// Durations beyond the wire's 10,000 years are cut to it.
fn wire_duration(duration: Duration) -> prost_types::Duration {
    const MAX_SECS: i64 = 315_576_000_000;
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).map_or(MAX_SECS, |secs| secs.min(MAX_SECS)),
        nanos: duration.subsec_nanos().cast_signed(),
    }
}
