//! `vae/config.json` of Qwen-Image.

use serde::Deserialize;

use crate::{Error, Result};

/// The fields of `vae/config.json`, with diffusers' names and defaults.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are diffusers' and documented there")]
pub struct Config {
    pub base_dim: usize,
    pub z_dim: usize,
    pub dim_mult: Vec<usize>,
    pub num_res_blocks: usize,
    pub attn_scales: Vec<f64>,
    pub temperal_downsample: Vec<bool>,
    pub input_channels: usize,
    pub latents_mean: Vec<f32>,
    pub latents_std: Vec<f32>,
}

/// Of the published autoencoder, which is that of Wan 2.1.
pub const LATENTS_MEAN: [f32; 16] = [
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517,
    -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
];
const LATENTS_STD: [f32; 16] = [
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579,
    1.6382, 1.1253, 2.8251, 1.9160,
];

impl Default for Config {
    fn default() -> Self {
        Self {
            base_dim: 96,
            z_dim: 16,
            dim_mult: vec![1, 2, 4, 4],
            num_res_blocks: 2,
            attn_scales: Vec::new(),
            temperal_downsample: vec![false, true, true],
            input_channels: 3,
            latents_mean: LATENTS_MEAN.to_vec(),
            latents_std: LATENTS_STD.to_vec(),
        }
    }
}

/// Largest number of channels of anything; the real one stays below 512.
const MAX_CHANNELS: usize = 1 << 14;
/// Most channels of latents.
const MAX_LATENT_CHANNELS: usize = 256;
/// Deepest autoencoder; the real one has 4 levels.
const MAX_LEVELS: usize = 8;

impl Config {
    /// Pixels for each latent in both directions. Only of a configuration that was checked.
    pub fn scale_factor(&self) -> usize {
        1 << self.dim_mult.len().saturating_sub(1)
    }

    /// Channels of each level, the one with the most pixels first. Only of a configuration that was checked.
    pub fn channels(&self) -> Vec<usize> {
        let levels = self.dim_mult.iter();
        levels.map(|factor| factor * self.base_dim).collect()
    }

    /// Checks everything that does not need the weights.
    pub fn check(&self) -> Result<()> {
        let levels = self.dim_mult.len();
        within("dim_mult.len", levels, MAX_LEVELS)?;
        within("base_dim", self.base_dim, MAX_CHANNELS)?;
        within("z_dim", self.z_dim, MAX_LATENT_CHANNELS)?;
        within("num_res_blocks", self.num_res_blocks, 16)?;
        for factor in &self.dim_mult {
            within("dim_mult", *factor, MAX_CHANNELS)?;
            within("base_dim * dim_mult", self.base_dim * factor, MAX_CHANNELS)?;
        }
        let refuse = |what: String| Err(Error::model(format!("vae/config.json: {what}")));
        if self.temperal_downsample.len() + 1 != levels {
            return refuse(format!(
                "`temperal_downsample` has {} entries, and `dim_mult` {levels}",
                self.temperal_downsample.len()
            ));
        }
        if !self.attn_scales.is_empty() {
            return refuse("`attn_scales` with entries is not supported".to_owned());
        }
        if self.input_channels != 3 {
            return refuse(format!(
                "`input_channels` is {}, and pictures have 3",
                self.input_channels
            ));
        }
        for (field, values) in [
            ("latents_mean", &self.latents_mean),
            ("latents_std", &self.latents_std),
        ] {
            if values.len() != self.z_dim {
                return refuse(format!(
                    "`{field}` has {} values, but there are {} latent channels (`z_dim`)",
                    values.len(),
                    self.z_dim
                ));
            }
        }
        Ok(())
    }
}

fn within(field: &str, value: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::model(format!(
        "vae/config.json: `{field}` is {value}, outside 1 to {most}"
    )))
}
