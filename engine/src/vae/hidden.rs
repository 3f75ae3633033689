//! What lies between two pieces of a decoder.

use candle_core::Tensor;

use crate::nn::{BandedImage, BegunResnet, ChannelSums};
use crate::{Error, Result};

/// What one piece of a decoder hands to the next.
pub struct Hidden(pub(super) State);

pub(super) enum State {
    Image(BandedImage),
    /// The enlargement of an image, of which only the sums are there.
    Enlarged {
        of: BandedImage,
        sums: ChannelSums,
    },
    Begun(Box<BegunResnet>),
}

impl Hidden {
    /// `(1, h, w, c)`. Fails after a piece whose result is no image.
    pub fn into_tensor(self) -> Result<Tensor> {
        self.into_image()?.into_tensor()
    }

    /// The same in bands.
    pub(super) fn into_image(self) -> Result<BandedImage> {
        match self.0 {
            State::Image(image) => Ok(image),
            State::Enlarged { .. } | State::Begun(_) => Err(out_of_order()),
        }
    }
}

pub(super) fn out_of_order() -> Error {
    Error::internal("a piece of the decoder was given what is another's")
}

pub(super) fn no_such_piece() -> Error {
    Error::internal("a piece that the decoder does not have")
}
