//! What waits, what runs and what is resident, and the decision what to do next.
//!
//! Plain values and arithmetic: no clock, no I/O, no locks, no async. The scheduler carries the decisions out.

mod pick;
mod state;

pub use pick::{Tick, pick};
pub use state::{Fingerprint, Image, Job, JobId, Known, Resident, State, WorkerState};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
