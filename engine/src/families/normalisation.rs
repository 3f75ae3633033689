//! How a sampler's latents differ from the autoencoder's.

use serde::Deserialize;

use super::{
    autoencoder::LatentShape,
    patches::{Patches, pack, unpack},
};
use crate::{Error, Result, checkpoint::Loader};

/// Keys of `vae/config.json` that say it. Source: diffusers `AutoencoderKL`, `AutoencoderKLFlux2`, `AutoencoderKLQwenImage`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
    #[serde(default = "sd_scaling_factor")]
    pub(super) scaling_factor: f64,
    #[serde(default)]
    shift_factor: Option<f64>,
    #[serde(default)]
    pub(super) latents_mean: Option<Vec<f32>>,
    #[serde(default)]
    latents_std: Option<Vec<f32>>,
    /// There when latents are normalised patch by patch.
    #[serde(default)]
    batch_norm_eps: Option<f64>,
    #[serde(default)]
    patch_size: Option<[usize; 2]>,
}

fn sd_scaling_factor() -> f64 {
    0.18215
}

/// Most channels of a patch of latents; real ones have 128.
const MOST_PATCH_CHANNELS: usize = 1024;

/// The difference.
pub(super) enum Normalisation {
    /// `(x - shift) * scale`.
    Scaled { scale: f32, shift: f32 },
    /// `(x - mean) / std * scale`, channel by channel.
    PerChannel {
        mean: Vec<f32>,
        std: Vec<f32>,
        scale: f32,
    },
    /// Patches of the autoencoder's latents as channels, then `(x - mean) / std`.
    Patched {
        mean: Vec<f32>,
        std: Vec<f32>,
        patch: usize,
    },
}

impl Normalisation {
    /// `channels`: of the autoencoder's latents. `loader`: of its weights, which have the numbers of patches.
    pub(super) fn read(config: &Config, channels: usize, loader: &Loader) -> Result<Self> {
        if let Some(epsilon) = config.batch_norm_eps {
            let patch = config.patch()?;
            let channels = patch_channels(channels, patch)?;
            let read = |name| -> Result<Vec<f32>> {
                Ok(loader.pp("bn").get(&[channels], name)?.to_vec1()?)
            };
            #[expect(
                clippy::cast_possible_truncation,
                reason = "torch adds it to a float32 tensor"
            )]
            let epsilon = epsilon as f32;
            let variance = read("running_var")?;
            return Ok(Self::Patched {
                mean: read("running_mean")?,
                std: variance.into_iter().map(|v| (v + epsilon).sqrt()).collect(),
                patch,
            });
        }
        let (scale, shift) = factors(config.scaling_factor, config.shift_factor)?;
        match (&config.latents_mean, &config.latents_std) {
            (Some(mean), Some(std)) if mean.len() == std.len() && !mean.is_empty() => {
                if mean.len() != channels {
                    return Err(Error::model(format!(
                        "vae/config.json: `latents_mean` has {} values, but there are {channels} latent channels",
                        mean.len(),
                    )));
                }
                Ok(Self::PerChannel {
                    mean: mean.clone(),
                    std: std.clone(),
                    scale,
                })
            }
            _ => Ok(Self::Scaled { scale, shift }),
        }
    }

    /// The same for all numbers. Fails where nothing could be undone.
    pub(super) fn scaled(scaling_factor: f64, shift_factor: f64) -> Result<Self> {
        let (scale, shift) = factors(scaling_factor, Some(shift_factor))?;
        Ok(Self::Scaled { scale, shift })
    }

    /// Of a tiny autoencoder, which works on the sampler's latents but for their being patches. `config`: of the
    /// autoencoder that it stands for, or its own.
    pub(super) fn of_tiny(config: &Config, channels: usize) -> Result<Self> {
        if config.batch_norm_eps.is_none() {
            return Ok(Self::Scaled {
                scale: 1.0,
                shift: 0.0,
            });
        }
        let patch = config.patch()?;
        let channels = patch_channels(channels, patch)?;
        Ok(Self::Patched {
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
            patch,
        })
    }

    /// Whether the sampler's latents are patches.
    pub(super) fn is_patched(&self) -> bool {
        matches!(self, Self::Patched { .. })
    }

    /// Latents of the autoencoder on a side of a patch that is one of the sampler's.
    pub(super) fn patch(&self) -> usize {
        match self {
            Self::Patched { patch, .. } => *patch,
            _ => 1,
        }
    }

    /// Shape of the autoencoder's latents, of which the sampler's have `shape`.
    pub(super) fn inside(&self, shape: LatentShape) -> LatentShape {
        let patch = self.patch();
        LatentShape {
            height: shape.height * patch,
            width: shape.width * patch,
            channels: shape.channels / (patch * patch),
        }
    }

    /// The sampler's latents to the autoencoder's, channels last.
    pub(super) fn undo(&self, shape: LatentShape, latents: &[f32]) -> (LatentShape, Vec<f32>) {
        let mut latents = latents.to_vec();
        let inside = self.inside(shape);
        match self {
            Self::Scaled { scale, shift } => latents
                .iter_mut()
                .for_each(|value| *value = *value / scale + shift),
            Self::PerChannel { mean, std, scale } => {
                for latent in latents.chunks_exact_mut(mean.len()) {
                    for ((value, mean), std) in latent.iter_mut().zip(mean).zip(std) {
                        *value = *value * std / scale + mean;
                    }
                }
            }
            Self::Patched { mean, std, patch } => {
                for latent in latents.chunks_exact_mut(mean.len()) {
                    for ((value, mean), std) in latent.iter_mut().zip(mean).zip(std) {
                        *value = *value * std + mean;
                    }
                }
                latents = unpack(&latents, inside, *patch, Patches::ChannelsOutside);
            }
        }
        (inside, latents)
    }

    /// The sampler's latents with patches taken apart, and no more: what a tiny autoencoder takes.
    pub(super) fn apart(&self, shape: LatentShape, latents: &[f32]) -> (LatentShape, Vec<f32>) {
        let inside = self.inside(shape);
        let latents = match self {
            Self::Patched { patch, .. } => {
                unpack(latents, inside, *patch, Patches::ChannelsOutside)
            }
            _ => latents.to_vec(),
        };
        (inside, latents)
    }

    /// The autoencoder's latents, which have `shape`, to the sampler's.
    pub(super) fn apply(&self, shape: LatentShape, mut latents: Vec<f32>) -> Vec<f32> {
        match self {
            Self::Scaled { scale, shift } => latents
                .iter_mut()
                .for_each(|value| *value = (*value - shift) * scale),
            Self::PerChannel { mean, std, scale } => {
                for latent in latents.chunks_exact_mut(mean.len()) {
                    for ((value, mean), std) in latent.iter_mut().zip(mean).zip(std) {
                        *value = (*value - mean) * scale / std;
                    }
                }
            }
            Self::Patched { mean, std, patch } => {
                latents = pack(&latents, shape, *patch, Patches::ChannelsOutside);
                for latent in latents.chunks_exact_mut(mean.len()) {
                    for ((value, mean), std) in latent.iter_mut().zip(mean).zip(std) {
                        *value = (*value - mean) / std;
                    }
                }
            }
        }
        latents
    }
}

impl Config {
    /// Of an autoencoder that has a mean and a deviation for each channel, and nothing else.
    pub(super) fn per_channel(mean: Vec<f32>, std: Vec<f32>) -> Self {
        Self {
            scaling_factor: 1.0,
            shift_factor: None,
            latents_mean: Some(mean),
            latents_std: Some(std),
            batch_norm_eps: None,
            patch_size: None,
        }
    }

    /// Side of a patch.
    fn patch(&self) -> Result<usize> {
        match self.patch_size.unwrap_or([2, 2]) {
            [patch, other] if patch == other && (1..=8).contains(&patch) => Ok(patch),
            [patch, other] => Err(Error::model(format!(
                "vae/config.json: `patch_size` [{patch}, {other}] is not supported"
            ))),
        }
    }
}

/// What latents are multiplied by, once something is taken off.
fn factors(scaling_factor: f64, shift_factor: Option<f64>) -> Result<(f32, f32)> {
    if !(scaling_factor.is_finite() && scaling_factor != 0.0) {
        return Err(Error::model(
            "vae/config.json: `scaling_factor` must be a number other than 0",
        ));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "torch divides a float32 tensor by it"
    )]
    let factors = (scaling_factor as f32, shift_factor.unwrap_or(0.0) as f32);
    Ok(factors)
}

/// Channels of a patch.
fn patch_channels(channels: usize, patch: usize) -> Result<usize> {
    let all = channels * patch * patch;
    if all > MOST_PATCH_CHANNELS {
        return Err(Error::model(format!(
            "vae/config.json: patches of {patch}x{patch} latents have {all} channels, more than {MOST_PATCH_CHANNELS}"
        )));
    }
    Ok(all)
}
