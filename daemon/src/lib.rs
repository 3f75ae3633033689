//! The daemon: keeps image-generation models resident and serves them over a Unix socket.

pub mod machine;
pub(crate) mod spawner;
pub(crate) mod sys;
pub(crate) mod worker;
