//! How long an idle model stays in memory.

use std::time::{Duration, Instant};

use imgd_proto::limits;

/// How long an idle model stays in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// This long after its last use; zero unloads it at once.
    For(Duration),
    /// Until it is unloaded by hand or the daemon ends.
    Forever,
}

/// Longer stays are for ever: no clock of the system counts further.
const MAX_STAY: Duration = Duration::from_secs(100 * 365 * 86_400);

impl KeepAlive {
    /// Reads what Ollama reads: a duration (`5m`, `1h30m`), a number of seconds, anything negative for ever.
    pub fn parse(text: &str) -> Option<Self> {
        let stay = match text.strip_prefix('-') {
            Some(rest) => return duration(rest).map(|_| Self::Forever),
            None => duration(text)?,
        };
        Some(Self::of(stay))
    }

    /// When a model that was last used at `used` goes; `None` for never.
    pub fn end(self, used: Instant) -> Option<Instant> {
        match self {
            Self::For(stay) => used.checked_add(stay),
            Self::Forever => None,
        }
    }

    fn of(stay: Duration) -> Self {
        if stay > MAX_STAY {
            Self::Forever
        } else {
            Self::For(stay)
        }
    }
}

impl From<limits::KeepAlive> for KeepAlive {
    fn from(wanted: limits::KeepAlive) -> Self {
        match wanted {
            limits::KeepAlive::For(stay) => Self::of(stay),
            limits::KeepAlive::Forever => Self::Forever,
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::KeepAlive;

    #[test]
    fn durations_numbers_and_negatives_are_read() {
        let seconds = |count| Some(KeepAlive::For(Duration::from_secs(count)));
        assert_eq!(KeepAlive::parse("5m"), seconds(300));
        assert_eq!(KeepAlive::parse("1h30m"), seconds(5400));
        assert_eq!(KeepAlive::parse("300"), seconds(300));
        assert_eq!(KeepAlive::parse("0"), seconds(0));
        assert_eq!(KeepAlive::parse("-1"), Some(KeepAlive::Forever));
        assert_eq!(KeepAlive::parse("-5m"), Some(KeepAlive::Forever));
        assert_eq!(KeepAlive::parse("99999999999999"), Some(KeepAlive::Forever));
        for wrong in ["", "-", "soon", "5 parsecs"] {
            assert_eq!(KeepAlive::parse(wrong), None, "{wrong}");
        }
    }
}
