//! `transformer/config.json` of Qwen-Image.

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
    pub attention_head_dim: usize,
    pub num_attention_heads: usize,
    pub joint_attention_dim: usize,
    pub guidance_embeds: bool,
    pub axes_dims_rope: Vec<usize>,
    pub use_additional_t_cond: bool,
    pub use_layer3d_rope: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            patch_size: 2,
            in_channels: 64,
            out_channels: Some(16),
            num_layers: 60,
            attention_head_dim: 128,
            num_attention_heads: 24,
            joint_attention_dim: 3584,
            guidance_embeds: false,
            axes_dims_rope: vec![16, 56, 56],
            use_additional_t_cond: false,
            use_layer3d_rope: false,
        }
    }
}

impl Config {
    /// Channels of a token inside.
    pub(super) fn dim(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Channels of a token of the result.
    pub fn patch_channels(&self) -> usize {
        let channels = self.out_channels.unwrap_or(self.in_channels);
        self.patch_size * self.patch_size * channels
    }

    /// Checks everything that does not need the weights.
    pub(super) fn check(&self) -> Result<()> {
        within("patch_size", self.patch_size, 16)?;
        within("in_channels", self.in_channels, 1 << 12)?;
        within(
            "out_channels",
            self.out_channels.unwrap_or(self.in_channels),
            1 << 12,
        )?;
        within("num_layers", self.num_layers, 256)?;
        within("attention_head_dim", self.attention_head_dim, 1 << 10)?;
        within("num_attention_heads", self.num_attention_heads, 1 << 8)?;
        within("joint_attention_dim", self.joint_attention_dim, 1 << 16)?;
        // The first is of a network that no pipeline of diffusers 0.42 runs, the others of pictures in layers.
        for (field, is_set) in [
            ("guidance_embeds", self.guidance_embeds),
            ("use_additional_t_cond", self.use_additional_t_cond),
            ("use_layer3d_rope", self.use_layer3d_rope),
        ] {
            if is_set {
                return Err(Error::model(format!(
                    "transformer config: `{field}` true is not supported"
                )));
            }
        }
        if self.axes_dims_rope.len() != 3 {
            return Err(Error::model(
                "transformer config: `axes_dims_rope` must have three entries",
            ));
        }
        check_axes(
            "axes_dims_rope",
            &self.axes_dims_rope,
            self.attention_head_dim,
        )
    }
}
