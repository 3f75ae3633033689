//! A prompt through one CLIP text encoder with its tokenizer: what the families of Stable Diffusion share.

use candle_core::{Device, Tensor};

use super::ModelFiles;
use crate::{
    Error, Notice, Precision, Result,
    text::{
        clip::{ClipOutput, ClipTextModel, Config},
        tokenizer::Tokenizer,
    },
};

/// A text encoder and the tokenizer that feeds it.
pub(crate) struct ClipPrompt {
    tokenizer: Tokenizer,
    encoder: ClipTextModel,
    positions: usize,
    layers: u32,
}

/// What a text encoder's configuration says without its weights.
pub(crate) struct ClipShape {
    /// Positions of a prompt, begin and end included.
    pub(crate) positions: usize,
    /// Number of layers.
    pub(crate) layers: u32,
}

/// Reads the configuration of `encoder_part` and its tokenizer.
pub(crate) fn describe(
    files: &ModelFiles,
    tokenizer_part: &str,
    encoder_part: &str,
) -> Result<ClipShape> {
    let config: Config = files.config(encoder_part)?;
    let tokenizer = files.clip_tokenizer(tokenizer_part)?;
    shape(&tokenizer, &config)
}

/// A tokenizer may name more positions than the encoder has (or none at all); the smaller number holds.
fn shape(tokenizer: &Tokenizer, config: &Config) -> Result<ClipShape> {
    let layers = u32::try_from(config.num_hidden_layers)
        .map_err(|_too_large| Error::model("text encoder: `num_hidden_layers` is absurd"))?;
    Ok(ClipShape {
        positions: tokenizer
            .max_positions()
            .unwrap_or(config.max_position_embeddings)
            .min(config.max_position_embeddings),
        layers,
    })
}

impl ClipPrompt {
    /// Loads the encoder `encoder_part` and its tokenizer. `with_projection` is transformers'
    /// `CLIPTextModelWithProjection`.
    pub(crate) fn open(
        files: &ModelFiles,
        tokenizer_part: &str,
        encoder_part: &str,
        with_projection: bool,
        device: &Device,
        precision: Precision,
    ) -> Result<Self> {
        let config: Config = files.config(encoder_part)?;
        let tokenizer = files.clip_tokenizer(tokenizer_part)?;
        let ClipShape { positions, layers } = shape(&tokenizer, &config)?;
        let encoder = ClipTextModel::load(
            &files.loader(encoder_part, device, precision)?,
            &config,
            with_projection,
        )?;
        Ok(Self {
            tokenizer,
            encoder,
            positions,
            layers,
        })
    }

    /// Encodes `prompt`; says in `notices` what did not fit. `field` is the request's name of the prompt.
    pub(crate) fn encode(
        &self,
        prompt: &str,
        field: &'static str,
        notices: &mut Vec<Notice>,
    ) -> Result<ClipOutput> {
        let encoded = self
            .tokenizer
            .encode(prompt, self.positions)
            .map_err(|error| error.with_field(field))?;
        if let Some(cut) = &encoded.truncated {
            let notice = Notice::new(
                "prompt_truncated",
                field,
                format!(
                    "the text encoder reads {} tokens; this part of `{field}` was left out: {cut}",
                    self.positions - 2
                ),
            );
            // Two encoders with the same tokenizer cut the same words; the user hears of it once.
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
        self.encoder.forward(&encoded.ids)
    }

    /// The hidden state `clip_skip` layers from the end (1 is the last layer), without the final norm.
    pub(crate) fn hidden_state<'a>(
        &self,
        output: &'a ClipOutput,
        clip_skip: u32,
    ) -> Result<&'a Tensor> {
        let from_end = usize::try_from(clip_skip).unwrap_or(usize::MAX);
        output
            .hidden_states
            .len()
            .checked_sub(from_end)
            .filter(|_| clip_skip >= 1 && clip_skip <= self.layers)
            .and_then(|index| output.hidden_states.get(index))
            .ok_or_else(|| clip_skip_error(clip_skip, self.layers))
    }

    /// The encoder's final norm, for hidden states that are used in place of its output.
    pub(crate) fn final_layer_norm(&self, hidden_state: &Tensor) -> Result<Tensor> {
        self.encoder.final_layer_norm(hidden_state)
    }
}

/// `clip_skip` counts a layer that is not there.
pub(crate) fn clip_skip_error(clip_skip: u32, layers: u32) -> Error {
    Error::invalid(
        "clip_skip",
        format!("`clip_skip` is {clip_skip}, but the text encoder has {layers} layers"),
    )
    .with_hint(format!("give 1 (last layer) to {layers}"))
}
