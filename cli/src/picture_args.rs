//! What a picture is made with, as flags: shared by every verb that makes pictures.

use clap::Args;
use imgd_client::{
    Control, GenerateRequest, HiresFix, ImageFormat, ImageInput, Lora, ModelPart, ReferenceImage,
};
use imgd_proto::limits;

use crate::{
    borders::{self, Borders},
    control_arg::control,
    numbers::{self, Size},
    output::Format,
    picture_file::{self, PictureFile},
};

/// The settings of the drawing.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Picture")]
pub(crate) struct PictureArgs {
    /// Model: a name from `imgctl models`, a diffusers folder, or a safetensors or GGUF file [default: the daemon's]
    #[arg(long, short, value_name = "NAME|PATH")]
    pub(crate) model: Option<String>,
    /// Diffusers folder with what a single file lacks: configuration, tokenizers, text encoders, autoencoder
    #[arg(long, value_name = "DIR", requires = "model")]
    pub(crate) config: Option<String>,
    /// A part's weights from a file of its own, safetensors or GGUF, or the name of one that another program has: vae=FILE, transformer=FILE, text_encoder_2=NAME…; may be repeated
    #[arg(long = "part", value_name = "PART=NAME|FILE", value_parser = part)]
    pub(crate) parts: Vec<ModelPart>,
    /// The autoencoder's weights from a file of its own, TAESD's as well; short for --part vae=FILE
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) vae: Option<String>,
    /// What to avoid; "" is an empty text, which for some models is not the same as none
    #[arg(long, value_name = "TEXT")]
    pub(crate) negative_prompt: Option<String>,
    /// Width in pixels, 8 to 4096, a multiple of 8 [default: the model's]
    #[arg(long, value_name = "PX", value_parser = numbers::whole(&limits::WIDTH_PX), allow_hyphen_values = true)]
    pub(crate) width: Option<u32>,
    /// Height in pixels, 8 to 4096, a multiple of 8 [default: the model's]
    #[arg(long, value_name = "PX", value_parser = numbers::whole(&limits::HEIGHT_PX), allow_hyphen_values = true)]
    pub(crate) height: Option<u32>,
    /// Width and height in pixels at once
    #[arg(long, value_name = "WxH", value_parser = numbers::size, conflicts_with_all = ["width", "height"], allow_hyphen_values = true)]
    pub(crate) size: Option<Size>,
    /// Denoising steps, 1 to 1000 [default: the model's] [alias: --steps]
    #[arg(long, alias = "steps", value_name = "N", value_parser = numbers::whole(&limits::NUM_INFERENCE_STEPS), allow_hyphen_values = true)]
    pub(crate) num_inference_steps: Option<u32>,
    /// Classifier-free guidance, 0 to 100; 1 or less is none [default: the model's] [alias: --cfg]
    #[arg(long, alias = "cfg", value_name = "X", value_parser = numbers::number(&limits::GUIDANCE_SCALE), allow_hyphen_values = true)]
    pub(crate) guidance_scale: Option<f64>,
    /// Seed of the noise, 0 to 2^64-1; further pictures use the next ones [default: random]
    #[arg(long, short, value_name = "N", value_parser = numbers::seed, allow_hyphen_values = true)]
    pub(crate) seed: Option<u64>,
    /// How much each picture has of another seed's noise, 0 to 1: 0.1 changes details, 1 is the other seed; all pictures share --seed
    #[arg(long, value_name = "X", value_parser = numbers::number(&limits::VARIATION_STRENGTH), allow_hyphen_values = true)]
    pub(crate) variation_strength: Option<f64>,
    /// That other seed, with --variation-strength; further pictures use the next ones [default: random]
    #[arg(long, value_name = "N", value_parser = numbers::seed, allow_hyphen_values = true)]
    pub(crate) variation_seed: Option<u64>,
    /// Number of pictures, 1 to 10000 [default: 1]
    #[arg(long, short, value_name = "N", value_parser = numbers::whole(&limits::NUM_IMAGES), allow_hyphen_values = true)]
    pub(crate) num_images: Option<u32>,
    /// Solver: a name from `imgctl samplers` [default: the model's]
    #[arg(long, value_name = "NAME")]
    pub(crate) sampler: Option<String>,
    /// Noise levels: a name from `imgctl samplers` [default: the model's]
    #[arg(long, value_name = "NAME")]
    pub(crate) schedule: Option<String>,
    /// Text encoder layer, counted from the last: 1 last, 2 the one before; 1 to 12 [default: the model's]
    #[arg(long, value_name = "N", value_parser = numbers::whole(&limits::CLIP_SKIP), allow_hyphen_values = true)]
    pub(crate) clip_skip: Option<u32>,
    /// Tokens that the prompt is cut and filled up to, 1 to 512, where the model leaves that open [default: the model's]
    #[arg(long, value_name = "N", value_parser = numbers::whole(&limits::MAX_SEQUENCE_LENGTH), allow_hyphen_values = true)]
    pub(crate) max_sequence_length: Option<u32>,
    /// Picture to begin from: PNG, JPEG or WebP; its size is the new picture's where no flag says otherwise
    #[arg(long, value_name = "FILE", value_parser = picture_file::file(&limits::INIT_IMAGE))]
    pub(crate) init_image: Option<PictureFile>,
    /// How much is made anew, 0 to 1: 0.3 changes details, 1 keeps nothing [default: 0.75, with --mask or --extend 1]
    #[arg(long, value_name = "X", value_parser = numbers::number(&limits::STRENGTH), requires = "init_image", allow_hyphen_values = true)]
    pub(crate) strength: Option<f64>,
    /// Picture that is white where --init-image is repainted and black where it is kept
    #[arg(long, value_name = "FILE", value_parser = picture_file::file(&limits::MASK), requires = "init_image")]
    pub(crate) mask: Option<PictureFile>,
    /// Soften --mask by so many pixels, 0 to 256: then --init-image lies over what is drawn, and keeps its pixels where the mask is black [default: 0]
    #[arg(long, value_name = "PX", value_parser = numbers::whole(&limits::MASK_BLUR_PX), requires = "mask", allow_hyphen_values = true)]
    pub(crate) mask_blur: Option<u32>,
    /// Draw only what is masked, and so many pixels around it, in full size, and lay it back; the picture keeps its own size [default padding: 32]
    #[arg(long, value_name = "PADDING", num_args = 0..=1, require_equals = true, default_missing_value = "32", value_parser = numbers::whole(&limits::ONLY_MASKED_PADDING_PX), requires = "init_image")]
    pub(crate) only_masked: Option<u32>,
    /// Extend --init-image by so many pixels: on all sides, or left=128,right=64,top=0,bottom=32
    #[arg(long, value_name = "PX|SIDE=PX,...", value_parser = borders::borders, requires = "init_image")]
    pub(crate) extend: Option<Borders>,
    /// Enlarge the picture's latents by so much and refine it in a second pass, 1.1 to 4: --width and --height are those of the first pass, and each side of the picture is rounded down to what the model can draw
    #[arg(long, value_name = "X", value_parser = numbers::number(&limits::HIRES_SCALE), allow_hyphen_values = true)]
    pub(crate) hires_scale: Option<f64>,
    /// How much the second pass makes anew, 0 to 1: 0.3 changes details, 1 keeps nothing of the first [default: 0.7]
    #[arg(long, value_name = "X", value_parser = numbers::number(&limits::HIRES_STRENGTH), requires = "hires_scale", allow_hyphen_values = true)]
    pub(crate) hires_strength: Option<f64>,
    /// Denoising steps of the second pass, 1 to 1000, of which it makes the last --hires-strength [default: as many as the first pass]
    #[arg(long, value_name = "N", value_parser = numbers::whole(&limits::HIRES_STEPS), requires = "hires_scale", allow_hyphen_values = true)]
    pub(crate) hires_steps: Option<u32>,
    /// How prompts are read: a1111 knows weights, `(word:1.2)` and `[word]`, BREAK and names of embeddings, and cuts nothing off; plain takes them as they are [default: a1111 where the model can]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "a1111|plain"
    )]
    pub(crate) prompt_syntax: Option<PromptSyntax>,
    /// LoRA, LoHa or LoKr and how strong it is, -10 to 10: a name in the daemon's folder of LoRAs or another program's, or a file; may be repeated [default weight: 1]
    #[arg(long = "lora", value_name = "NAME|FILE[:WEIGHT]", value_parser = lora)]
    pub(crate) loras: Vec<Lora>,
    /// ControlNet and the picture that steers what is drawn: the net is a name in the daemon's folder of ControlNets or another program's, a file or a diffusers folder. The picture is a map that the net was trained with; `canny` makes one of its edges, `canny=LOW:HIGH` with other thresholds than 100:200. WEIGHT is -10 to 10, START and END are shares of the steps, 0 to 1. May be repeated
    #[arg(
        long = "control",
        value_name = "NET=IMAGE[,canny][,weight=WEIGHT][,start=START][,end=END]",
        value_parser = control
    )]
    pub(crate) controls: Vec<Control>,
    /// Style that the prompts are put into: a name in `[styles]` of the daemon's config; may be repeated
    #[arg(long = "style", value_name = "NAME")]
    pub(crate) styles: Vec<String>,
    /// Picture to look at beside the prompt, as in "make it night" or "the cat of the first picture in the room of the second": PNG, JPEG or WebP; the first one's size is the new picture's where no flag says otherwise. For models that can, FLUX.2 klein. May be repeated, up to 4 times
    #[arg(
        long = "ref-image",
        value_name = "FILE",
        value_parser = picture_file::file(&limits::REF_IMAGE),
        conflicts_with = "init_image"
    )]
    pub(crate) ref_images: Vec<PictureFile>,
    /// Number format of the computation [default: auto]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "auto|f32|bf16"
    )]
    pub(crate) precision: Option<Precision>,
}

impl PictureArgs {
    /// The parts that have files of their own.
    fn model_parts(&self) -> Vec<ModelPart> {
        let vae = self.vae.as_deref().map(|file| ModelPart {
            part: "vae".to_owned(),
            file: model_name(file),
        });
        self.parts.iter().cloned().chain(vae).collect()
    }

    /// A request for this drawing; what no flag names is the model's, and the number of pictures is left open.
    pub(crate) fn request(&self, prompt: &str) -> GenerateRequest {
        GenerateRequest {
            prompt: prompt.to_owned(),
            negative_prompt: self.negative_prompt.clone(),
            model: self.model.as_deref().map(model_name),
            model_config: self.config.as_deref().map(absolute),
            model_parts: self.model_parts(),
            width_px: self.size.map(|size| size.width_px).or(self.width),
            height_px: self.size.map(|size| size.height_px).or(self.height),
            num_inference_steps: self.num_inference_steps,
            guidance_scale: self.guidance_scale,
            seed: self.seed,
            variation_seed: self.variation_seed,
            variation_strength: self.variation_strength,
            num_images: self.num_images,
            sampler: self.sampler.clone(),
            schedule: self.schedule.clone(),
            clip_skip: self.clip_skip,
            max_sequence_length: self.max_sequence_length,
            prompt_syntax: syntax(self.prompt_syntax),
            loras: self.loras.clone(),
            controls: self.controls.clone(),
            styles: self.styles.clone(),
            ref_images: self.ref_images.iter().map(reference).collect(),
            input: self.init_image.as_ref().map(|image| ImageInput {
                init_image: image.bytes.clone().into(),
                mask: self
                    .mask
                    .as_ref()
                    .map(|mask| mask.bytes.clone().into())
                    .unwrap_or_default(),
                strength: self.strength,
                mask_blur_px: self.mask_blur,
                only_masked_padding_px: self.only_masked,
                ..self.extend.unwrap_or_default().input()
            }),
            hires: self.hires_scale.map(|hires_scale| HiresFix {
                hires_scale,
                hires_strength: self.hires_strength,
                hires_steps: self.hires_steps,
            }),
            precision: self.precision.unwrap_or(Precision::Auto).into(),
            ..GenerateRequest::default()
        }
    }
}

/// A picture to look at.
pub(crate) fn reference(file: &PictureFile) -> ReferenceImage {
    ReferenceImage {
        ref_image: file.bytes.clone().into(),
    }
}

/// A part of a model and its file, as `vae=FILE`.
pub(crate) fn part(argument: &str) -> Result<ModelPart, String> {
    let (part, file) = argument
        .split_once('=')
        .filter(|(part, file)| !part.is_empty() && !file.is_empty())
        .ok_or("give a part and its file, as in `vae=model.safetensors`")?;
    Ok(ModelPart {
        part: part.to_owned(),
        file: model_name(file),
    })
}

/// An adapter as `NAME`, `NAME:0.8` or the path of its file.
pub(crate) fn lora(argument: &str) -> Result<Lora, String> {
    let (name, weight) = match argument.rsplit_once(':') {
        Some((name, weight)) => (name, Some(numbers::number(&limits::WEIGHT)(weight)?)),
        None => (argument, None),
    };
    if name.is_empty() {
        return Err("it has no name before the weight".to_owned());
    }
    Ok(Lora {
        lora: model_name(name),
        weight,
    })
}

/// The settings of the file.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct FileArgs {
    /// File format [default: the output's extension, else png]
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        hide_possible_values = true,
        value_name = "png|jpeg|webp"
    )]
    pub(crate) format: Option<Format>,
    /// Quality of a JPEG, 1 to 100 [default: 95]
    #[arg(long, value_name = "N", value_parser = numbers::whole(&limits::JPEG_QUALITY), allow_hyphen_values = true)]
    pub(crate) jpeg_quality: Option<u32>,
    /// Leave prompt and settings out of the file
    #[arg(long)]
    pub(crate) no_metadata: bool,
}

impl FileArgs {
    /// Puts the settings into a request whose format is `format`.
    pub(crate) fn fill(&self, request: &mut GenerateRequest, format: ImageFormat) {
        request.format = format;
        request.jpeg_quality = self.jpeg_quality;
        request.omit_metadata = self.no_metadata;
    }
}

/// `--precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Precision {
    /// The fastest mix that keeps the picture
    Auto,
    /// float32 throughout: the reference's numbers
    F32,
    /// Products of bf16 numbers, summed in float32
    Bf16,
}

impl From<Precision> for imgd_client::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Auto => Self::Auto,
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

/// `--prompt-syntax`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PromptSyntax {
    /// With weights, in parts
    A1111,
    /// As they are
    Plain,
}

/// The contract's word; the model's way where there is none.
pub(crate) fn syntax(own: Option<PromptSyntax>) -> imgd_client::PromptSyntax {
    match own {
        None => imgd_client::PromptSyntax::Unspecified,
        Some(PromptSyntax::A1111) => imgd_client::PromptSyntax::A1111,
        Some(PromptSyntax::Plain) => imgd_client::PromptSyntax::Plain,
    }
}

/// `--priority`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Priority {
    /// A person is waiting
    Interactive,
    /// A script is waiting
    Batch,
    /// Nobody is waiting
    Background,
}

impl From<Priority> for imgd_client::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Interactive => Self::Interactive,
            Priority::Batch => Self::Batch,
            Priority::Background => Self::Background,
        }
    }
}

/// What a model argument means to the daemon: a folder's absolute path, or a name as it is.
///
/// A folder or file is what exists as one, or begins with `/`, `./`, `../`; `org/name` may be a name from the config.
pub(crate) fn model_name(argument: &str) -> String {
    let is_path = argument.starts_with(['/', '.']) || std::path::Path::new(argument).exists();
    if is_path {
        absolute(argument)
    } else {
        argument.to_owned()
    }
}

/// An absolute path, as the daemon takes it.
pub(crate) fn absolute(argument: &str) -> String {
    let absolute = std::path::absolute(argument).ok();
    match absolute.as_deref().and_then(std::path::Path::to_str) {
        Some(path) => path.to_owned(),
        None => argument.to_owned(),
    }
}
