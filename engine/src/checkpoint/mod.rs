//! What lies on disk: the files of a model and the tensors in them.
//!
//! A model is a [`Source`]: a diffusers directory, or the same files inside the program. Small files come out of it as
//! bytes or JSON; the tensors of a component come out as [`Weights`], whose headers have been checked before anything
//! else touches the file, and are read through a [`Loader`].
//!
//! Everything here treats files as hostile. Only safetensors and GGUF are read, since pickle can run code when it is opened.
//! Files are read with `pread` and never mapped: a file that is cut while it is read gives an error, not a SIGBUS.

mod convert;
mod gguf;
mod hash;
mod header;
mod index;
mod layers;
mod loader;
mod matrix;
mod refused;
mod renaming;
mod rows;
mod source;
mod stamp;
#[cfg(test)]
mod tests;
mod weights;

pub use hash::{Sha256, model_sha256};
pub use layers::{Held, LayerId, Layers, Part};
pub use loader::{Loader, Progress};
pub use matrix::Matrix;
pub use renaming::Renaming;
pub use rows::Rows;
pub use source::{EmbeddedFile, SMALL_FILE_LIMIT_BYTES, Source};
pub(crate) use stamp::Stamp;
pub use weights::Weights;
