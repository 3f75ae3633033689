//! Previews by a tiny autoencoder, where a folder has the one that knows the family's latents.
//!
//! The folder is ComfyUI's `vae_approx`. The file is looked for at every preview and read when it is another one than
//! before, so that it may come, go and change while the model is loaded.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::{Device, Tensor};

use super::{Autoencoder, LatentShape};
use crate::{
    Error, Precision, Result,
    checkpoint::{Source, Stamp},
    image::{Rgb8, shrunk},
    keys::tiny,
    vae::{
        AutoencoderNetwork as _,
        tiny::{AutoencoderTiny, Sizes},
    },
};

/// What follows the name of the autoencoder: ComfyUI's file of the decoder, a file of both halves, and what torch saves,
/// which is refused with a reason.
const SUFFIXES: [&str; 3] = ["_decoder.safetensors", ".safetensors", "_decoder.pth"];

/// The tiny autoencoder of a model's latents.
pub(crate) struct PreviewDecoder {
    name: &'static str,
    precision: Precision,
    opened: Mutex<Option<Opened>>,
}

/// The file that was read last.
struct Opened {
    file: PathBuf,
    stamp: Stamp,
    /// None where it is broken.
    network: Option<Arc<AutoencoderTiny>>,
}

impl PreviewDecoder {
    /// None is read yet. `name`: as of [`super::FamilyEntry::preview_decoder`].
    pub(crate) fn new(name: &'static str, precision: Precision) -> Self {
        Self {
            name,
            precision,
            opened: Mutex::default(),
        }
    }

    /// The picture of latents, with sides of at most [`crate::image::THUMBNAIL_SIDE_PX`]; none where `folder` has no such
    /// file, or one that was found to be broken.
    ///
    /// Fails once for a file that is broken or of another kind.
    pub(crate) fn decode(
        &self,
        folder: &Path,
        autoencoder: &Autoencoder,
        shape: LatentShape,
        latents: &[f32],
    ) -> Result<Option<Rgb8>> {
        let Some(network) = self.network(folder, autoencoder.latent_channels())? else {
            return Ok(None);
        };
        let decoded = network.decode(&autoencoder.to_tiny(shape, latents)?)?;
        picture(&decoded).map(Some)
    }

    fn network(&self, folder: &Path, channels: usize) -> Result<Option<Arc<AutoencoderTiny>>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let found = SUFFIXES.iter().find_map(|suffix| {
            let file = folder.join(format!("{}{suffix}", self.name));
            let stamp = Stamp::of(&file).ok()?;
            Some((file, stamp))
        });
        let Some((file, stamp)) = found else {
            *opened = None;
            return Ok(None);
        };
        if let Some(opened) = opened
            .as_ref()
            .filter(|opened| opened.file == file && opened.stamp == stamp)
        {
            return Ok(opened.network.clone());
        }
        let read = self.read(&file, channels).map(Arc::new);
        *opened = Some(Opened {
            file,
            stamp,
            network: read.as_ref().ok().cloned(),
        });
        read.map(Some)
    }

    fn read(&self, file: &Path, channels: usize) -> Result<AutoencoderTiny> {
        let weights = Source::single_file(file, None, &[])?
            .open_single()?
            .and_then(|weights| tiny::rename(&weights))
            .ok_or_else(|| Error::model(format!("`{}` is no tiny autoencoder", file.display())))?;
        let sizes = Sizes::of(&weights)?;
        if sizes.latent_channels != channels {
            return Err(Error::model(format!(
                "`{}` is for latents of {} channels, and this model's have {channels}",
                file.display(),
                sizes.latent_channels
            )));
        }
        let loader = weights.loader(&Device::Cpu, None);
        AutoencoderTiny::load(&loader.with_precision(self.precision), &sizes)
    }
}

/// `decoded`: `(1, height, width, 3)` in `[-1, 1]`.
fn picture(decoded: &Tensor) -> Result<Rgb8> {
    let (_, height, width, _) = decoded.dims4()?;
    let side = |side: usize| {
        u32::try_from(side).map_err(|_too_large| Error::internal("preview is too large"))
    };
    let pixels: Vec<f32> = decoded.flatten_all()?.to_vec1()?;
    let whole = Rgb8::from_decoded(&pixels, side(width)?, side(height)?)?;
    Ok(shrunk(&whole)?.into_owned())
}
