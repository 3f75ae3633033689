//! When a batch begins: `03:00`, `sat,sun 14:30`.

use std::{fmt, str::FromStr};

/// Days in systemd's words, Sunday first as launchd counts them.
const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// A time of the day, on all days or some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    /// Days of the week, 0 for Sunday, rising; none for every day.
    pub(super) days: Vec<u8>,
    /// 0 to 23.
    pub(super) hour: u8,
    /// 0 to 59.
    pub(super) minute: u8,
}

impl At {
    /// As `OnCalendar=` has it.
    pub(super) fn on_calendar(&self) -> String {
        let days: Vec<_> = self
            .days
            .iter()
            .map(|day| DAYS[usize::from(*day)])
            .collect();
        let days = match days.is_empty() {
            true => String::new(),
            false => format!("{} ", days.join(",")),
        };
        format!("{days}*-*-* {:02}:{:02}:00", self.hour, self.minute)
    }
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        read(text).ok_or_else(|| "must be a time such as 03:00, or with days: sat,sun 14:30".into())
    }
}

impl fmt::Display for At {
    /// To follow "drawn".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.days.is_empty() {
            true => write!(f, "every day")?,
            false => {
                let days: Vec<_> = self
                    .days
                    .iter()
                    .map(|day| DAYS[usize::from(*day)])
                    .collect();
                write!(f, "on {}", days.join(", "))?;
            }
        }
        write!(f, " at {:02}:{:02}", self.hour, self.minute)
    }
}

fn read(text: &str) -> Option<At> {
    let (days, time) = match text.trim().rsplit_once(' ') {
        Some((days, time)) => (Some(days), time),
        None => (None, text.trim()),
    };
    let mut numbers = Vec::new();
    for day in days.into_iter().flat_map(|days| days.split(',')) {
        let day = day.trim();
        let number = DAYS
            .iter()
            .position(|name| name.eq_ignore_ascii_case(day))?;
        numbers.push(u8::try_from(number).ok()?);
    }
    numbers.sort_unstable();
    numbers.dedup();
    let (hour, minute) = time.split_once(':')?;
    let number = |text: &str, below: u8| {
        let is_short = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|number| is_short && *number < below)
    };
    Some(At {
        days: numbers,
        hour: number(hour, 24)?,
        minute: number(minute, 60).filter(|_| minute.len() == 2)?,
    })
}

#[cfg(test)]
mod tests {
    use super::At;

    #[test]
    fn times_and_days_are_read_and_said() {
        for (text, calendar, words) in [
            ("03:00", "*-*-* 03:00:00", "every day at 03:00"),
            ("3:05", "*-*-* 03:05:00", "every day at 03:05"),
            (
                "sat,Sun 14:30",
                "Sun,Sat *-*-* 14:30:00",
                "on Sun, Sat at 14:30",
            ),
        ] {
            let at: At = text.parse().unwrap();
            assert_eq!(at.on_calendar(), calendar);
            assert_eq!(at.to_string(), words);
        }
        for wrong in [
            "",
            "3",
            "24:00",
            "03:60",
            "03:5",
            "someday 03:00",
            "+3:00",
            "mon, 03:00",
        ] {
            assert!(wrong.parse::<At>().is_err(), "{wrong}");
        }
    }
}
