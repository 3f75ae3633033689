//! What waits, what runs and what is resident, and the decision what to do next.
//!
//! Plain values and arithmetic: no clock, no I/O, no locks, no async. The scheduler carries the decisions out.

mod accounts;
mod batch;
mod curve;
mod job;
mod order;
mod pick;
mod residency;
mod starving;
mod state;

pub use accounts::Accounts;
pub use curve::{Curve, CurvePoint, Curves};
pub use job::{
    Beginning, Class, ClientId, Group, Image, Job, JobId, Progress, Returned, SecondPass, Stage,
};
pub use pick::{Tick, pick};
pub use starving::Starving;
pub use state::{Background, Fingerprint, Known, Resident, State, WorkerState};

#[cfg(test)]
mod adversary;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
