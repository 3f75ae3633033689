//! When background work may run: courtesy to whoever uses the machine.
//!
//! [`allowed`] decides, from rules that the user set, conditions that [`Machine`] reads and the time; [`Courtesy`] keeps
//! its answer up to date while somebody wants it. Why each is read as it is: `docs/decisions/0013-courtesy.md`.

mod allowed;
mod hours;
mod idle;
mod machine;
mod power;
mod rules;
mod watch;

pub use allowed::{Blocked, Conditions, Why, allowed};
pub use hours::Hours;
pub use machine::{Machine, Readings};
pub use power::Power;
pub use rules::Rules;
pub use watch::Courtesy;
