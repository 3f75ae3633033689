//! The daemon: keeps image-generation models resident and serves them over a Unix socket.
//!
//! Three processes share this program. The *supervisor* owns socket, queue and residency: [`server`] accepts,
//! [`services`] check and translate, [`scheduler`] carries out what [`queue`] decides, [`journal`] keeps it. The *worker*
//! owns the engine; [`engine`] is the seam between the two. The *spawner* starts workers.

pub mod activation;
mod args;
pub mod config;
pub mod courtesy;
pub mod engine;
pub mod events;
pub mod failure;
#[cfg(test)]
mod fake_engine;
pub mod journal;
pub mod keep_alive;
pub mod logging;
pub mod machine;
mod manual;
mod oom;
pub(crate) mod picture_size;
pub mod prompt;
pub mod queue;
mod run;
pub mod sandbox;
pub mod scheduler;
pub mod server;
pub mod service_manager;
pub mod services;
pub(crate) mod spawner;
pub mod starter;
pub mod submission;
pub(crate) mod sys;
pub(crate) mod worker;
mod workers;

pub use run::run;
