//! Fetching models from a hub into the Hugging Face cache: the one place of imgd that talks to a network.
//!
//! What a hub says is checked before it becomes a path, a size or a name; what it sends is hashed while it comes. Nothing
//! is visible in the cache before it is whole: contents go into `blobs/<hash>.incomplete`, are renamed once their hash is
//! right, and links and references are written when all contents are there. Why so: `docs/decisions/0018-pull.md`.

mod api;
mod choice;
mod client;
mod digest;
mod fetch;
mod lock;
mod meter;
mod part;
mod pull;
mod shelve;
mod trouble;
mod url;

pub(crate) use choice::{Chosen, Variant};
pub(crate) use client::Access;
pub(crate) use digest::Digest;
pub(crate) use meter::Meter;
pub(crate) use pull::{Order, Plan, plan, take};

/// A file of a repository at one commit. Path and blob are of the cache's grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    /// Its path in the repository.
    pub(crate) path: String,
    /// The name of its contents: SHA-256, or git's SHA-1.
    pub(crate) blob: String,
    /// Size in bytes.
    pub(crate) size: u64,
}
