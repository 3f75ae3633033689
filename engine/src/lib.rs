//! The inference engine of imgd: prompt in, picture out.
//!
//! Synchronous: no async runtime, no gRPC, no command line, no printing, no environment.
//!
//! ```no_run
//! use imgd_engine::{Model, OpenOptions, Precision, Request, checkpoint::Source};
//!
//! # fn main() -> imgd_engine::Result<()> {
//! let source = Source::directory("models/starter")?;
//! let options = OpenOptions { name: "starter".into(), precision: Precision::Auto, progress: None };
//! let model = Model::open(&source, &options)?;
//! let mut a = model.start(&Request::new("a red apple", 1))?;
//! let mut b = model.start(&Request::new("a blue car", 2))?;
//! while !a.is_done() {
//!     for result in model.step(&mut [&mut a, &mut b]) {
//!         result?;
//!     }
//! }
//! let picture = model.finish(&mut a)?;
//! # Ok(())
//! # }
//! ```

mod adapters;
pub mod checkpoint;
mod controls;
pub mod denoise;
mod embeddings;
mod error;
mod families;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod generation;
#[cfg(test)]
mod golden;
mod hires;
pub mod image;
mod info;
mod init;
pub mod kernels;
mod keys;
mod latent_noise;
mod latent_resize;
mod model;
pub mod nn;
mod references;
mod request;
mod resolve;
pub mod sampling;
mod sealed;
pub mod text;
mod upscale;
pub mod vae;

pub use error::{Error, ErrorKind, Result};
pub use families::recognise;
pub use generation::Generation;
pub use info::{ComponentInfo, ModelInfo, Planned, inspect, plan};
pub use model::{Model, NUMERICS, OpenOptions, Picture, Preview, Progress, Restored};
pub use request::{
    Borders, CannyThresholds, Control, EmbeddingWord, Guidance, HiresFix, InitImage, Lora, Notice,
    Precision, PromptSyntax, RefImage, Request, Settings, UsedControl, UsedEmbedding, UsedHiresFix,
    UsedLora, Variation,
};
pub use upscale::{
    RestoredUpscaling, UPSCALED_PIXELS_LIMIT, UPSCALED_SIDE_LIMIT_PX, UpscaleRequest,
    UpscaleSettings, Upscaled, Upscaler, UpscalerInfo, Upscaling, inspect_upscaler, plan_upscaling,
};
