//! Async client of `imgd`, the daemon that keeps image models resident.
//!
//! [`Client::connect`] finds the daemon's socket, starts the daemon when nobody listens, and refuses to talk to
//! one of another protocol. [`Client::generate`] streams what happens; [`Client::generate_images`] waits for the
//! pictures.
//!
//! ```
//! use imgd_client::{Client, ConnectOptions, GenerateRequest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let daemon = imgd_e2e::Daemon::start();
//! # std::env::set_current_dir(daemon.work())?;
//! let options = ConnectOptions::default();
//! # let options = ConnectOptions { socket: Some(daemon.socket()), ..options };
//! let client = Client::connect(options).await?;
//! let mut request = GenerateRequest::new("a red apple");
//! request.num_inference_steps = Some(8);
//! request.seed = Some(7);
//! let images = client.generate_images(request).await?;
//! std::fs::write("a-red-apple.png", &images[0].bytes)?;
//! # assert!(images[0].bytes.starts_with(b"\x89PNG") && images[0].settings.seed == 7);
//! # Ok(())
//! # }
//! ```
//!
//! Work that is to outlive its client is a job: [`Client::submit`] returns when the daemon has it on disk,
//! [`Client::watch`] follows it from any event on, [`Client::image`] fetches its pictures.
//!
//! Dropping the stream of a request cancels it within one network evaluation; a job goes on. A [`Client`] is one
//! connection: when the daemon ends, calls fail with [`Error::Lost`], and connecting again is the way to a new daemon.

#![warn(missing_docs)]

mod build;
mod calls;
mod connect;
mod error;
mod event;
mod generation;
mod jobs;
mod library;
mod link;
mod locate;
mod options;
mod pages;
mod picture;
mod request;
mod service_manager;
mod start;
pub mod survey;
mod watch;

pub use calls::Loading;
pub use connect::Client;
pub use error::{Error, Result};
pub use event::{Event, Image, Preview, Started, Step, Timings};
pub use generation::Generation;
pub use imgd_proto::{Failure, Reason, v1};
pub use jobs::{JobFilter, JobRequest, Submitted, is_final, update};
pub use locate::program;
pub use options::{ConnectNotice, ConnectOptions, OnNotice};
pub use pages::Pages;
pub use picture::sha256_hex;
pub use request::{
    Control, ControlPreprocess, GenerateRequest, HiresFix, ImageFormat, ImageInput, KeepAlive,
    Lora, ModelPart, Precision, Priority, PromptSyntax, ReferenceImage, Upscale,
};
pub use start::log_file;
pub use watch::{JobEvent, Watch};
