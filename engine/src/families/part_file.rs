//! The weights of one part from a file of its own, whatever whoever made it calls the layers.

use super::FamilyEntry;
use crate::{
    Result,
    checkpoint::Weights,
    keys::{llama, vae},
};

/// What autoencoders in files of their own stand below.
const VAE_PREFIXES: [&str; 3] = ["", "vae.", "first_stage_model."];
const VAE: &str = "vae";

/// `weights` of the family's part `part` under the names that the networks know; as they are where those are theirs.
pub(super) fn renamed(family: &FamilyEntry, part: &str, weights: Weights) -> Result<Weights> {
    if part == VAE {
        let prefix = VAE_PREFIXES
            .into_iter()
            .find(|prefix| weights.has(&format!("{prefix}decoder.mid.block_1.conv1.weight")));
        return Ok(match prefix {
            Some(prefix) => vae::rename(&weights, prefix),
            None => weights,
        });
    }
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
