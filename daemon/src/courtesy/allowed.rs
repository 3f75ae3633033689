//! The decision whether background work may run now: a pure function.

use std::time::Duration;

use jiff::{Zoned, civil};

use super::{Hours, Power, Rules};

/// How soon conditions that change without notice are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What the machine is doing, as far as it can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// What it runs on.
    pub power: Power,
    /// How long nobody has touched it; `None` where nobody can tell.
    pub idle: Option<Duration>,
}

/// Background work may not run now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// Why.
    pub why: Why,
    /// When another look could find it allowed, from now.
    pub look_again: Duration,
}

/// Why background work may not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nobody has looked yet.
    NotLooked,
    /// It is not the hour.
    Hours,
    /// The machine runs on its battery.
    Battery,
    /// Somebody uses the machine.
    InUse,
    /// The rule wants an idle machine, and nobody can say whether it is.
    UnknownUse,
}

impl Why {
    /// Words that follow "background work waits: ".
    pub fn words(self) -> &'static str {
        match self {
            Self::NotLooked => "the machine's state is being read",
            Self::Hours => "it is not the time of day that `background_hours` allows",
            Self::Battery => "the machine runs on battery power",
            Self::InUse => "the machine is in use",
            Self::UnknownUse => {
                "`background_idle` is set, and the system does not tell whether the machine is in use"
            }
        }
    }
}

/// Decides whether background work may run. `now` is local time.
///
/// What cannot be read counts as follows. No battery: the machine runs on mains power. No answer to how long nobody
/// touched it: somebody may be there, and who set `background_idle` wants to be spared.
pub fn allowed(conditions: &Conditions, rules: &Rules, now: &Zoned) -> Result<(), Blocked> {
    let blocked = |why, look_again| Err(Blocked { why, look_again });
    if let Some(hours) = rules.hours
        && !hours.contains(minute(now))
    {
        return blocked(Why::Hours, until(hours, now).unwrap_or(LOOK_AGAIN));
    }
    if conditions.power == Power::Battery && !rules.on_battery {
        return blocked(Why::Battery, LOOK_AGAIN);
    }
    if rules.idle.is_zero() {
        return Ok(());
    }
    match conditions.idle {
        None => blocked(Why::UnknownUse, LOOK_AGAIN),
        Some(idle) if idle < rules.idle => blocked(Why::InUse, (rules.idle - idle).max(LOOK_AGAIN)),
        Some(_) => Ok(()),
    }
}

/// The minute of the day by the clock on the wall, from 0 to 1439.
fn minute(now: &Zoned) -> u16 {
    let of = |part: i8| u16::try_from(part).unwrap_or_default();
    of(now.hour()) * 60 + of(now.minute())
}

/// How long it takes until the hours begin, on a day of 23 or 25 hours too.
fn until(hours: Hours, now: &Zoned) -> Option<Duration> {
    let part = |part: u16| i8::try_from(part).ok();
    let begin = civil::Time::new(part(hours.begin() / 60)?, part(hours.begin() % 60)?, 0, 0);
    let begin = begin.ok()?;
    let zone = now.time_zone();
    let on = |day: civil::Date| day.to_datetime(begin).to_zoned(zone.clone()).ok();
    let today = on(now.date()).filter(|moment| moment > now);
    let next = match today {
        Some(moment) => moment,
        None => on(now.date().tomorrow().ok()?)?,
    };
    now.duration_until(&next).try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::{Timestamp, ToSpan as _, Zoned, tz::TimeZone};

    use super::{Blocked, Conditions, LOOK_AGAIN, Why, allowed};
    use crate::courtesy::{Hours, Power, Rules};

    const FREE: Conditions = Conditions {
        power: Power::Mains,
        idle: Some(Duration::MAX),
    };

    /// Central European time by its rule, so that no machine's time zones matter.
    fn berlin(utc: &str) -> Zoned {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        utc.parse::<Timestamp>().unwrap().to_zoned(zone)
    }

    fn within(text: &str) -> Rules {
        Rules {
            hours: Hours::parse(text),
            ..Rules::default()
        }
    }

    #[test]
    fn the_table_of_conditions() {
        let now = berlin("2026-11-22T12:00:00Z");
        let minutes = |count: u64| Some(Duration::from_secs(count * 60));
        let spared = Rules {
            idle: Duration::from_secs(300),
            ..Rules::default()
        };
        let on_battery = Rules {
            on_battery: true,
            ..Rules::default()
        };
        let table = [
            (Rules::default(), Power::Mains, None, None),
            (Rules::default(), Power::Mains, minutes(0), None),
            (
                Rules::default(),
                Power::Battery,
                minutes(9),
                Some(Why::Battery),
            ),
            (on_battery, Power::Battery, None, None),
            (spared, Power::Mains, minutes(4), Some(Why::InUse)),
            (spared, Power::Mains, minutes(5), None),
            (spared, Power::Mains, None, Some(Why::UnknownUse)),
            (spared, Power::Battery, minutes(5), Some(Why::Battery)),
        ];
        for (rules, power, idle, expected) in table {
            let decided = allowed(&Conditions { power, idle }, &rules, &now);
            assert_eq!(
                decided.map_err(|blocked| blocked.why).err(),
                expected,
                "{rules:?} {power:?} {idle:?}"
            );
        }
    }

    #[test]
    fn a_person_who_left_is_waited_for_no_longer_than_the_rule_says() {
        let rules = Rules {
            idle: Duration::from_secs(300),
            ..Rules::default()
        };
        let idle = |seconds| Conditions {
            idle: Some(Duration::from_secs(seconds)),
            ..FREE
        };
        let now = berlin("2026-11-22T12:00:00Z");
        for (seconds, look_again) in [(100, 200), (299, LOOK_AGAIN.as_secs())] {
            let blocked = Blocked {
                why: Why::InUse,
                look_again: Duration::from_secs(look_again),
            };
            assert_eq!(allowed(&idle(seconds), &rules, &now), Err(blocked));
        }
    }

    #[test]
    fn hours_are_those_of_the_wall_across_midnight_and_both_changes_of_the_clock() {
        // 2026-03-29 01:00Z: 02:00 becomes 03:00. 2026-10-25 01:00Z: 03:00 becomes 02:00.
        let table = [
            ("22:00-07:00", "2026-11-22T20:59:59Z", Some(1)),
            ("22:00-07:00", "2026-11-22T21:00:00Z", None),
            ("22:00-07:00", "2026-11-22T23:00:00Z", None),
            ("22:00-07:00", "2026-11-23T05:59:59Z", None),
            ("22:00-07:00", "2026-11-23T06:00:00Z", Some(15 * 3600)),
            // A night that is an hour short, and one that is an hour long.
            ("04:00-05:00", "2026-03-28T23:00:00Z", Some(3 * 3600)),
            ("04:00-05:00", "2026-10-24T22:00:00Z", Some(5 * 3600)),
            // A quarter past two does not exist that night: the first moment after the gap is looked at.
            ("02:15-02:45", "2026-03-29T00:59:59Z", Some(15 * 60 + 1)),
            ("02:15-02:45", "2026-03-29T01:15:00Z", Some(23 * 3600)),
            // It comes twice that night.
            ("02:15-02:45", "2026-10-25T00:15:00Z", None),
            ("02:15-02:45", "2026-10-25T01:15:00Z", None),
        ];
        for (hours, utc, wait) in table {
            let decided = allowed(&FREE, &within(hours), &berlin(utc));
            let expected = wait.map_or(Ok(()), |seconds| {
                Err(Blocked {
                    why: Why::Hours,
                    look_again: Duration::from_secs(seconds),
                })
            });
            assert_eq!(decided, expected, "{hours} at {utc}");
        }
    }

    #[test]
    fn who_waits_as_long_as_told_finds_it_allowed_through_a_whole_year() {
        for hours in ["22:00-07:00", "09:00-17:00", "23:59-00:01"] {
            let rules = within(hours);
            let mut now = berlin("2026-01-01T00:00:00Z");
            while now.year() < 2027 {
                if let Err(blocked) = allowed(&FREE, &rules, &now) {
                    let later = &now + blocked.look_again;
                    assert_eq!(allowed(&FREE, &rules, &later), Ok(()), "{hours} at {now}");
                    let before = &later - 1.second();
                    assert!(allowed(&FREE, &rules, &before).is_err(), "{hours} at {now}");
                }
                now = &now + 37.minutes();
            }
        }
    }
}
