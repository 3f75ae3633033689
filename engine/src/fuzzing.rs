//! Doors into rooms that are closed otherwise, for the targets in `fuzz/`.

use std::path::Path;

use candle_core::{Device, Tensor};

use crate::checkpoint::Source;
use crate::keys::tiny;
use crate::vae::{
    AutoencoderNetwork as _,
    tiny::{AutoencoderTiny, Sizes},
};
use crate::{Result, adapters, embeddings};

/// Reads every change in a LoRA's file, each for a layer whose weight has `shape`: rows, and numbers in a row.
pub fn adapter(path: &Path, shape: (usize, usize)) -> Result<()> {
    adapters::read_all(path, shape)
}

/// Reads an embedding's file.
pub fn embedding(path: &Path) -> Result<()> {
    embeddings::read(path)
}

/// Reads a tiny autoencoder's file, and works with it both ways.
pub fn tiny_autoencoder(path: &Path) -> Result<()> {
    let weights = Source::single_file(path, None, &[])?.open_single()?;
    let Some(weights) = weights.as_ref().and_then(tiny::rename) else {
        return Ok(());
    };
    let sizes = Sizes::of(&weights)?;
    let network = AutoencoderTiny::load(&weights.loader(&Device::Cpu, None), &sizes)?;
    let zeros = |side: usize, channels: usize| {
        Tensor::zeros(
            (1, side, side, channels),
            candle_core::DType::F32,
            &Device::Cpu,
        )
    };
    network.decode(&zeros(2, sizes.latent_channels)?)?;
    network.encode(&zeros(2 * sizes.scale_factor as usize, 3)?)?;
    Ok(())
}
