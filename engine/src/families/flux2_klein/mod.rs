//! FLUX.2 klein (4B and 9B): three of Qwen3's layers, a transformer, an autoencoder whose patches are normalised.
//!
//! Source: diffusers `Flux2KleinPipeline`.

mod single_file;

use candle_core::{Device, Tensor};
use serde_json::Value;

use super::{
    Autoencoder, Conditioning, Description, EncodedPrompt, Family, FamilyEntry, LatentShape,
    ModelFiles, NetworkInput, PromptPair, autoencoder,
    defaults::{Course, with_course},
    groups::{self, Patching},
    patches::Patches,
    qwen_prompt::QwenPrompt,
};
use crate::{
    Error, Notice, Result,
    denoise::flux2::{Config, Flux2Transformer2DModel, Place},
    request::{Guidance, Precision},
    sampling::{DynamicShift, Flow, FlowLevels, SchedulerConfig},
};

pub(super) const ENTRY: FamilyEntry = FamilyEntry {
    name: "flux2_klein",
    pipeline_classes: &["Flux2KleinPipeline"],
    weighted_parts: &["text_encoder", "transformer", "vae"],
    optional_parts: &[],
    ref_images: REF_IMAGES,
    preview_decoder: Some("taef2"),
    single_file: Some(single_file::SINGLE_FILE),
    originals: single_file::originals,
    describe,
    scheduler,
    open,
};

/// Layers of the text encoder whose hidden states the transformer takes side by side.
const LAYERS: [usize; 3] = [9, 18, 27];
/// Tokens that a prompt is filled up to.
const PROMPT_TOKENS: usize = 512;
/// Side of the default picture in the autoencoder's latents.
const DEFAULT_LATENTS: u32 = 128;
/// Latents of the autoencoder on a side of one of the sampler's.
const PATCH: u32 = 2;

/// Pictures that are looked at, at most: what the authors' service takes. diffusers takes any number.
const REF_IMAGES: u32 = 4;
/// From the place of one picture to that of the next; the new one is at 0.
const PICTURE_PLACES: usize = 10;

const BASE: Course = Course {
    steps: 50,
    guidance: 4.0,
};
const DISTILLED: Course = Course {
    steps: 4,
    guidance: 1.0,
};

fn is_distilled(files: &ModelFiles) -> bool {
    files
        .index_value("is_distilled")
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

fn describe(files: &ModelFiles) -> Result<Description> {
    let sizes = autoencoder::sizes(files)?;
    let side = DEFAULT_LATENTS * sizes.scale_factor;
    let (guidance, course) = if is_distilled(files) {
        (Guidance::None, DISTILLED)
    } else {
        (Guidance::ClassifierFree, BASE)
    };
    Ok(Description {
        size_multiple_px: sizes.scale_factor * PATCH,
        prompt_positions: PROMPT_TOKENS,
        repaints: false,
        prompt_positions_limit: Some(PROMPT_TOKENS),
        guidance,
        defaults: with_course(files, [course, course], [side, side], 1)?,
        has_controls: false,
        prompt_has_grammar: false,
        clip_layers: 1,
        working_bytes_per_pixel: sizes.working_bytes_per_pixel,
    })
}

fn scheduler(files: &ModelFiles) -> Result<SchedulerConfig> {
    Ok(files.scheduler_config()?.with_flow(Flow {
        pixels_per_token: autoencoder::sizes(files)?.scale_factor * PATCH,
        levels: FlowLevels::ToLastStep,
        shift: DynamicShift::Empirical,
    }))
}

fn open(files: &ModelFiles, device: &Device, precision: Precision) -> Result<Box<dyn Family>> {
    let config: Config = files.config("transformer")?;
    let autoencoder = Autoencoder::open(files, device, precision)?;
    let channels = autoencoder.latent_shape(64, 64).channels;
    if config.in_channels != channels || config.out_channels() != channels {
        return Err(Error::model(format!(
            "transformer/config.json: `in_channels` is {}, and patches of the autoencoder's latents have {channels}",
            config.in_channels
        )));
    }
    Ok(Box::new(Flux2Klein {
        text: QwenPrompt::open(
            files,
            &files.config("text_encoder")?,
            &LAYERS,
            device,
            precision,
        )?,
        transformer: Flux2Transformer2DModel::load(
            &files.loader("transformer", device, precision)?,
            &config,
        )?,
        autoencoder,
    }))
}

struct Flux2Klein {
    text: QwenPrompt,
    transformer: Flux2Transformer2DModel,
    autoencoder: Autoencoder,
}

impl Flux2Klein {
    /// The three layers side by side, padding among the tokens.
    fn encode_one(
        &self,
        words: &str,
        field: &'static str,
        positions: usize,
        notices: &mut Vec<Notice>,
    ) -> Result<Conditioning> {
        let encoded = self.text.encode(words, field, false, positions, notices)?;
        let layers: Vec<&Tensor> = encoded.states.iter().collect();
        Ok(Conditioning::of_text(Tensor::cat(&layers, 2)?))
    }
}

impl Family for Flux2Klein {
    fn autoencoder(&self) -> &Autoencoder {
        &self.autoencoder
    }

    fn encode(&self, prompt: &PromptPair<'_>) -> Result<EncodedPrompt> {
        let positions = prompt.max_sequence_length;
        EncodedPrompt::of_both_sides(prompt, |words, field, notices| {
            self.encode_one(words, field, positions, notices)
        })
    }

    fn evaluate(&self, shape: LatentShape, inputs: &[NetworkInput<'_>]) -> Result<Vec<Vec<f32>>> {
        // The sampler's latents are patches already.
        let patching = Patching {
            patch: 1,
            order_in: Patches::ChannelsInside,
            order_out: Patches::ChannelsInside,
        };
        groups::evaluate(shape, inputs, patching, |stacked| {
            let times: Vec<f64> = stacked.timesteps.iter().map(|t| t / 1000.0).collect();
            let grids = [stacked.grid].into_iter().chain(stacked.reference_grids());
            let places: Vec<Place> = grids
                .enumerate()
                .flat_map(|(picture, (rows, columns))| {
                    let place = move |at| [picture * PICTURE_PLACES, at / columns, at % columns];
                    (0..rows * columns).map(place)
                })
                .collect();
            let tokens = stacked.with_references()?;
            let output =
                self.transformer
                    .forward(&tokens, &places, &times, &stacked.prompt_embeds)?;
            Ok(output.narrow(1, 0, stacked.tokens.dim(1)?)?)
        })
    }
}
