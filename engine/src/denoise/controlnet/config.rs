//! The `config.json` of a ControlNet: what is read, and what is refused.

use serde::Deserialize;
use serde_json::json;

use super::embedding::PICTURE_CHANNELS;
use crate::denoise::unet_2d_condition;
use crate::denoise::unet_2d_condition::plan::Plan;
use crate::{Error, Result};

/// The fields of a ControlNet's `config.json`, with diffusers' names and defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are diffusers' and documented there")]
pub struct Config {
    /// What it has in common with the UNet that it is a copy of.
    #[serde(flatten)]
    pub unet: unet_2d_condition::Config,
    pub conditioning_channels: usize,
    pub controlnet_conditioning_channel_order: String,
    pub conditioning_embedding_out_channels: Vec<usize>,
    pub global_pool_conditions: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self::of(unet_2d_condition::Config::default())
    }
}

impl Config {
    /// That of a copy of `unet`, with the defaults of everything else.
    pub fn of(unet: unet_2d_condition::Config) -> Self {
        Self {
            unet,
            conditioning_channels: PICTURE_CHANNELS,
            controlnet_conditioning_channel_order: "rgb".to_owned(),
            conditioning_embedding_out_channels: vec![16, 32, 96, 256],
            global_pool_conditions: false,
        }
    }

    /// Whether its pictures have blue first.
    pub(super) fn is_bgr(&self) -> bool {
        self.controlnet_conditioning_channel_order == "bgr"
    }

    /// How often smaller the latents are than the picture.
    pub fn scale_factor(&self) -> usize {
        1 << (self.conditioning_embedding_out_channels.len().clamp(1, 8) - 1)
    }

    /// Checks everything that does not need the weights.
    pub(super) fn check(&self) -> Result<Plan> {
        let refused = |field: &str, value: serde_json::Value| {
            Err(Error::model(format!(
                "control net config: `{field}` = {value} is not supported"
            )))
        };
        if self.conditioning_channels != PICTURE_CHANNELS {
            return refused("conditioning_channels", json!(self.conditioning_channels));
        }
        let order = &self.controlnet_conditioning_channel_order;
        if !matches!(order.as_str(), "rgb" | "bgr") {
            return refused("controlnet_conditioning_channel_order", json!(order));
        }
        if self.global_pool_conditions {
            return refused("global_pool_conditions", json!(true));
        }
        let sizes = &self.conditioning_embedding_out_channels;
        if !(1..=8).contains(&sizes.len()) || !sizes.iter().all(|size| (1..=4096).contains(size)) {
            return refused("conditioning_embedding_out_channels", json!(sizes));
        }
        // It has no way up; the UNet's check wants one of as many blocks.
        let mirrored = self.unet.down_block_types.iter().rev();
        let mut unet = self.unet.clone();
        unet.up_block_types = mirrored.map(|name| name.replace("Down", "Up")).collect();
        unet.check()
    }
}
