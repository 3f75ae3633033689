//! A prompt through one CLIP text encoder with its tokenizer: what the families of Stable Diffusion share.

use candle_core::{Device, Tensor};

use super::{
    ModelFiles, clip_parts,
    clip_symbols::{Position, Reader, Symbol},
};
use crate::{
    Error, Notice, Precision, Result,
    embeddings::{Reading, Slot},
    request::PromptSyntax,
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

/// An encoded text: one part, or several that were read one after the other.
pub(crate) struct ClipText {
    outputs: Vec<ClipOutput>,
    /// What each position of a part weighs; empty where all weigh the same.
    weights: Vec<Vec<f32>>,
}

impl ClipText {
    /// The pooled output of the first part: `(1, width)`.
    pub(crate) fn pooled(&self) -> Result<Tensor> {
        let first = self.outputs.first();
        first
            .map(|output| output.pooled.clone())
            .ok_or_else(|| Error::internal("a text without parts"))
    }

    /// `state` of every part, one after the other. Where tokens weigh differently, each is multiplied with its weight, and then all
    /// of the part so that its mean is what it was. Source: A1111's `EmphasisOriginal`.
    fn weighed(&self, state: impl Fn(&ClipOutput) -> Result<Tensor>) -> Result<Tensor> {
        let parts = self
            .outputs
            .iter()
            .zip(&self.weights)
            .map(|(output, weights)| {
                let state = state(output)?;
                if weights.is_empty() {
                    return Ok(state);
                }
                let mut numbers: Vec<f32> = state.flatten_all()?.to_vec1()?;
                let mean = |numbers: &[f32]| {
                    let sum: f64 = numbers.iter().map(|number| f64::from(*number)).sum();
                    sum / numbers.len().max(1) as f64
                };
                let before = mean(&numbers);
                let width = numbers.len() / weights.len();
                for (row, weight) in numbers.chunks_exact_mut(width.max(1)).zip(weights) {
                    row.iter_mut().for_each(|number| *number *= weight);
                }
                #[expect(clippy::cast_possible_truncation, reason = "a ratio near 1")]
                let ratio = (before / mean(&numbers)) as f32;
                if ratio.is_finite() {
                    numbers.iter_mut().for_each(|number| *number *= ratio);
                }
                Ok(Tensor::from_vec(numbers, state.dims(), state.device())?)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&parts, 1)?)
    }
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

    /// What embeddings hold for this encoder; `key` is the name of their vectors for it where they have some for several.
    pub(crate) fn embedding_slot(&self, key: &'static str) -> Result<Slot> {
        Ok(Slot {
            key,
            width: self.encoder.hidden_size(),
            room: self.tokenizer.room(self.positions)?,
        })
    }

    /// Encodes `prompt` as it is to be read; says in `notices` what did not fit, or how it was cut. `field` is the request's
    /// name of the prompt.
    pub(crate) fn encode(
        &self,
        prompt: &str,
        reading: Reading<'_>,
        field: &'static str,
        notices: &mut Vec<Notice>,
    ) -> Result<ClipText> {
        match reading.syntax {
            PromptSyntax::Plain => {
                let outputs = vec![self.encode_whole(prompt, reading, field, notices)?];
                let weights = vec![Vec::new()];
                Ok(ClipText { outputs, weights })
            }
            PromptSyntax::A1111 => self.encode_parts(prompt, reading, field, notices),
        }
    }

    /// Encodes `prompt` as it is but for its embeddings; says in `notices` what did not fit.
    fn encode_whole(
        &self,
        prompt: &str,
        reading: Reading<'_>,
        field: &'static str,
        notices: &mut Vec<Notice>,
    ) -> Result<ClipOutput> {
        let reader = Reader::new(&self.tokenizer, reading, field)?;
        let symbols = reader.read(prompt, notices)?;
        if symbols
            .iter()
            .all(|(symbol, _)| matches!(symbol, Symbol::Token(_)))
        {
            return self.encode_plain(prompt, field, notices);
        }
        let positions: Vec<_> = symbols
            .iter()
            .flat_map(|(symbol, at)| symbol.positions().map(|position| (position, *at)))
            .collect();
        let room = self.tokenizer.room(self.positions)?;
        if let Some((_, cut)) = positions.get(room) {
            self.tell_cut(prompt[*cut..].trim(), field, notices);
        }
        let kept: Vec<_> = positions
            .into_iter()
            .take(room)
            .map(|(position, _)| position)
            .collect();
        self.forward(&kept, room, reading)
    }

    /// Start, the positions, end, and padding through the encoder.
    fn forward(
        &self,
        positions: &[Position],
        room: usize,
        reading: Reading<'_>,
    ) -> Result<ClipOutput> {
        let (mut tokens, mut vectors) = (Vec::with_capacity(positions.len()), Vec::new());
        for position in positions {
            match *position {
                Position::Token(token) => tokens.push(token),
                Position::Vector { index, row } => {
                    let vector = reading.embeddings.vector(index, reading.slot, row)?;
                    // One for the start token.
                    vectors.push((tokens.len() + 1, vector));
                    tokens.push(0);
                }
            }
        }
        let ids = self.tokenizer.filled(&tokens, room);
        self.encoder.forward_with(&ids, &vectors)
    }

    /// Each part by itself, with what its tokens weigh.
    fn encode_parts(
        &self,
        prompt: &str,
        reading: Reading<'_>,
        field: &'static str,
        notices: &mut Vec<Notice>,
    ) -> Result<ClipText> {
        let room = self
            .tokenizer
            .room(self.positions)
            .map_err(|error| error.with_field(field))?;
        let reader = Reader::new(&self.tokenizer, reading, field)?;
        let parts = clip_parts::cut(prompt, (&self.tokenizer, &reader), room, field, notices)?;
        if parts.len() > 1 {
            let counts: Vec<_> = parts
                .iter()
                .map(|part| part.positions.len().to_string())
                .collect();
            let total: usize = parts.iter().map(|part| part.positions.len()).sum();
            let message = format!(
                "`{field}` has {total} tokens, read in {} parts: {}",
                parts.len(),
                counts.join(" + ")
            );
            let notice = Notice::new("prompt_parts", field, message);
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
        let mut text = ClipText {
            outputs: Vec::with_capacity(parts.len()),
            weights: Vec::with_capacity(parts.len()),
        };
        for part in parts {
            text.outputs
                .push(self.forward(&part.positions, room, reading)?);
            let mut weights = Vec::new();
            #[expect(clippy::float_cmp, reason = "1 is exact")]
            if part.weights.iter().any(|weight| *weight != 1.0) {
                weights.push(1.0);
                weights.extend(part.weights);
                weights.resize(room + 2, 1.0);
            }
            text.weights.push(weights);
        }
        Ok(text)
    }

    /// Encodes `prompt` as it is; says in `notices` what did not fit.
    pub(crate) fn encode_plain(
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
            self.tell_cut(cut, field, notices);
        }
        self.encoder.forward(&encoded.ids)
    }

    /// Two encoders with the same tokenizer cut the same words; the user hears of it once.
    fn tell_cut(&self, cut: &str, field: &'static str, notices: &mut Vec<Notice>) {
        let notice = Notice::new(
            "prompt_truncated",
            field,
            format!(
                "the text encoder reads {} tokens; this part of `{field}` was left out: {cut}",
                self.positions - 2
            ),
        );
        if !notices.contains(&notice) {
            notices.push(notice);
        }
    }

    /// The encoder's output for the whole text, weighed: `(1, tokens, width)`.
    pub(crate) fn last_hidden_state(&self, text: &ClipText) -> Result<Tensor> {
        text.weighed(|output| Ok(output.last_hidden_state.clone()))
    }

    /// The hidden state `clip_skip` layers from the end, weighed, with the final norm where `with_norm` is.
    pub(crate) fn skipped(
        &self,
        text: &ClipText,
        clip_skip: u32,
        with_norm: bool,
    ) -> Result<Tensor> {
        text.weighed(|output| {
            let state = self.hidden_state(output, clip_skip)?;
            if with_norm {
                self.final_layer_norm(state)
            } else {
                Ok(state.clone())
            }
        })
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
    fn final_layer_norm(&self, hidden_state: &Tensor) -> Result<Tensor> {
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
