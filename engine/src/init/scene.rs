//! What the model is shown of a user's picture and its mask, and how what it draws is laid back over them.
//!
//! Plainly, both are brought to the size that is drawn, and what is drawn is the picture. With a blurred mask, with borders
//! or where only what is masked is drawn, the user's picture lies over it by the mask: where that is black, its pixels are the
//! user's to the last bit.

use super::{border, frame::Frame, region::Region};
use crate::{
    Error, InitImage, Result,
    image::{self, Rgb8, blur::gaussian, fit, overlay::overlay, resample::resized},
};

/// A user's picture and its mask, of one size.
pub(crate) struct Scene {
    picture: Rgb8,
    /// 0 to 255, row by row: how much is repainted. None where all of it is.
    mask: Option<Vec<u8>>,
    /// What of it is drawn, where that is not the whole.
    region: Option<Region>,
    /// The size that is drawn, in pixels.
    drawn: (u32, u32),
}

/// What the model is shown: both of the size that is drawn.
pub(crate) struct Shown {
    pub(crate) picture: Rgb8,
    pub(crate) mask: Option<Vec<u8>>,
}

impl Scene {
    /// Reads the files. `drawn`: the size that is drawn, in pixels.
    pub(crate) fn open(init: &InitImage, frame: &Frame, drawn: (u32, u32)) -> Result<Self> {
        let is_framed = !init.borders.are_none() || init.only_masked_padding_px.is_some();
        let size = if is_framed { frame.own } else { drawn };
        let picture = image::read_rgb(&init.image, size, "init_image")?;
        let mask = mask(init, frame, size)?;
        let (picture, mask) = if init.borders.are_none() {
            (picture, mask)
        } else {
            let mask = border::mask(mask.as_deref(), frame);
            (border::extended(&picture, frame), Some(mask))
        };
        let region = match (init.only_masked_padding_px, &mask) {
            (None, _) => None,
            (Some(_), None) => {
                return Err(Error::invalid(
                    "only_masked_padding_px",
                    "`only_masked_padding_px` is set, but there is no mask",
                )
                .with_hint("give a mask, or leave it out"));
            }
            (Some(padding), Some(mask)) => {
                let size = (picture.width_px, picture.height_px);
                Some(Region::around(mask, size, drawn, padding).ok_or_else(super::dark)?)
            }
        };
        Ok(Self {
            picture,
            mask,
            region,
            drawn,
        })
    }

    pub(crate) fn shown(&self) -> Shown {
        let Some(region) = self.region else {
            return Shown {
                picture: self.picture.clone(),
                mask: self.mask.clone(),
            };
        };
        let part = |pixels: &[u8], channels| {
            let cut = self.cut(pixels, channels, region);
            fit::filled(&cut, channels, region.size(), self.drawn)
        };
        Shown {
            picture: Rgb8 {
                width_px: self.drawn.0,
                height_px: self.drawn.1,
                pixels: part(&self.picture.pixels, 3),
            },
            mask: self.mask.as_ref().map(|mask| part(mask, 1)),
        }
    }

    /// What the model has drawn, with the user's picture over it where that is kept.
    pub(crate) fn laid_over(&self, drawn: Rgb8) -> Rgb8 {
        let Some(mask) = &self.mask else {
            return drawn;
        };
        let lower = match self.region {
            None => drawn,
            Some(region) => {
                let part = fit::cropped(&drawn.pixels, 3, self.drawn, region.size());
                let mut lower = self.picture.clone();
                let sizes = (region.size(), self.size());
                let at = (region.left.into(), region.top.into());
                fit::paste(&mut lower.pixels, (&part, 3), sizes, at);
                lower
            }
        };
        overlay(&self.picture, &lower, mask)
    }

    fn size(&self) -> (u32, u32) {
        (self.picture.width_px, self.picture.height_px)
    }

    fn cut(&self, pixels: &[u8], channels: usize, region: Region) -> Vec<u8> {
        let (width, height) = region.size();
        let mut cut = vec![0; width as usize * height as usize * channels];
        let sizes = (self.size(), region.size());
        let at = (-i64::from(region.left), -i64::from(region.top));
        fit::paste(&mut cut, (pixels, channels), sizes, at);
        cut
    }
}

/// The mask in `size`; blurred in the picture's own pixels before it is brought there.
fn mask(init: &InitImage, frame: &Frame, size: (u32, u32)) -> Result<Option<Vec<u8>>> {
    let Some(mask) = &init.mask else {
        return Ok(None);
    };
    if init.mask_blur_px == 0 {
        return image::read_grey(mask, size, "mask").map(Some);
    }
    let own = image::read_grey(mask, frame.own, "mask")?;
    let blurred = gaussian(&own, frame.own.0 as usize, init.mask_blur_px);
    Ok(Some(resized(&blurred, 1, frame.own, size)))
}
