//! A prompt through a T5 encoder with its tokenizer: what the families with such an encoder share.

use candle_core::{Device, Tensor};

use super::ModelFiles;
use crate::{
    Notice, Precision, Result,
    text::{
        json_tokenizer::JsonTokenizer,
        t5::{Config, T5EncoderModel},
    },
};

/// A text encoder and the tokenizer that feeds it.
pub(super) struct T5Prompt {
    tokenizer: JsonTokenizer,
    encoder: T5EncoderModel,
}

impl T5Prompt {
    /// Loads the encoder `encoder_part` and its tokenizer.
    pub(super) fn open(
        files: &ModelFiles,
        tokenizer_part: &str,
        encoder_part: &str,
        device: &Device,
        precision: Precision,
    ) -> Result<Self> {
        let config: Config = files.config(encoder_part)?;
        Ok(Self {
            tokenizer: JsonTokenizer::open(files.source(), tokenizer_part, "<pad>")?,
            encoder: T5EncoderModel::load(
                &files.loader(encoder_part, device, precision)?,
                &config,
            )?,
        })
    }

    /// Encodes `prompt`, cut and filled up to `positions` tokens: `(1, positions, d_model)`. Says in `notices` what did
    /// not fit.
    pub(super) fn encode(
        &self,
        prompt: &str,
        field: &'static str,
        positions: usize,
        notices: &mut Vec<Notice>,
    ) -> Result<Tensor> {
        let encoded = self
            .tokenizer
            .encode(prompt, positions)
            .map_err(|error| error.with_field(field))?;
        if encoded.is_truncated {
            notices.push(truncated(field, positions));
        }
        self.encoder.forward(&encoded.ids)
    }
}

/// The notice of a prompt whose end found no place.
pub(super) fn truncated(field: &'static str, positions: usize) -> Notice {
    Notice::new(
        "prompt_truncated",
        field,
        format!(
            "`{field}` is longer than the {positions} tokens (`max_sequence_length`) that the text encoder is given; \
             its end was left out"
        ),
    )
}
