//! A prompt as a message to Qwen3, and what its layers make of it: what the families with such a text encoder share.

use candle_core::{Device, Tensor};

use super::{ModelFiles, t5_prompt::truncated};
use crate::{
    Error, Notice, Precision, Result,
    text::{
        json_tokenizer::JsonTokenizer,
        qwen3::{Config, Qwen3Model},
    },
};

/// What stands around a prompt in Qwen3's chat template, for one message of a user.
const BEFORE: &str = "<|im_start|>user\n";
const AFTER: &str = "<|im_end|>\n<|im_start|>assistant\n";
/// What the template adds when the model shall not think first.
const NO_THINKING: &str = "<think>\n\n</think>\n\n";
/// Fills up prompts where the tokenizer's files name nothing.
const PADDING: &str = "<|endoftext|>";

/// A text encoder and the tokenizer that feeds it.
pub(super) struct QwenPrompt {
    tokenizer: JsonTokenizer,
    encoder: Qwen3Model,
    /// Hidden states that are read, counted as transformers does.
    layers: Vec<usize>,
}

/// A prompt's hidden states.
pub(super) struct QwenStates {
    /// One for each layer that is read, `(1, positions, hidden_size)`.
    pub(super) states: Vec<Tensor>,
    /// Tokens that are no padding.
    pub(super) token_count: usize,
}

/// Layers of the encoder `part`.
pub(super) fn layer_count(files: &ModelFiles, part: &str) -> Result<usize> {
    let config: Config = files.config(part)?;
    Ok(config.num_hidden_layers)
}

impl QwenPrompt {
    /// Loads the layers that `layers` needs, and the tokenizer.
    pub(super) fn open(
        files: &ModelFiles,
        layers: &[usize],
        device: &Device,
        precision: Precision,
    ) -> Result<Self> {
        let config: Config = files.config("text_encoder")?;
        let deepest = layers
            .iter()
            .copied()
            .max()
            .ok_or_else(|| Error::internal("a text encoder that nobody reads"))?;
        Ok(Self {
            tokenizer: JsonTokenizer::open(files.source(), "tokenizer", PADDING)?,
            encoder: Qwen3Model::load(
                &files.loader("text_encoder", device, precision)?,
                &config,
                deepest,
            )?,
            layers: layers.to_vec(),
        })
    }

    /// Encodes `prompt` as a user's message, cut and filled up to `positions` tokens. Says in `notices` what did not fit.
    pub(super) fn encode(
        &self,
        prompt: &str,
        field: &'static str,
        thinking: bool,
        positions: usize,
        notices: &mut Vec<Notice>,
    ) -> Result<QwenStates> {
        let after = if thinking { "" } else { NO_THINKING };
        let text = format!("{BEFORE}{prompt}{AFTER}{after}");
        let encoded = self
            .tokenizer
            .encode(&text, positions)
            .map_err(|error| error.with_field(field))?;
        if encoded.is_truncated {
            notices.push(truncated(field, positions));
        }
        Ok(QwenStates {
            states: self
                .encoder
                .forward(&encoded.ids, encoded.token_count, &self.layers)?,
            token_count: encoded.token_count,
        })
    }
}
