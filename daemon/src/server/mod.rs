//! The socket and its connections, up to where HTTP/2 hands a call to a service.

mod accept;
mod connection;
mod greeting;
mod idle;
mod lifecycle;
mod listener;
mod peer;
mod status_details;

#[cfg(test)]
mod tests;

pub use accept::{Limits, serve};
pub use lifecycle::{Running, run};
pub use listener::{ListenError, Listening, listen};
