//! `transformer/config.json` of Z-Image.

use serde::Deserialize;
use serde_json::Value;

use crate::denoise::sizes::{check_axes, within};
use crate::{Error, Result};

/// The fields that inference uses, with diffusers' names and defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are diffusers' and documented there")]
pub struct Config {
    pub all_patch_size: Vec<usize>,
    pub all_f_patch_size: Vec<usize>,
    pub in_channels: usize,
    pub dim: usize,
    pub n_layers: usize,
    pub n_refiner_layers: usize,
    pub n_heads: usize,
    pub norm_eps: f64,
    pub qk_norm: bool,
    pub cap_feat_dim: usize,
    pub siglip_feat_dim: Option<Value>,
    pub rope_theta: f64,
    pub t_scale: f64,
    pub axes_dims: Vec<usize>,
    pub axes_lens: Vec<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            all_patch_size: vec![2],
            all_f_patch_size: vec![1],
            in_channels: 16,
            dim: 3840,
            n_layers: 30,
            n_refiner_layers: 2,
            n_heads: 30,
            norm_eps: 1e-5,
            qk_norm: true,
            cap_feat_dim: 2560,
            siglip_feat_dim: None,
            rope_theta: 256.0,
            t_scale: 1000.0,
            axes_dims: vec![32, 48, 48],
            axes_lens: vec![1024, 512, 512],
        }
    }
}

/// Most channels of a time that the blocks are given.
const TIME_CHANNELS: usize = 256;

impl Config {
    /// Latents of a patch on a side.
    pub fn patch_size(&self) -> usize {
        self.all_patch_size.first().copied().unwrap_or(2)
    }

    /// How the weights name the patch.
    pub(super) fn patch_key(&self) -> String {
        format!("{}-1", self.patch_size())
    }

    /// Numbers of a patch.
    pub(super) fn patch_channels(&self) -> usize {
        self.patch_size() * self.patch_size() * self.in_channels
    }

    /// Channels of a time.
    pub(super) fn time_dim(&self) -> usize {
        self.dim.min(TIME_CHANNELS)
    }

    /// Numbers of a head.
    pub(super) fn head_dim(&self) -> usize {
        self.dim / self.n_heads.max(1)
    }

    /// Channels inside a feed-forward network. The reference computes it in floating point.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be small; the reference truncates"
    )]
    pub(super) fn ff_dim(&self) -> usize {
        (self.dim as f64 / 3.0 * 8.0) as usize
    }

    /// Checks everything that does not need the weights.
    pub(super) fn check(&self) -> Result<()> {
        within("in_channels", self.in_channels, 1 << 10)?;
        within("dim", self.dim, 1 << 15)?;
        within("n_layers", self.n_layers, 256)?;
        within("n_refiner_layers", self.n_refiner_layers, 64)?;
        within("n_heads", self.n_heads, self.dim)?;
        within("cap_feat_dim", self.cap_feat_dim, 1 << 15)?;
        let refuse = |what: &str| {
            Err(Error::model(format!(
                "transformer config: {what} is not supported"
            )))
        };
        if self.all_patch_size.len() != 1 || self.all_f_patch_size != [1] {
            return refuse("more than one size of patches");
        }
        within("all_patch_size", self.patch_size(), 16)?;
        if !self.qk_norm {
            return refuse("`qk_norm` false");
        }
        if self.siglip_feat_dim.is_some() {
            return refuse("`siglip_feat_dim`");
        }
        if !self.dim.is_multiple_of(self.n_heads)
            || self.axes_dims.len() != 3
            || self.axes_lens.len() != 3
        {
            return refuse("a number of heads or axes that does not fit `dim`");
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0 && self.t_scale.is_finite()) {
            return refuse("`rope_theta` or `t_scale` that is no number");
        }
        check_axes("axes_dims", &self.axes_dims, self.head_dim())
    }
}
