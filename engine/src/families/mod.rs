//! The families of models: which parts a model has, how they are put together, what it defaults to.
//!
//! THE LIST is [`FAMILIES`]. A family lives in its own folder and is named nowhere else; what several families do identically
//! is in files beside them: [`autoencoder`], [`latent_diffusion`], [`patches`], [`groups`] and the prompts of one kind of text
//! encoder.

mod autoencoder;
mod clip_parts;
mod clip_prompt;
mod clip_symbols;
mod decoding;
mod defaults;
mod files;
mod flux;
mod flux2_klein;
mod groups;
mod known_preview;
mod latent_diffusion;
mod normalisation;
mod part_file;
mod patches;
mod preview;
mod qwen_image;
mod qwen_prompt;
pub mod recognise;
mod sd;
mod sd3;
mod sdxl;
mod single_file;
mod t5_prompt;
mod tiny_autoencoder;
mod tiny_preview;
mod z_image;

use candle_core::Tensor;

pub use self::files::Progress;
pub(crate) use self::{
    autoencoder::{Autoencoder, LatentShape},
    clip_prompt::clip_skip_error,
    decoding::Decoding,
    defaults::Defaults,
    files::ModelFiles,
    preview::PreviewMap,
    single_file::{Convention, Parts, SingleFile},
    tiny_preview::PreviewDecoder,
};
use crate::{
    Error, Notice, Result,
    adapters::Original,
    controls::Acting,
    denoise::unet_2d_condition::{self, AddedConditioning},
    embeddings::{Embeddings, Reading, Slot},
    references::{self, Reference},
    request::{Guidance, Precision, PromptSyntax},
    sampling::SchedulerConfig,
};

/// THE LIST of families.
const FAMILIES: &[FamilyEntry] = &[
    sd::ENTRY,
    sdxl::ENTRY,
    sd3::ENTRY,
    flux::ENTRY,
    flux2_klein::ENTRY,
    z_image::ENTRY,
    qwen_image::ENTRY,
];

/// One line of the list.
pub(crate) struct FamilyEntry {
    /// The short name in messages and metadata.
    pub(crate) name: &'static str,
    /// diffusers' pipeline classes that make pictures of this family, as `model_index.json` names them.
    pub(crate) pipeline_classes: &'static [&'static str],
    /// The parts that have weights, in the order of data.
    pub(crate) weighted_parts: &'static [&'static str],
    /// Parts that a model may lack.
    pub(crate) optional_parts: &'static [&'static str],
    /// Pictures that a model of it looks at beside the prompt, at most.
    pub(crate) ref_images: u32,
    /// The name that the tiny autoencoder of its latents goes by, as in ComfyUI's `taesd_decoder.safetensors`; `None` where there is
    /// none.
    pub(crate) preview_decoder: Option<&'static str>,
    /// How single files of the family are read; `None` where they are not.
    pub(crate) single_file: Option<SingleFile>,
    /// What single files and their adapters call the layers of the network; gets the names that the checkpoint has.
    pub(crate) originals: fn(&[&str]) -> Vec<Original>,
    /// Reads configuration only.
    pub(crate) describe: fn(&ModelFiles) -> Result<Description>,
    /// The scheduler configuration as diffusers' pipeline holds it.
    pub(crate) scheduler: fn(&ModelFiles) -> Result<SchedulerConfig>,
    /// Loads the weights.
    pub(crate) open: fn(&ModelFiles, &candle_core::Device, Precision) -> Result<Box<dyn Family>>,
}

/// What a family says of a model from its configuration alone.
pub(crate) struct Description {
    /// Width and height must be multiples of this, in pixels.
    pub(crate) size_multiple_px: u32,
    /// Text encoder positions a prompt may take, begin and end included; a request may name others up to the limit, where
    /// there is one.
    pub(crate) prompt_positions: usize,
    /// Most positions that a request may name.
    pub(crate) prompt_positions_limit: Option<usize>,
    /// Whether the network repaints a part of a picture, and needs both.
    pub(crate) repaints: bool,
    /// Whether there are ControlNets for it.
    pub(crate) has_controls: bool,
    /// What a guidance scale does.
    pub(crate) guidance: Guidance,
    /// What a request gets that names nothing.
    pub(crate) defaults: Defaults,
    /// Whether prompts may have weights and parts.
    pub(crate) prompt_has_grammar: bool,
    /// Layers that `clip_skip` may count.
    pub(crate) clip_layers: u32,
    /// Memory that a picture takes besides the weights, in bytes for each of its pixels.
    pub(crate) working_bytes_per_pixel: u64,
}

/// A loaded model of some family.
pub(crate) trait Family: Send + Sync {
    /// What stands between its latents and pictures.
    fn autoencoder(&self) -> &Autoencoder;

    /// The text encoders that embeddings hold vectors for; none where the family takes none.
    fn embedding_slots(&self) -> Result<Vec<Slot>> {
        Ok(Vec::new())
    }

    /// Text to conditioning.
    fn encode(&self, prompt: &PromptPair<'_>) -> Result<EncodedPrompt>;

    /// The same conditioning for a picture of another size.
    fn at_size(
        &self,
        conditioning: &Conditioning,
        _width_px: u32,
        _height_px: u32,
    ) -> Result<Conditioning> {
        Ok(conditioning.clone())
    }

    /// The UNet that ControlNets are copies of; `None` where the family has none.
    fn controlled(&self) -> Option<&unet_2d_condition::Config> {
        None
    }

    /// What the pipeline does to the answer `guided` that became of those with and without the prompt; `conditional` is the
    /// former.
    fn after_guidance(&self, _shape: LatentShape, _guided: &mut [f32], _conditional: &[f32]) {}

    /// One evaluation of the network for several inputs of one latent shape; one output for each, in order.
    fn evaluate(&self, shape: LatentShape, inputs: &[NetworkInput<'_>]) -> Result<Vec<Vec<f32>>>;
}

/// The words of a request with what decides how they are encoded.
pub(crate) struct PromptPair<'a> {
    pub(crate) prompt: &'a str,
    pub(crate) negative_prompt: Option<&'a str>,
    /// Whether the negative side is needed at all.
    pub(crate) guided: bool,
    /// How both are read.
    pub(crate) syntax: PromptSyntax,
    /// What words of both stand for.
    pub(crate) embeddings: &'a Embeddings,
    /// Layer counted from the last, 1 the last; `None` is the family's own way.
    pub(crate) clip_skip: Option<u32>,
    /// For networks that are told.
    pub(crate) guidance_scale: f64,
    /// Tokens that a prompt is cut and filled up to, where the family's text encoder has no length of its own.
    pub(crate) max_sequence_length: usize,
    pub(crate) width_px: u32,
    pub(crate) height_px: u32,
}

impl<'a> PromptPair<'a> {
    /// How the text encoder `slot` reads both.
    pub(crate) fn reading(&self, slot: usize) -> Reading<'a> {
        Reading {
            syntax: self.syntax,
            embeddings: self.embeddings,
            slot,
        }
    }
}

/// The conditioning of one side of a request.
#[derive(Clone)]
pub(crate) struct Conditioning {
    /// `(1, tokens, width)`.
    pub(crate) prompt_embeds: Tensor,
    /// Pooled text and size ids, where a UNet takes them.
    pub(crate) added: Option<AddedConditioning>,
    /// `(1, width)`: pooled text, where a transformer takes it.
    pub(crate) pooled_prompt_embeds: Option<Tensor>,
    /// Guidance that the network is told.
    pub(crate) guidance: Option<f64>,
}

impl Conditioning {
    /// Of text alone: `(1, tokens, width)`.
    pub(crate) fn of_text(prompt_embeds: Tensor) -> Self {
        Self {
            prompt_embeds,
            added: None,
            pooled_prompt_embeds: None,
            guidance: None,
        }
    }
}

/// The conditioning of a request.
pub(crate) struct EncodedPrompt {
    pub(crate) positive: Conditioning,
    /// There when guided.
    pub(crate) negative: Option<Conditioning>,
    pub(crate) notices: Vec<Notice>,
}

impl EncodedPrompt {
    /// Both sides of a request that are encoded the same way. `encode` gets words, the request's name of them, and where to
    /// say what the user should know; an absent negative prompt is an empty one.
    pub(crate) fn of_both_sides(
        prompt: &PromptPair<'_>,
        mut encode: impl FnMut(&str, &'static str, &mut Vec<Notice>) -> Result<Conditioning>,
    ) -> Result<Self> {
        let mut notices = Vec::new();
        let positive = encode(prompt.prompt, "prompt", &mut notices)?;
        let negative = if prompt.guided {
            let words = prompt.negative_prompt.unwrap_or_default();
            Some(encode(words, "negative_prompt", &mut notices)?)
        } else {
            None
        };
        Ok(Self {
            positive,
            negative,
            notices,
        })
    }
}

/// What the network gets for one element of a batch.
pub(crate) struct NetworkInput<'a> {
    /// Scaled latents, channels last.
    pub(crate) sample: &'a [f32],
    pub(crate) timestep: f64,
    pub(crate) conditioning: &'a Conditioning,
    /// What a network that repaints takes beside each latent.
    pub(crate) beside: Option<&'a [f32]>,
    /// Pictures to look at; none where [`FamilyEntry::ref_images`] is 0.
    pub(crate) references: &'a [Reference],
    /// The ControlNets that act in this evaluation; none where [`Family::controlled`] is none.
    pub(crate) controls: &'a [Acting<'a>],
}

/// Finds the family of a model by the class in its `model_index.json`.
pub(crate) fn find(pipeline_class: &str) -> Result<&'static FamilyEntry> {
    if let Some(entry) = FAMILIES
        .iter()
        .find(|entry| entry.pipeline_classes.contains(&pipeline_class))
    {
        return Ok(entry);
    }
    let known: Vec<&str> = FAMILIES
        .iter()
        .flat_map(|entry| entry.pipeline_classes)
        .copied()
        .collect();
    Err(Error::model(format!(
        "model_index.json: pipeline class `{pipeline_class}` is not supported"
    ))
    .with_hint(format!("supported are {}", known.join(", "))))
}

/// The failure of a request with pictures to look at, whose model looks at none.
pub(crate) fn looks_at_none() -> Error {
    let looking = FAMILIES.iter().filter(|entry| entry.ref_images > 0);
    let names: Vec<&str> = looking.map(|entry| entry.name).collect();
    let field = references::FIELD;
    let message = format!("{field} is set, but this model looks at no pictures");
    Error::invalid(field, message).with_hint(format!(
        "models of these families do: {}; any can begin from a picture, which is `init_image`",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_class_belongs_to_one_family() {
        let mut classes: Vec<&str> = FAMILIES
            .iter()
            .flat_map(|entry| entry.pipeline_classes)
            .copied()
            .collect();
        let count = classes.len();
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), count);
        assert!(
            find("LuminaPipeline")
                .err()
                .unwrap()
                .hint()
                .unwrap()
                .contains("StableDiffusionPipeline")
        );
    }
}
