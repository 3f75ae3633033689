//! The daemon: keeps image-generation models resident and serves them over a Unix socket.

pub(crate) mod spawner;
pub(crate) mod sys;
pub(crate) mod worker;
