//! A tiny autoencoder in a model: in its own directory, or in a file that stands for the model's large one.

use serde::Deserialize;

use super::{
    ModelFiles,
    autoencoder::Sizes,
    normalisation::{Config, Normalisation},
};
use crate::{
    Error, Result,
    checkpoint::{Loader, Weights},
    keys::tiny,
    vae::tiny::{self as network, AutoencoderTiny},
};

/// diffusers' class.
pub(super) const CLASS: &str = "AutoencoderTiny";

/// What decoding takes, in quarters of the decoder's widest feature map: one is kept whole, of others there are bands.
const DECODER_QUARTER_MAPS: u64 = 6;

#[derive(Deserialize)]
struct Named {
    #[serde(default, rename = "_class_name")]
    class: Option<String>,
    #[serde(default)]
    scaling_factor: Option<f64>,
    #[serde(default)]
    shift_factor: Option<f64>,
}

/// What the weights of `vae` say; `None` when they are of another kind.
fn network_sizes(files: &ModelFiles) -> Result<Option<network::Sizes>> {
    let is_tiny = |weights: &&Weights| tiny::recognises(weights);
    let weights = files.weights("vae").filter(is_tiny);
    weights.map(network::Sizes::of).transpose()
}

/// The sizes, where the autoencoder is a tiny one.
pub(super) fn sizes(files: &ModelFiles) -> Result<Option<Sizes>> {
    Ok(network_sizes(files)?.map(|sizes| Sizes {
        scale_factor: sizes.scale_factor,
        latent_channels: sizes.latent_channels,
        working_bytes_per_pixel: sizes.widest_map * 4 * DECODER_QUARTER_MAPS / 4,
    }))
}

/// The network and what is between it and the sampler, where the autoencoder is a tiny one. `config`: what `vae/config.json`
/// says of scales, which are those of the large autoencoder where the tiny one is in a file of its own.
///
/// Fails where the configuration is that of a tiny autoencoder, and the weights are of another kind.
pub(super) fn open(
    files: &ModelFiles,
    loader: &Loader,
    config: &Config,
) -> Result<Option<(AutoencoderTiny, Normalisation)>> {
    let named: Named = files.config("vae")?;
    let is_own = named.class.as_deref() == Some(CLASS);
    let Some(sizes) = network_sizes(files)? else {
        if is_own {
            return Err(Error::model(format!(
                "vae/config.json is that of an `{CLASS}`, and the weights are of another autoencoder"
            ))
            .with_hint("with `--config`, give a diffusers directory that has the configuration of this autoencoder"));
        }
        return Ok(None);
    };
    let normalisation = if is_own {
        files.config::<network::Config>("vae")?.check()?;
        Normalisation::scaled(
            named.scaling_factor.unwrap_or(1.0),
            named.shift_factor.unwrap_or(0.0),
        )?
    } else {
        Normalisation::of_tiny(config, sizes.latent_channels)?
    };
    Ok(Some((
        AutoencoderTiny::load(loader, &sizes)?,
        normalisation,
    )))
}
