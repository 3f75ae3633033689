//! Hours of the day, as `22:00-07:00`.

/// A part of every day in local time: from a minute to just before another, across midnight where that one is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// The first minute that belongs to it, from midnight.
    from: u16,
    /// The first minute after it that does not.
    to: u16,
}

impl Hours {
    /// Reads `HH:MM-HH:MM`. Two equal ends say neither never nor always, and so are not read.
    pub fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('-')?;
        let (from, to) = (minute(from.trim())?, minute(to.trim())?);
        (from != to).then_some(Self { from, to })
    }

    /// Whether a minute of the day, from 0 to 1439, belongs to it.
    pub fn contains(self, minute: u16) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }

    /// The first minute of the day that belongs to it, from 0 to 1439.
    pub fn begin(self) -> u16 {
        self.from
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, to) = (self.from, self.to);
        let (from_hour, from_minute, to_hour, to_minute) = (from / 60, from % 60, to / 60, to % 60);
        write!(
            f,
            "{from_hour:02}:{from_minute:02}-{to_hour:02}:{to_minute:02}"
        )
    }
}

/// Reads `HH:MM` as minutes from midnight.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |text: &str| text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hour) || !digits(minute) || minute.len() != 2 {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::Hours;

    #[test]
    fn hours_are_read_and_shown() {
        for (text, shown) in [
            ("22:00-07:00", "22:00-07:00"),
            ("9:30 - 17:05", "09:30-17:05"),
        ] {
            assert_eq!(Hours::parse(text).unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "22:00",
            "22-7",
            "24:00-07:00",
            "22:60-07:00",
            "22:0-07:00",
            "+2:00-07:00",
            "22:00-22:00",
            "22:00-07:00-08:00",
        ] {
            assert_eq!(Hours::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_window_holds_its_first_minute_and_not_its_last_also_across_midnight() {
        let table = [
            ("22:00-07:00", 21 * 60 + 59, false),
            ("22:00-07:00", 22 * 60, true),
            ("22:00-07:00", 23 * 60 + 59, true),
            ("22:00-07:00", 0, true),
            ("22:00-07:00", 6 * 60 + 59, true),
            ("22:00-07:00", 7 * 60, false),
            ("22:00-07:00", 12 * 60, false),
            ("09:00-17:00", 8 * 60 + 59, false),
            ("09:00-17:00", 9 * 60, true),
            ("09:00-17:00", 17 * 60, false),
            ("00:00-00:01", 0, true),
            ("00:00-00:01", 1, false),
        ];
        for (text, minute, expected) in table {
            let hours = Hours::parse(text).unwrap();
            assert_eq!(hours.contains(minute), expected, "{minute} in {text}");
        }
    }
}
