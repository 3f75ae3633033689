//! The weights of one part from a file of its own, whatever whoever made it calls the layers.

use super::FamilyEntry;
use crate::{
    Result,
    checkpoint::{Renaming, Weights},
    keys::{llama, tiny, vae, video_vae},
};

/// What autoencoders in files of their own stand below.
const VAE_PREFIXES: [&str; 3] = ["", "vae.", "first_stage_model."];
const VAE: &str = "vae";
/// What text encoders begin with.
const TEXT_ENCODER: &str = "text_encoder";
/// What some of them have for other tasks, which no family sets: seeing pictures, and writing on.
const UNREAD: [&str; 3] = ["visual.", "model.visual.", "lm_head."];

/// `weights` of the family's part `part` under the names that the networks know; as they are where those are theirs.
pub(super) fn renamed(family: &FamilyEntry, part: &str, weights: Weights) -> Result<Weights> {
    if part == VAE {
        if let Some(renamed) = tiny::rename(&weights) {
            return Ok(renamed);
        }
        let of_videos = VAE_PREFIXES
            .into_iter()
            .find(|prefix| video_vae::is_below(&weights, prefix));
        if let Some(prefix) = of_videos {
            return Ok(video_vae::rename(&weights, prefix));
        }
        let prefix = VAE_PREFIXES
            .into_iter()
            .find(|prefix| weights.has(&format!("{prefix}decoder.mid.block_1.conv1.weight")));
        return Ok(match prefix {
            Some(prefix) => vae::rename(&weights, prefix),
            None => weights,
        });
    }
    let weights = if part.starts_with(TEXT_ENCODER) {
        without_unread(weights)
    } else {
        weights
    };
    if let Some(renamed) = llama::rename(&weights) {
        return Ok(renamed);
    }
    let Some(single) = family.single_file.as_ref() else {
        return Ok(weights);
    };
    if (single.recognises)(&weights) {
        let parts = (single.parts)(&weights)?.into_iter();
        let found = parts.filter(|(name, part)| !part.is_empty() && !name.is_empty());
        if let Some((_, renamed)) = found.into_iter().find(|(name, _)| *name == part) {
            return Ok(renamed);
        }
    }
    Ok(weights)
}

/// A text encoder without what is never loaded, so that nobody counts it.
fn without_unread(weights: Weights) -> Weights {
    let is_unread = |name: &str| UNREAD.iter().any(|unread| name.starts_with(unread));
    if !weights.names().any(is_unread) {
        return weights;
    }
    let mut to = Renaming::new(&weights);
    for name in weights.names().filter(|name| !is_unread(name)) {
        to.take(name, name);
    }
    to.finish()
}
