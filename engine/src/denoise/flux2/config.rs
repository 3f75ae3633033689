//! `transformer/config.json` of FLUX.2.

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
    pub timestep_guidance_channels: usize,
    pub mlp_ratio: f64,
    pub axes_dims_rope: Vec<usize>,
    pub rope_theta: f64,
    pub eps: f64,
    pub guidance_embeds: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            patch_size: 1,
            in_channels: 128,
            out_channels: None,
            num_layers: 8,
            num_single_layers: 48,
            attention_head_dim: 128,
            num_attention_heads: 48,
            joint_attention_dim: 15_360,
            timestep_guidance_channels: 256,
            mlp_ratio: 3.0,
            axes_dims_rope: vec![32; 4],
            rope_theta: 2000.0,
            eps: 1e-6,
            guidance_embeds: true,
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

    /// Channels inside a feed-forward network.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be small; the reference truncates"
    )]
    pub(super) fn mlp_dim(&self) -> usize {
        (self.dim() as f64 * self.mlp_ratio) as usize
    }

    /// Checks everything that does not need the weights.
    pub(super) fn check(&self) -> Result<()> {
        within("in_channels", self.in_channels, 1 << 12)?;
        within("out_channels", self.out_channels(), 1 << 12)?;
        within("num_layers", self.num_layers, 256)?;
        within("num_single_layers", self.num_single_layers, 256)?;
        within("attention_head_dim", self.attention_head_dim, 1 << 10)?;
        within("num_attention_heads", self.num_attention_heads, 1 << 8)?;
        within("joint_attention_dim", self.joint_attention_dim, 1 << 17)?;
        let time = self.timestep_guidance_channels;
        within("timestep_guidance_channels", time, 1 << 12)?;
        if !(self.mlp_ratio > 0.0 && self.mlp_ratio <= 64.0) {
            return Err(Error::model(format!(
                "transformer config: `mlp_ratio` is {}, outside 0 to 64",
                self.mlp_ratio
            )));
        }
        within("mlp_ratio", self.mlp_dim(), 1 << 20)?;
        if self.guidance_embeds {
            return Err(Error::model(
                "transformer config: `guidance_embeds` is not supported for FLUX.2",
            )
            .with_hint("the klein models have none"));
        }
        if self.patch_size != 1 || self.axes_dims_rope.len() != 4 {
            return Err(Error::model(
                "transformer config: `patch_size` must be 1 and `axes_dims_rope` have four entries",
            ));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return Err(Error::model(format!(
                "transformer config: `rope_theta` is {}, not a number above 0",
                self.rope_theta
            )));
        }
        check_axes(
            "axes_dims_rope",
            &self.axes_dims_rope,
            self.attention_head_dim,
        )
    }
}
