//! The process that owns a device, and the supervisor's side of it.
//!
//! [`wire`] is what they say to each other; `process` is the worker's life, `backend` what it can do; [`Worker`] is
//! how the supervisor sees it. What may die, dies there: the supervisor holds no tensor and maps no file.

mod backend;
mod ending;
#[cfg(feature = "faults")]
mod faults;
mod handle;
mod held;
mod memory;
mod process;
mod upscaling;
mod verbs;
pub(crate) mod wire;

#[cfg(test)]
mod engine_tests;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
#[cfg(feature = "faults")]
mod fault_tests;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use self::{
    handle::{Timed, Worker},
    process::main,
};

/// Exit code of a worker after a panic in the engine: its state is not to be trusted.
pub(crate) const EXIT_PANIC: u8 = 70;
