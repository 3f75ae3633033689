//! Beginning from a picture: where on the way from noise it begins, what the first latents are, and what is kept.
//!
//! Sources: diffusers' image-to-image and inpainting pipelines.

mod border;
mod frame;
mod region;
mod scene;

use crate::{
    Error, InitImage, Result, families::Autoencoder, families::LatentShape,
    latent_noise::LatentNoise, sampling::Sampler,
};
pub(crate) use frame::Frame;
pub(crate) use scene::{Scene, Shown};

/// Strength where a request names none: of a whole picture, and of one that is repainted in part.
const WHOLE_STRENGTH: f64 = 0.75;
const MASKED_STRENGTH: f64 = 1.0;

/// Light from which a mask's pixel is repainted, as diffusers binarises masks.
const REPAINTED: u8 = 128;

/// The strength of a request's picture: its own or the default.
///
/// Fails when it is no number from 0 to 1.
pub(crate) fn strength(init: &InitImage) -> Result<f64> {
    let default = if init.keeps_a_part() {
        MASKED_STRENGTH
    } else {
        WHOLE_STRENGTH
    };
    let strength = init.strength.unwrap_or(default);
    if (0.0..=1.0).contains(&strength) {
        return Ok(strength);
    }
    Err(Error::invalid(
        "strength",
        format!("`strength` is {strength}, but must be from 0 to 1"),
    ))
}

/// Steps that are left out at the beginning.
///
/// `is_flow`: the pipelines of flow models round the other way. Fails when no step would be left, naming `field`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the steps; the reference truncates"
)]
pub(crate) fn first_step(
    field: &'static str,
    steps: u32,
    strength: f64,
    is_flow: bool,
) -> Result<usize> {
    let steps_f64 = f64::from(steps);
    let first = if is_flow {
        (steps_f64 - steps_f64 * strength).max(0.0) as u32
    } else {
        steps - ((steps_f64 * strength) as u32).min(steps)
    };
    if first >= steps {
        return Err(Error::invalid(
            field,
            format!("a `{field}` of {strength} leaves no step of {steps}"),
        )
        .with_hint("give a greater strength, or more steps"));
    }
    Ok(first as usize)
}

/// What is kept of a picture while the rest of it is repainted.
pub(crate) struct Kept {
    /// Latents of the picture.
    latents: Vec<f32>,
    noise: Vec<f32>,
    /// For each latent, whether it is repainted.
    repainted: Vec<bool>,
    channels: usize,
}

impl Kept {
    /// Puts the kept part back, with as much noise as the latents have now.
    pub(crate) fn restore(&self, sampler: &dyn Sampler, latents: &mut [f32]) {
        let kept = sampler.noised(&self.latents, &self.noise);
        let pixels = latents
            .chunks_exact_mut(self.channels)
            .zip(kept.chunks_exact(self.channels));
        for ((latent, kept), repainted) in pixels.zip(&self.repainted) {
            if !repainted {
                latent.copy_from_slice(kept);
            }
        }
    }
}

/// What a generation begins with.
pub(crate) struct Beginning {
    pub(crate) latents: Vec<f32>,
    pub(crate) kept: Option<Kept>,
    /// What a network that repaints is given beside the latents: for each latent the mask, then the kept picture's latents.
    pub(crate) beside: Option<Vec<f32>>,
}

/// What is said of a mask that leaves nothing to repaint.
fn dark() -> Error {
    Error::invalid("mask", "the mask is dark everywhere: nothing is repainted")
        .with_hint("white is repainted, black is kept; a blur makes small parts darker")
}

/// Makes the first latents of a picture that begins from another one.
///
/// `shown`: the picture and its mask, of the size that is drawn; `noise`: draws as the pipeline does: for the picture's latents, for the noise, and for
/// the kept part's latents.
pub(crate) fn begin(
    shown: &Shown,
    autoencoder: &Autoencoder,
    shape: LatentShape,
    sampler: &dyn Sampler,
    (strength, repaints): (f64, bool),
    noise: &mut LatentNoise<'_>,
) -> Result<Beginning> {
    let picture = &shown.picture;
    let pixels = picture.to_decoded();
    let (width, height) = (picture.width_px as usize, picture.height_px as usize);
    let encode = |pixels: &[f32], noise: &mut LatentNoise<'_>| {
        autoencoder.encode(pixels, (height, width), &mut || noise.next())
    };
    let Some(mask) = &shown.mask else {
        let latents = encode(&pixels, noise)?;
        let drawn = noise.first()?;
        return Ok(Beginning {
            latents: sampler.noised(&latents, &drawn),
            kept: None,
            beside: None,
        });
    };
    if mask.iter().all(|light| *light < REPAINTED) {
        return Err(dark());
    }
    let from_noise = strength >= 1.0;
    // A network that is shown what is kept needs the whole picture only to begin from it.
    let latents = if repaints && from_noise {
        None
    } else {
        Some(encode(&pixels, noise)?)
    };
    let drawn = noise.first()?;
    let repainted = repainted_latents(mask, (width, height), shape);
    let mut kept_pixels = pixels;
    for (pixel, light) in kept_pixels.chunks_exact_mut(3).zip(mask) {
        if *light >= REPAINTED {
            pixel.fill(0.0);
        }
    }
    let beside = if repaints {
        let kept = encode(&kept_pixels, noise)?;
        Some(beside(&repainted, &kept, shape.channels))
    } else {
        // The pipeline encodes it all the same, and draws for it.
        if autoencoder.is_sampled() {
            noise.next();
        }
        None
    };
    let first = match &latents {
        Some(latents) if !from_noise => sampler.noised(latents, &drawn),
        _ => {
            let scale = sampler.init_noise_sigma();
            drawn.iter().map(|value| value * scale).collect()
        }
    };
    let kept = latents.filter(|_| !repaints).map(|latents| Kept {
        latents,
        noise: drawn,
        repainted,
        channels: shape.channels,
    });
    Ok(Beginning {
        latents: first,
        kept,
        beside,
    })
}

/// The mask at the latents' size: the pixel at each latent's corner, as torch's nearest interpolation takes it.
fn repainted_latents(
    mask: &[u8],
    (width, height): (usize, usize),
    shape: LatentShape,
) -> Vec<bool> {
    (0..shape.height * shape.width)
        .map(|at| {
            let (y, x) = (at / shape.width, at % shape.width);
            let (y, x) = (y * height / shape.height, x * width / shape.width);
            mask[y * width + x] >= REPAINTED
        })
        .collect()
}

/// For each latent whether it is repainted, then the latents of what is kept.
fn beside(repainted: &[bool], kept: &[f32], channels: usize) -> Vec<f32> {
    repainted
        .iter()
        .zip(kept.chunks_exact(channels))
        .flat_map(|(repainted, kept)| {
            [if *repainted { 1.0 } else { 0.0 }]
                .into_iter()
                .chain(kept.iter().copied())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_left_out_as_the_pipelines_do() {
        assert_eq!(first_step("strength", 10, 0.6, false).unwrap(), 4);
        assert_eq!(first_step("strength", 8, 0.6, false).unwrap(), 4);
        assert_eq!(first_step("strength", 8, 0.6, true).unwrap(), 3);
        assert_eq!(first_step("strength", 8, 1.0, false).unwrap(), 0);
        let error = first_step("strength", 8, 0.1, false).unwrap_err();
        assert_eq!(error.field(), Some("strength"));
    }

    #[test]
    fn a_mask_is_read_at_each_latents_corner() {
        let mut mask = vec![0; 8 * 4];
        mask[4] = 255;
        let shape = LatentShape {
            height: 2,
            width: 4,
            channels: 1,
        };
        let repainted = repainted_latents(&mask, (8, 4), shape);
        assert_eq!(repainted.iter().position(|repainted| *repainted), Some(2));
        assert_eq!(repainted.iter().filter(|repainted| **repainted).count(), 1);
    }
}
