//! `config.json` of a T5 encoder.

use serde::Deserialize;

use crate::text::within;
use crate::{Error, Result};

/// The fields that inference uses, with transformers' names and defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[expect(
    missing_docs,
    reason = "the names are transformers' and documented there"
)]
pub struct Config {
    pub vocab_size: usize,
    pub d_model: usize,
    pub d_kv: usize,
    pub d_ff: usize,
    pub num_layers: usize,
    pub num_heads: usize,
    pub relative_attention_num_buckets: usize,
    pub relative_attention_max_distance: usize,
    pub layer_norm_epsilon: f64,
    pub feed_forward_proj: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 32_128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "relu".to_owned(),
        }
    }
}

impl Config {
    /// Checks everything that does not need the weights.
    pub(super) fn check(&self) -> Result<()> {
        within("vocab_size", self.vocab_size, 1 << 22)?;
        within("d_model", self.d_model, 1 << 14)?;
        within("d_kv", self.d_kv, 1 << 10)?;
        within("d_ff", self.d_ff, 1 << 16)?;
        within("num_layers", self.num_layers, 256)?;
        within("num_heads", self.num_heads, 1 << 10)?;
        let buckets = self.relative_attention_num_buckets;
        within("relative_attention_num_buckets", buckets, 1 << 12)?;
        let distance = self.relative_attention_max_distance;
        within("relative_attention_max_distance", distance, 1 << 16)?;
        if !buckets.is_multiple_of(4) || distance <= buckets / 4 {
            return Err(Error::model(format!(
                "text encoder config: `relative_attention_num_buckets` {buckets} does not fit \
                 `relative_attention_max_distance` {distance}"
            )));
        }
        if self.feed_forward_proj != "gated-gelu" {
            return Err(Error::model(format!(
                "text encoder config: `feed_forward_proj` = {:?} is not supported",
                self.feed_forward_proj
            ))
            .with_hint("image models use T5 version 1.1, which has `gated-gelu`"));
        }
        Ok(())
    }
}
