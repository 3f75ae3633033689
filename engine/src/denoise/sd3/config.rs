//! `transformer/config.json` of Stable Diffusion 3.

use serde::Deserialize;

use crate::denoise::sizes::within;
use crate::{Error, Result};

/// The fields that inference uses, with diffusers' names and defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are diffusers' and documented there")]
pub struct Config {
    pub sample_size: usize,
    pub patch_size: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub num_layers: usize,
    pub attention_head_dim: usize,
    pub num_attention_heads: usize,
    pub joint_attention_dim: usize,
    pub caption_projection_dim: usize,
    pub pooled_projection_dim: usize,
    pub pos_embed_max_size: usize,
    pub dual_attention_layers: Vec<usize>,
    pub qk_norm: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sample_size: 128,
            patch_size: 2,
            in_channels: 16,
            out_channels: 16,
            num_layers: 18,
            attention_head_dim: 64,
            num_attention_heads: 18,
            joint_attention_dim: 4096,
            caption_projection_dim: 1152,
            pooled_projection_dim: 2048,
            pos_embed_max_size: 96,
            dual_attention_layers: Vec::new(),
            qk_norm: None,
        }
    }
}

impl Config {
    /// Channels of a token inside.
    pub(super) fn dim(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Checks everything that does not need the weights.
    pub(super) fn check(&self) -> Result<()> {
        within("patch_size", self.patch_size, 16)?;
        within("in_channels", self.in_channels, 1 << 10)?;
        within("out_channels", self.out_channels, 1 << 10)?;
        within("num_layers", self.num_layers, 256)?;
        within("attention_head_dim", self.attention_head_dim, 1 << 10)?;
        within("num_attention_heads", self.num_attention_heads, 1 << 8)?;
        within("joint_attention_dim", self.joint_attention_dim, 1 << 16)?;
        within("pooled_projection_dim", self.pooled_projection_dim, 1 << 14)?;
        within("pos_embed_max_size", self.pos_embed_max_size, 1 << 10)?;
        if self.caption_projection_dim != self.dim() {
            return Err(Error::model(format!(
                "transformer config: `caption_projection_dim` is {}, and the heads have {} channels",
                self.caption_projection_dim,
                self.dim()
            )));
        }
        match self.qk_norm.as_deref() {
            None | Some("rms_norm") => Ok(()),
            Some(other) => Err(Error::model(format!(
                "transformer config: `qk_norm` = {other:?} is not supported"
            ))),
        }
    }
}
