//! `text_encoder/config.json`.

use serde::Deserialize;

use crate::kernels::Activation;
use crate::text::within;
use crate::{Error, Result};

/// The fields of `text_encoder/config.json` that inference uses, with transformers' names and defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[expect(
    missing_docs,
    reason = "the names are transformers' and documented there"
)]
pub struct Config {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub projection_dim: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub max_position_embeddings: usize,
    pub hidden_act: String,
    pub layer_norm_eps: f64,
    pub eos_token_id: EosTokenId,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: "quick_gelu".to_owned(),
            layer_norm_eps: 1e-5,
            eos_token_id: EosTokenId(Some(49_407)),
        }
    }
}

/// The id that ends a prompt, or none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct EosTokenId(pub Option<u32>);

impl EosTokenId {
    /// Where the prompt ends: the first such id, or the first token when there is none.
    ///
    /// Configs of 2 and earlier carry a wrong id, 2; for them the end is the first of the highest id.
    pub(super) fn position(&self, ids: &[u32]) -> usize {
        let end = if self.0 == Some(2) {
            ids.iter().max().copied()
        } else {
            self.0
        };
        ids.iter().position(|id| Some(*id) == end).unwrap_or(0)
    }
}

impl Config {
    /// Checks everything that does not need the weights.
    pub(super) fn check(&self, with_projection: bool) -> Result<()> {
        within("vocab_size", self.vocab_size, 1 << 22)?;
        within("hidden_size", self.hidden_size, 1 << 14)?;
        within("intermediate_size", self.intermediate_size, 1 << 16)?;
        within("num_hidden_layers", self.num_hidden_layers, 256)?;
        within(
            "num_attention_heads",
            self.num_attention_heads,
            self.hidden_size,
        )?;
        within(
            "max_position_embeddings",
            self.max_position_embeddings,
            1 << 14,
        )?;
        if with_projection {
            within("projection_dim", self.projection_dim, 1 << 14)?;
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(Error::model(format!(
                "text encoder config: `hidden_size` {} cannot be cut into `num_attention_heads` {}",
                self.hidden_size, self.num_attention_heads
            )));
        }
        self.activation().map(|_| ())
    }

    /// What `hidden_act` names.
    pub(super) fn activation(&self) -> Result<Activation> {
        match self.hidden_act.as_str() {
            "quick_gelu" => Ok(Activation::QuickGelu),
            "gelu" => Ok(Activation::Gelu),
            other => Err(Error::model(format!(
                "text encoder config: `hidden_act` = {other:?} is not supported"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_ends_at_its_first_end_token() {
        assert_eq!(EosTokenId(Some(9)).position(&[8, 1, 9, 9, 9]), 2);
        assert_eq!(
            EosTokenId(Some(2)).position(&[98, 1, 2, 99, 99]),
            3,
            "the old configs' 2 means the highest id"
        );
        assert_eq!(EosTokenId(Some(7)).position(&[8, 1, 9]), 0);
        assert_eq!(EosTokenId(None).position(&[8, 1, 9]), 0);
    }

    #[test]
    fn impossible_configs_are_refused_by_field() {
        let refused = |edit: &dyn Fn(&mut Config)| {
            let mut config = Config::default();
            edit(&mut config);
            config.check(true).unwrap_err().to_string()
        };
        assert!(refused(&|c| c.num_attention_heads = 0).contains("num_attention_heads"));
        assert!(refused(&|c| c.num_attention_heads = 7).contains("cannot be cut"));
        assert!(refused(&|c| c.vocab_size = usize::MAX).contains("vocab_size"));
        assert!(refused(&|c| c.hidden_act = "gelu_new".into()).contains("gelu_new"));
        assert!(refused(&|c| c.projection_dim = 0).contains("projection_dim"));
    }
}
