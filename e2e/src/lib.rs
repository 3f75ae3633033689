//! Tests of the whole: the real `imgd`, the real `imgctl`, real pictures of the starter model.
//!
//! The library is what the tests stand on: where the two programs are ([`program`]), a private home for them
//! ([`Home`]) and a daemon in it ([`Daemon`]). It knows the programs from outside only: their arguments, their
//! output, their socket. Other packages' doc examples use it to have a daemon to talk to.

pub mod crash;
mod daemon;
mod home;
pub mod library;
pub mod line;
pub mod processes;
mod programs;
pub mod random;
pub mod refusal;
pub mod run;
mod small_disk;
pub mod tiny;

pub use daemon::Daemon;
pub use home::Home;
pub use programs::{program, repository};
pub use small_disk::SmallDisk;
