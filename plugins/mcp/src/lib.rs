//! `imgd` as tools of a language model: a server of the Model Context Protocol over standard input and output.
//!
//! It is a client of the daemon like any other, and what a model may do by it is narrow: have pictures drawn, look at those, and
//! read pictures in folders that the user allowed. [`serve`] is what `imgctl mcp` runs.
//!
//! * `tools`: which tools there are and what they take, as a table that schema and reader share,
//! * `request`: what was given, as a request of the contract,
//! * `input`, `shelf`: pictures that are read, and where pictures are written,
//! * `draw`: from a request to pictures, with progress and cancelling,
//! * `reply`: what the model gets.
#![warn(missing_docs)]

mod arguments;
mod draw;
mod inline;
mod input;
mod listing;
mod progress;
mod refusal;
mod reply;
mod request;
mod server;
mod shelf;
mod tools;

use std::path::PathBuf;

use imgd_client::ConnectOptions;

pub use server::serve;
pub use shelf::default_output_dir;

/// What the user decides, and no model.
#[derive(Debug, Clone)]
pub struct Options {
    /// How the daemon is reached and started.
    pub connect: ConnectOptions,
    /// Folder that pictures are written to; it is made where it is missing.
    pub output_dir: PathBuf,
    /// Folders below which pictures may be read, besides `output_dir`.
    pub allowed_dirs: Vec<PathBuf>,
    /// Keeps nothing at the daemon: neither prompts nor pictures, and no job can be asked for later.
    pub private: bool,
}

/// Why the server ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A folder that pictures may be read from is none.
    #[error("cannot read the folder `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Pictures could not be written to their folder.
    #[error("cannot write into the folder `{}`", path.display())]
    OutputFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The client spoke something else than the protocol.
    #[error("the client does not speak the Model Context Protocol: {0}")]
    Protocol(String),
    /// The server itself failed.
    #[error("the server failed: {0}")]
    Failed(String),
}
