//! Pictures to look at: what a model that is told to change pictures, or to draw like them, sees beside its own.
//!
//! Each is brought to a size of its own, encoded once at a generation's beginning, and stands behind the noise's tokens in
//! every evaluation. Not for pictures to begin from ([`crate::init`]), nor for those that ControlNets see.
//!
//! Source: diffusers `Flux2KleinPipeline`, `Flux2ImageProcessor`.

use crate::families::{self, Autoencoder, LatentShape};
use crate::{Error, RefImage, Result, image};

/// The request's name of the pictures.
pub(crate) const FIELD: &str = "ref_images";
/// Pixels of the largest that is looked at as it is; larger ones are brought down to that.
const AREA_LIMIT_PX: f64 = 1024.0 * 1024.0;
/// Shortest side in pixels.
const SIDE_MIN_PX: u32 = 64;
/// Most times that one side is the other.
const ASPECT_LIMIT: u32 = 8;

/// A picture as the network sees it.
pub(crate) struct Reference {
    /// Shape of its latents.
    pub(crate) shape: LatentShape,
    /// Channels last, as the sampler's latents are.
    pub(crate) latents: Vec<f32>,
}

/// How a picture's pixels become those that are encoded.
#[derive(Debug, PartialEq, Eq)]
struct Fitted {
    /// Width and height that it is resized to.
    resized_px: (u32, u32),
    /// Width and height of what is cut from its middle.
    cut_px: (u32, u32),
}

/// Checks the pictures of a request for a model that looks at `most` of them, and the size of the first as it is seen: that
/// of the new picture where none is named.
///
/// Fails naming the field when they are too many, no pictures, too small or too long, or when there is a picture to begin
/// from as well.
pub(crate) fn check(
    pictures: &[RefImage],
    most: u32,
    has_init: bool,
    multiple_px: u32,
) -> Result<Option<(u32, u32)>> {
    if pictures.is_empty() {
        return Ok(None);
    }
    if most == 0 {
        return Err(families::looks_at_none());
    }
    if pictures.len() > most as usize {
        let message = format!(
            "{FIELD} has {} pictures, and this model looks at {most} at most",
            pictures.len()
        );
        return Err(Error::invalid(FIELD, message));
    }
    if has_init {
        let message = format!("{FIELD} is set, and a picture to begin from as well");
        return Err(Error::invalid(FIELD, message)
            .with_hint("leave one out: a picture to be changed is one to look at"));
    }
    let mut sizes = Vec::with_capacity(pictures.len());
    for picture in pictures {
        sizes.push(fitted(image::size_of(&picture.image, FIELD)?, multiple_px)?.cut_px);
    }
    Ok(sizes.first().copied())
}

/// Encodes the pictures of a request, which [`check`] has passed.
pub(crate) fn begin(
    pictures: &[RefImage],
    autoencoder: &Autoencoder,
    multiple_px: u32,
) -> Result<Vec<Reference>> {
    let encode = |picture: &RefImage| {
        let fitted = fitted(image::size_of(&picture.image, FIELD)?, multiple_px)?;
        let (width, height) = fitted.cut_px;
        let seen = image::read_rgb(&picture.image, fitted.resized_px, FIELD)?.middle(width, height);
        // Without noise: the mode of the autoencoder's distribution.
        let size = (height as usize, width as usize);
        let latents = autoencoder.encode(&seen.to_decoded(), size, &mut Vec::new)?;
        Ok(Reference {
            shape: autoencoder.latent_shape(width, height),
            latents,
        })
    };
    pictures.iter().map(encode).collect()
}

/// Whether two inputs look at pictures of the same sizes, in the same order.
pub(crate) fn same_shapes(a: &[Reference], b: &[Reference]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.shape == b.shape)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides become smaller; the reference truncates"
)]
fn fitted((width, height): (u32, u32), multiple_px: u32) -> Result<Fitted> {
    let (short, long) = (width.min(height), width.max(height));
    let refused = |what: String| {
        let message = format!("{FIELD} has a picture of {width}x{height} pixels: {what}");
        Err(Error::invalid(FIELD, message))
    };
    if short < SIDE_MIN_PX {
        return refused(format!("both sides must have at least {SIDE_MIN_PX}"));
    }
    if long > ASPECT_LIMIT * short {
        return refused(format!(
            "one side must be at most {ASPECT_LIMIT} times the other"
        ));
    }
    let area = f64::from(width) * f64::from(height);
    let resized_px = if area > AREA_LIMIT_PX {
        let scale = (AREA_LIMIT_PX / area).sqrt();
        let side = |side: u32| (f64::from(side) * scale) as u32;
        (side(width), side(height))
    } else {
        (width, height)
    };
    let side = |side: u32| side / multiple_px * multiple_px;
    let cut_px = (side(resized_px.0), side(resized_px.1));
    if cut_px.0 == 0 || cut_px.1 == 0 {
        return refused(format!("this model sees squares of {multiple_px}"));
    }
    Ok(Fitted { resized_px, cut_px })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of `Flux2ImageProcessor._resize_to_target_area` and of the pipeline's rounding.
    #[test]
    fn large_pictures_are_brought_down_and_cut_to_whole_squares() {
        for (size, resized_px, cut_px) in [
            ((64, 64), (64, 64), (64, 64)),
            ((103, 77), (103, 77), (96, 64)),
            ((1024, 1024), (1024, 1024), (1024, 1024)),
            ((1290, 1000), (1163, 901), (1152, 896)),
            ((4000, 3000), (1182, 886), (1168, 880)),
            ((8192, 1024), (2896, 362), (2896, 352)),
        ] {
            assert_eq!(fitted(size, 16).unwrap(), Fitted { resized_px, cut_px });
        }
    }

    #[test]
    fn small_and_long_pictures_are_refused_by_field() {
        for (size, part) in [((63, 640), "at least 64"), ((513, 64), "8 times")] {
            let error = fitted(size, 16).unwrap_err();
            assert_eq!(error.field(), Some("ref_images"));
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(fitted((512, 64), 16).is_ok());
        assert!(fitted((100, 100), 128).is_err());
    }
}
