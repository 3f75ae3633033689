//! The encoder of T5, version 1.1: token ids to vectors that all look at each other.
//!
//! Source: transformers `T5EncoderModel` with gated feed-forward layers. Padding is seen like any token, as the pipelines
//! give no mask.

mod config;
mod layer;
mod position;

use candle_core::{Device, Tensor};

pub use config::Config;

use self::layer::Block;
use self::position::RelativePositions;
use crate::checkpoint::{Loader, Rows};
use crate::nn::RmsNorm;
use crate::{Error, Result};

/// An encoder with its weights.
#[derive(Debug, Clone)]
pub struct T5EncoderModel {
    embeddings: Rows,
    positions: RelativePositions,
    blocks: Vec<Block>,
    final_layer_norm: RmsNorm,
    dim: usize,
}

impl T5EncoderModel {
    /// Loads the encoder that `config` describes.
    ///
    /// Fails when the config asks for something that is not supported or does not fit the weights (names the tensor, the
    /// expected and the found shape).
    pub fn load(loader: &Loader, config: &Config) -> Result<Self> {
        config.check()?;
        let dim = config.d_model;
        let encoder = loader.pp("encoder");
        let table = |loader: &Loader| loader.rows(config.vocab_size, dim, "weight");
        let embeddings = if loader.pp("shared").contains("weight") {
            table(&loader.pp("shared"))?
        } else {
            table(&encoder.pp("embed_tokens"))?
        };
        let blocks = encoder.pp("block");
        Ok(Self {
            embeddings,
            positions: RelativePositions::load(&blocks.pp(0), config)?,
            blocks: (0..config.num_layers)
                .map(|index| Block::load(&blocks.pp(index), config))
                .collect::<Result<_>>()?,
            final_layer_norm: RmsNorm::load(
                &encoder.pp("final_layer_norm"),
                dim,
                config.layer_norm_epsilon,
            )?,
            dim,
        })
    }

    /// Encodes one prompt of `n` ids, at least one: `(1, n, d_model)`.
    pub fn forward(&self, ids: &[u32]) -> Result<Tensor> {
        let bias = self.positions.bias(ids.len())?; // (heads, n, n)
        let mut hidden = embed(&self.embeddings, self.dim, ids)?; // (1, n, d)
        for block in &self.blocks {
            hidden = block.forward(&hidden, &bias)?;
        }
        self.final_layer_norm.forward_f32(&hidden)
    }
}

/// The rows of `ids`: `(1, n, dim)`.
pub(super) fn embed(table: &Rows, dim: usize, ids: &[u32]) -> Result<Tensor> {
    if ids.is_empty() {
        return Err(Error::internal("a prompt has at least one token"));
    }
    let mut numbers = Vec::with_capacity(ids.len() * dim);
    for id in ids {
        let row = table.row(usize::try_from(*id).unwrap_or(usize::MAX))?;
        numbers.extend(row.ok_or_else(|| {
            Error::model(format!(
                "the tokenizer gave token {id}, which the text encoder does not have"
            ))
        })?);
    }
    Ok(Tensor::from_vec(
        numbers,
        (1, ids.len(), dim),
        &Device::Cpu,
    )?)
}
