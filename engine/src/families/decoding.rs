//! How far a picture's decoding is, between two pieces of it.

use crate::{image::Rgb8, vae::Hidden};

/// A picture that is being decoded.
pub(crate) enum Decoding {
    /// Some pieces are done.
    UnderWay {
        /// How many.
        stages_done: usize,
        /// What the next one takes.
        hidden: Hidden,
    },
    /// All are.
    Done(Rgb8),
}
