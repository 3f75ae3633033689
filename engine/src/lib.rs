//! The inference engine of imgd: prompt in, picture out.
//!
//! Synchronous: no async runtime, no gRPC, no command line, no printing, no environment.

pub mod checkpoint;
pub mod denoise;
mod error;
#[cfg(test)]
mod golden;
pub mod image;
pub mod kernels;
pub mod nn;
pub mod sampling;
pub mod text;
pub mod vae;

pub use error::{Error, ErrorKind, Result};
