//! `vae/config.json`.

use serde::Deserialize;

use crate::{Error, Result};

/// The fields of `vae/config.json`, with diffusers' names and defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are diffusers' and documented there")]
pub struct Config {
    pub in_channels: usize,
    pub out_channels: usize,
    pub down_block_types: Vec<String>,
    pub up_block_types: Vec<String>,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: usize,
    pub act_fn: String,
    pub latent_channels: usize,
    pub norm_num_groups: usize,
    pub scaling_factor: f64,
    pub shift_factor: Option<f64>,
    pub latents_mean: Option<Vec<f64>>,
    pub latents_std: Option<Vec<f64>>,
    pub force_upcast: bool,
    pub use_quant_conv: bool,
    pub use_post_quant_conv: bool,
    pub mid_block_add_attention: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec!["DownEncoderBlock2D".to_owned()],
            up_block_types: vec!["UpDecoderBlock2D".to_owned()],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: "silu".to_owned(),
            latent_channels: 4,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
            force_upcast: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl Config {
    /// Pixels for each latent in both directions: 8 for Stable Diffusion.
    pub fn scale_factor(&self) -> usize {
        1 << self
            .block_out_channels
            .len()
            .clamp(1, MAX_BLOCKS)
            .saturating_sub(1)
    }

    /// Checks everything that does not need the weights.
    pub(super) fn check(&self) -> Result<()> {
        let count = self.block_out_channels.len();
        within("block_out_channels.len", count, 1, MAX_BLOCKS)?;
        within("in_channels", self.in_channels, 1, MAX_CHANNELS)?;
        within("out_channels", self.out_channels, 1, MAX_CHANNELS)?;
        within("latent_channels", self.latent_channels, 1, MAX_CHANNELS)?;
        within("layers_per_block", self.layers_per_block, 1, 16)?;
        within("norm_num_groups", self.norm_num_groups, 1, MAX_CHANNELS)?;
        for channels in &self.block_out_channels {
            within("block_out_channels", *channels, 1, MAX_CHANNELS)?;
        }
        for (field, types, supported) in [
            (
                "down_block_types",
                &self.down_block_types,
                "DownEncoderBlock2D",
            ),
            ("up_block_types", &self.up_block_types, "UpDecoderBlock2D"),
        ] {
            if types.len() != count {
                return Err(Error::model(format!(
                    "vae config: `{field}` has {} entries, `block_out_channels` has {count}",
                    types.len()
                )));
            }
            if let Some(other) = types.iter().find(|name| *name != supported) {
                return Err(Error::model(format!(
                    "vae config: `{field}` = {other:?} is not supported"
                )));
            }
        }
        if !matches!(self.act_fn.as_str(), "silu" | "swish") {
            return Err(Error::model(format!(
                "vae config: `act_fn` = {:?} is not supported",
                self.act_fn
            )));
        }
        Ok(())
    }
}

/// Largest number of channels of anything; real models stay below 1024.
const MAX_CHANNELS: usize = 1 << 14;
/// Deepest autoencoder; real models have 4 blocks.
const MAX_BLOCKS: usize = 8;

fn within(field: &str, value: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::model(format!(
        "vae config: `{field}` is {value}, outside {least} to {most}"
    )))
}
