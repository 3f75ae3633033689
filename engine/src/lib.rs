//! The inference engine of imgd: prompt in, picture out.
//!
//! Synchronous: no async runtime, no gRPC, no command line, no printing, no environment.

pub mod checkpoint;
mod error;
pub mod sampling;

pub use error::{Error, ErrorKind, Result};
