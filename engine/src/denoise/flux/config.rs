//! `transformer/config.json` of FLUX.1.

use serde::Deserialize;

use crate::denoise::sizes::{check_axes, within};
use crate::{Error, Result};

/// The fields that inference uses, with diffusers' names and defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are diffusers' and documented there")]
pub struct Config {
    pub patch_size: usize,
    pub in_channels: usize,
    pub out_channels: Option<usize>,
    pub num_layers: usize,
    pub num_single_layers: usize,
    pub attention_head_dim: usize,
    pub num_attention_heads: usize,
    pub joint_attention_dim: usize,
    pub pooled_projection_dim: usize,
    pub guidance_embeds: bool,
    pub axes_dims_rope: Vec<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            patch_size: 1,
            in_channels: 64,
            out_channels: None,
            num_layers: 19,
            num_single_layers: 38,
            attention_head_dim: 128,
            num_attention_heads: 24,
            joint_attention_dim: 4096,
            pooled_projection_dim: 768,
            guidance_embeds: false,
            axes_dims_rope: vec![16, 56, 56],
        }
    }
}

impl Config {
    /// Channels of a token inside.
    pub(super) fn dim(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Channels of a token of the result.
    pub fn out_channels(&self) -> usize {
        self.out_channels.unwrap_or(self.in_channels)
    }

    /// Checks everything that does not need the weights.
    pub(super) fn check(&self) -> Result<()> {
        within("in_channels", self.in_channels, 1 << 12)?;
        within("out_channels", self.out_channels(), 1 << 12)?;
        within("num_layers", self.num_layers, 256)?;
        within("num_single_layers", self.num_single_layers, 256)?;
        within("attention_head_dim", self.attention_head_dim, 1 << 10)?;
        within("num_attention_heads", self.num_attention_heads, 1 << 8)?;
        within("joint_attention_dim", self.joint_attention_dim, 1 << 16)?;
        within("pooled_projection_dim", self.pooled_projection_dim, 1 << 14)?;
        if self.patch_size != 1 || self.axes_dims_rope.len() != 3 {
            return Err(Error::model(
                "transformer config: `patch_size` must be 1 and `axes_dims_rope` have three entries",
            ));
        }
        check_axes(
            "axes_dims_rope",
            &self.axes_dims_rope,
            self.attention_head_dim,
        )
    }
}
