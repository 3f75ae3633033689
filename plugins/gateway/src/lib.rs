//! HTTP for `imgd`: OpenAI's images API and a web page, as a client of the daemon's Unix socket.
//!
//! [`Gateway::bind`] checks that what is asked for is safe and takes the port, [`Gateway::serve`] serves it until it is
//! dropped. Each connection is a task; a client that goes away takes its picture with it, unless the page asked for it,
//! whose pictures are jobs.
//!
//! What it does not know: engines, files of models, the environment. It writes nothing to the disk and logs nothing.

#![warn(missing_docs)]

mod body;
mod daemon;
mod drawing;
mod fields;
mod guard;
mod health;
mod input;
mod key;
mod masks;
mod models;
mod openai;
mod page;
mod problem;
mod server;
mod settings;
mod sse;

pub use key::{ApiKey, BadKey};
pub use server::Gateway;
pub use settings::{Error, Settings};

use std::sync::Arc;

/// What the handlers share.
struct State {
    daemon: daemon::Daemon,
    settings: Settings,
    links: openai::Links,
    /// Bodies of several megabytes that may be in memory at once.
    uploads: tokio::sync::Semaphore,
    /// Is told when the page has begun a job.
    begun: tokio::sync::Notify,
}

type Shared = axum::extract::State<Arc<State>>;
