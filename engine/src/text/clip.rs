//! CLIP's text encoder: token ids to vectors, with or without the projection that SDXL's second encoder has.
//!
//! Source: transformers `CLIPTextModel`, `CLIPTextModelWithProjection`.

mod config;
mod layer;
#[cfg(test)]
mod tests;

use candle_core::{Device, Tensor};

pub use config::{Config, EosTokenId};

use self::layer::EncoderLayer;
use crate::checkpoint::Loader;
use crate::nn::{Embedding, LayerNorm, Linear};
use crate::{Error, ErrorKind, Result};

/// A text encoder with its weights.
#[derive(Debug, Clone)]
pub struct ClipTextModel {
    token_embedding: Embedding,
    position_embedding: Embedding,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
    text_projection: Option<Linear>,
    hidden_size: usize,
    eos_token_id: EosTokenId,
}

/// What the encoder makes of one prompt of `n` ids; `d` is `hidden_size`.
#[derive(Debug, Clone)]
pub struct ClipOutput {
    /// The embeddings and then the result of each layer, `(1, n, d)` each; without the final layer norm.
    pub hidden_states: Vec<Tensor>,
    /// The last of them after the final layer norm, `(1, n, d)`.
    pub last_hidden_state: Tensor,
    /// `last_hidden_state` at the end of the prompt, projected if the model has a projection:
    /// `(1, d)` or `(1, projection_dim)`.
    pub pooled: Tensor,
}

impl ClipTextModel {
    /// Loads the encoder that `config` describes; names in the weights may begin with `text_model.` or not.
    ///
    /// `with_projection`: whether to read `text_projection.weight`. Fails when the config asks for something that is
    /// not supported or does not fit the weights (names the tensor, the expected and the found shape).
    pub fn load(loader: &Loader, config: &Config, with_projection: bool) -> Result<Self> {
        config.check(with_projection)?;
        let dim = config.hidden_size;
        let prefixed = loader.pp("text_model");
        let text_model = if prefixed.contains("embeddings.token_embedding.weight") {
            prefixed
        } else {
            loader.clone()
        };
        let embeddings = text_model.pp("embeddings");
        let layers = text_model.pp("encoder").pp("layers");
        let project =
            || Linear::load_no_bias(&loader.pp("text_projection"), dim, config.projection_dim);
        Ok(Self {
            token_embedding: Embedding::load(
                &embeddings.pp("token_embedding"),
                config.vocab_size,
                dim,
            )?,
            position_embedding: Embedding::load(
                &embeddings.pp("position_embedding"),
                config.max_position_embeddings,
                dim,
            )?,
            layers: (0..config.num_hidden_layers)
                .map(|i| EncoderLayer::load(&layers.pp(i), config))
                .collect::<Result<_>>()?,
            final_layer_norm: LayerNorm::load(
                &text_model.pp("final_layer_norm"),
                dim,
                config.layer_norm_eps,
            )?,
            text_projection: with_projection.then(project).transpose()?,
            hidden_size: dim,
            eos_token_id: config.eos_token_id.clone(),
        })
    }

    /// Encodes one prompt.
    ///
    /// `ids`: at least one, at most `max_position_embeddings`; each below `vocab_size` (a tokenizer that does not
    /// belong to this encoder is an error of the model).
    pub fn forward(&self, ids: &[u32]) -> Result<ClipOutput> {
        self.forward_with(ids, &[])
    }

    /// Encodes one prompt, of which some positions have vectors in place of their token's: `vectors` has position and numbers,
    /// `hidden_size` of them. The ids there must not be the end token's.
    pub fn forward_with(&self, ids: &[u32], vectors: &[(usize, &[f32])]) -> Result<ClipOutput> {
        let mut hidden = self.embed(ids, vectors)?; // (1, n, d)
        let mut hidden_states = vec![hidden.clone()];
        for layer in &self.layers {
            hidden = layer.forward(&hidden)?;
            hidden_states.push(hidden.clone());
        }
        let last_hidden_state = self.final_layer_norm.forward_f32(&hidden)?;
        let end = self.eos_token_id.position(ids);
        let pooled = last_hidden_state
            .narrow(1, end, 1)?
            .contiguous()?
            .reshape((1, self.hidden_size))?;
        let pooled = match &self.text_projection {
            Some(projection) => projection.forward(&pooled)?,
            None => pooled,
        };
        Ok(ClipOutput {
            hidden_states,
            last_hidden_state,
            pooled,
        })
    }

    /// The layer norm after the last layer, for a hidden state that was taken earlier: `(..., hidden_size)`.
    pub fn final_layer_norm(&self, hidden: &Tensor) -> Result<Tensor> {
        self.final_layer_norm.forward_f32(hidden)
    }

    /// Numbers of a token's vector.
    pub fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn embed(&self, ids: &[u32], vectors: &[(usize, &[f32])]) -> Result<Tensor> {
        let mut rows = Vec::with_capacity(ids.len() * self.hidden_size);
        for (position, id) in ids.iter().enumerate() {
            let given = vectors
                .iter()
                .find(|(at, vector)| *at == position && vector.len() == self.hidden_size);
            let token = match given {
                Some((_, vector)) => vector,
                None => self
                    .token_embedding
                    .row(usize::try_from(*id).unwrap_or(usize::MAX))
                    .ok_or_else(|| {
                        Error::model(format!(
                            "the tokenizer gave token {id}, which the text encoder does not have"
                        ))
                    })?,
            };
            let position = self.position_embedding.row(position).ok_or_else(|| {
                Error::new(
                    ErrorKind::Internal,
                    format!("{} tokens are too many for the text encoder", ids.len()),
                )
            })?;
            rows.extend(
                token
                    .iter()
                    .zip(position)
                    .map(|(token, position)| token + position),
            );
        }
        if ids.is_empty() {
            return Err(Error::new(
                ErrorKind::Internal,
                "a prompt has at least one token",
            ));
        }
        Ok(Tensor::from_vec(
            rows,
            (1, ids.len(), self.hidden_size),
            &Device::Cpu,
        )?)
    }
}
