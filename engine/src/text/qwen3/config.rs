//! `config.json` of a Qwen3 text encoder, and what Qwen2.5 has otherwise.

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
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: Option<usize>,
    pub hidden_act: String,
    pub rms_norm_eps: f64,
    pub rope_theta: Option<f64>,
    pub(super) rope_parameters: Option<RopeParameters>,
    pub attention_bias: bool,
    pub use_sliding_window: bool,
    #[serde(skip)]
    pub projections: Projections,
}

/// What queries, keys and values have beside their weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Projections {
    /// Queries and keys have norms of their heads: Qwen3.
    #[default]
    Normed,
    /// All three have biases: Qwen2.5.
    Biased,
}

/// Where newer files keep what belongs to the positions.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RopeParameters {
    rope_theta: Option<f64>,
    #[serde(default)]
    rope_type: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 151_936,
            hidden_size: 4096,
            intermediate_size: 22_016,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: 32,
            head_dim: None,
            hidden_act: "silu".to_owned(),
            rms_norm_eps: 1e-6,
            rope_theta: None,
            rope_parameters: None,
            attention_bias: false,
            use_sliding_window: false,
            projections: Projections::default(),
        }
    }
}

impl Config {
    /// Numbers of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(128)
    }

    /// Base of the positions' frequencies.
    pub(super) fn rope_theta(&self) -> f64 {
        let nested = self.rope_parameters.as_ref();
        nested
            .and_then(|parameters| parameters.rope_theta)
            .or(self.rope_theta)
            .unwrap_or(10_000.0)
    }

    /// Checks everything that does not need the weights.
    pub(super) fn check(&self) -> Result<()> {
        within("vocab_size", self.vocab_size, 1 << 22)?;
        within("hidden_size", self.hidden_size, 1 << 14)?;
        within("intermediate_size", self.intermediate_size, 1 << 17)?;
        within("num_hidden_layers", self.num_hidden_layers, 256)?;
        within("num_attention_heads", self.num_attention_heads, 1 << 10)?;
        within(
            "num_key_value_heads",
            self.num_key_value_heads,
            self.num_attention_heads,
        )?;
        within("head_dim", self.head_dim(), 1 << 10)?;
        let refuse = |what: String| {
            Err(Error::model(format!(
                "text encoder config: {what} is not supported"
            )))
        };
        if !self
            .num_attention_heads
            .is_multiple_of(self.num_key_value_heads)
            || !self.head_dim().is_multiple_of(2)
        {
            return refuse(format!(
                "{} heads with {} of keys, each of {} numbers,",
                self.num_attention_heads,
                self.num_key_value_heads,
                self.head_dim()
            ));
        }
        if self.hidden_act != "silu" {
            return refuse(format!("`hidden_act` = {:?}", self.hidden_act));
        }
        if self.attention_bias || self.use_sliding_window {
            return refuse("`attention_bias` or `use_sliding_window`".to_owned());
        }
        if let Some(kind) = self
            .rope_parameters
            .as_ref()
            .and_then(|parameters| parameters.rope_type.as_deref())
            .filter(|kind| *kind != "default")
        {
            return refuse(format!("`rope_type` = {kind:?}"));
        }
        let theta = self.rope_theta();
        if !(theta.is_finite() && theta > 0.0) {
            return refuse(format!("`rope_theta` = {theta}"));
        }
        Ok(())
    }
}
