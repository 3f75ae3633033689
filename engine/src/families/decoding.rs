//! How far a picture's decoding is, between two pieces of it.

use candle_core::Tensor;

use crate::image::Rgb8;

/// A picture that is being decoded.
pub(crate) enum Decoding {
    /// Some pieces are done.
    UnderWay {
        /// How many.
        stages_done: usize,
        /// What the next one takes.
        hidden: Tensor,
    },
    /// All are.
    Done(Rgb8),
}
