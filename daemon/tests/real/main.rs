//! The real daemon with its real worker and the starter model, under bad requests and bad clients.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod connections;
mod house;
mod http2;
mod jobs;
mod life;
mod models;
mod refusals;
mod requests;
