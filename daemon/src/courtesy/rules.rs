//! What the user set: when background work may run.

use std::time::Duration;

use super::Hours;

/// When jobs of the class `background` may run. Every rule must allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long nobody must have touched the machine; zero: it does not matter.
    pub idle: Duration,
    /// Whether they may run on battery power.
    pub on_battery: bool,
    /// The hours of the day in which they may run; `None` for any.
    pub hours: Option<Hours>,
    /// The share of the time that they may compute, in percent, from 1 to 100.
    pub duty_percent: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            idle: Duration::ZERO,
            on_battery: false,
            hours: None,
            duty_percent: 100,
        }
    }
}
