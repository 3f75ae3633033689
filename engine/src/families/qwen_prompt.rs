//! A prompt as a message to Qwen, and what its layers make of it: what the families with such a text encoder share.

use candle_core::{Device, Tensor};

use super::{ModelFiles, t5_prompt::truncated};
use crate::{
    Error, Notice, Precision, Result,
    text::{
        json_tokenizer::{Encoded, JsonTokenizer},
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

impl QwenPrompt {
    /// Loads the layers of an encoder of `config` that `layers` needs, and the tokenizer.
    pub(super) fn open(
        files: &ModelFiles,
        config: &Config,
        layers: &[usize],
        device: &Device,
        precision: Precision,
    ) -> Result<Self> {
        let deepest = layers
            .iter()
            .copied()
            .max()
            .ok_or_else(|| Error::internal("a text encoder that nobody reads"))?;
        Ok(Self {
            tokenizer: JsonTokenizer::open_qwen(files.source(), "tokenizer", PADDING)?,
            encoder: Qwen3Model::load(
                &files.loader("text_encoder", device, precision)?,
                config,
                deepest,
            )?,
            layers: layers.to_vec(),
        })
    }

    /// Encodes `prompt` as a user's message to Qwen3, cut and filled up to `positions` tokens. Says in `notices` what did not fit.
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
        let encoded = self.tokens(&text, field, positions)?;
        if encoded.is_truncated {
            notices.push(truncated(field, positions));
        }
        Ok(QwenStates {
            states: self.states(&encoded.ids, encoded.token_count)?,
            token_count: encoded.token_count,
        })
    }

    /// A whole message as tokens, cut and filled up to `positions` of them.
    pub(super) fn tokens(
        &self,
        text: &str,
        field: &'static str,
        positions: usize,
    ) -> Result<Encoded> {
        let encoded = self.tokenizer.encode(text, positions);
        encoded.map_err(|error| error.with_field(field))
    }

    /// Hidden states of the layers that are read, `(1, positions, hidden_size)` each, of tokens of which the first `seen` are no
    /// padding.
    pub(super) fn states(&self, ids: &[u32], seen: usize) -> Result<Vec<Tensor>> {
        self.encoder.forward(ids, seen, &self.layers)
    }
}
