//! The models that have a name, and where the Hugging Face cache has their files.
//!
//! Known to `imgctl`, which fetches them, and to `imgd`, which finds them. Nothing here talks to a network, and nothing
//! writes: how files come into the cache is `imgctl`'s affair, what is in them the engine's.
//!
//! * [`Source`]: `hf:org/repo@revision:file`, read and checked,
//! * [`HubCache`]: the layout of the cache, and what is complete in it,
//! * [`apps`]: where other programs on the machine keep theirs,
//! * [`catalogue()`]: the models that have a name, one file each in `models/<family>/`.
#![warn(missing_docs)]

pub mod apps;
mod cache;
mod catalogue;
mod grammar;
mod place;
mod source;

pub use cache::{HubCache, PIN};
pub use catalogue::{Defaults, Entry, Licence, catalogue, entry, nearest};
pub use grammar::{check_path, is_blob_name, is_commit, is_revision};
pub use place::{cache_dir, hub_home};
pub use source::{InvalidSource, RepoId, Source};
