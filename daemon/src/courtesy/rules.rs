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

impl Rules {
    /// How long background work pauses after `worked` of it, so that it computes no more than its share of the time.
    ///
    /// At 25 percent a second of work is followed by three of rest.
    pub fn rest_after(&self, worked: Duration) -> Duration {
        let percent = self.duty_percent.clamp(1, 100);
        worked.saturating_mul(100 - percent) / percent
    }

    /// Whether nothing that happens on the machine could forbid background work.
    pub(super) fn always_allow(&self) -> bool {
        self.idle.is_zero() && self.on_battery && self.hours.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Rules;

    #[test]
    fn work_and_rest_together_keep_to_the_share() {
        for duty_percent in 1..=100 {
            let rules = Rules {
                duty_percent,
                ..Rules::default()
            };
            for millis in [1, 40, 1000, 65_537] {
                let worked = Duration::from_millis(millis);
                let rest = rules.rest_after(worked);
                let share = worked.as_secs_f64() / (worked + rest).as_secs_f64() * 100.0;
                assert!(
                    (share - f64::from(duty_percent)).abs() < 0.01,
                    "{duty_percent} % of {millis} ms: {share}"
                );
            }
        }
        assert_eq!(
            Rules::default().rest_after(Duration::from_secs(9)),
            Duration::ZERO
        );
        let longest = Rules {
            duty_percent: 1,
            ..Rules::default()
        };
        assert!(longest.rest_after(Duration::MAX) > Duration::from_secs(1 << 40));
    }
}
