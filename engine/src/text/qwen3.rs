//! Qwen3's decoder as a text encoder: token ids to the hidden states of some of its layers. Qwen2.5's is the same but for
//! [`Projections`].
//!
//! Source: transformers `Qwen3Model`, `Qwen2_5_VLTextModel`. Nothing is generated, so there is neither a cache nor the head that
//! names tokens.

mod config;
mod layer;

use std::collections::BTreeMap;

use candle_core::Tensor;

pub use config::{Config, Projections};

use self::layer::DecoderLayer;
use super::t5::embed;
use crate::checkpoint::{Loader, Rows};
use crate::nn::{Pairs, RmsNorm, Rope};
use crate::{Error, Result};

/// What stands before the names in checkpoints: of a text model, of one that sees pictures as well, of parts by themselves.
const PREFIXES: [&str; 3] = ["model", "model.language_model", "language_model"];

/// The layers that are asked for, with their weights.
#[derive(Debug, Clone)]
pub struct Qwen3Model {
    embed_tokens: Rows,
    layers: Vec<DecoderLayer>,
    /// There when the last hidden state is asked for.
    norm: Option<RmsNorm>,
    config: Config,
}

impl Qwen3Model {
    /// Loads the layers up to hidden state `deepest`, counted as transformers does: 0 is the embeddings, `n` the result of
    /// `n` layers, and the last one is normalised.
    ///
    /// Fails when the config asks for something that is not supported, has fewer layers, or does not fit the weights.
    pub fn load(loader: &Loader, config: &Config, deepest: usize) -> Result<Self> {
        config.check()?;
        if deepest > config.num_hidden_layers {
            return Err(Error::model(format!(
                "text encoder config: `num_hidden_layers` is {}, and the model reads layer {deepest}",
                config.num_hidden_layers
            )));
        }
        let model = PREFIXES
            .into_iter()
            .map(|prefix| loader.pp(prefix))
            .find(|place| place.contains("embed_tokens.weight"))
            .unwrap_or_else(|| loader.clone());
        let norm = || RmsNorm::load(&model.pp("norm"), config.hidden_size, config.rms_norm_eps);
        Ok(Self {
            embed_tokens: model.pp("embed_tokens").rows(
                config.vocab_size,
                config.hidden_size,
                "weight",
            )?,
            layers: (0..deepest)
                .map(|index| DecoderLayer::load(&model.pp("layers").pp(index), config))
                .collect::<Result<_>>()?,
            norm: (deepest == config.num_hidden_layers)
                .then(norm)
                .transpose()?,
            config: config.clone(),
        })
    }

    /// The hidden states `wanted`, each `(1, n, hidden_size)`, of `n` ids of which the first `seen` are the prompt: what
    /// comes after them is padding, which sees the prompt and which the prompt does not see.
    pub fn forward(&self, ids: &[u32], seen: usize, wanted: &[usize]) -> Result<Vec<Tensor>> {
        if seen == 0 || seen > ids.len() {
            return Err(Error::internal("a prompt has at least one token"));
        }
        #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^52")]
        let positions: Vec<Vec<f64>> = (0..ids.len()).map(|at| vec![at as f64]).collect();
        let dims = [self.config.head_dim()];
        let rope = Rope::new(&positions, &dims, self.config.rope_theta(), Pairs::Halves);
        let mut hidden = embed(&self.embed_tokens, self.config.hidden_size, ids)?;
        let mut states = BTreeMap::new();
        for (index, layer) in self.layers.iter().enumerate() {
            if wanted.contains(&index) {
                states.insert(index, hidden.clone());
            }
            hidden = layer.forward(&hidden, seen, &rope)?;
        }
        if let Some(norm) = &self.norm {
            hidden = norm.forward_f32(&hidden)?;
        }
        states.insert(self.layers.len(), hidden);
        let missing = || Error::internal("a layer that was not loaded was asked for");
        wanted
            .iter()
            .map(|index| states.get(index).cloned().ok_or_else(missing))
            .collect()
    }
}
