//! When background work may run: courtesy to whoever uses the machine.

mod hours;
mod rules;

pub use hours::Hours;
pub use rules::Rules;
