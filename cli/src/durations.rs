//! Durations as Ollama writes them, and as a person reads them.

use std::time::Duration;

use imgd_client::KeepAlive;

/// Reads `5m`, `1h30m`, `1.5h`, `300` (seconds), `0`, and anything negative for ever.
pub(crate) fn keep_alive(text: &str) -> Result<KeepAlive, String> {
    match text.strip_prefix('-') {
        Some(rest) => parse(rest).map(|_| KeepAlive::Forever),
        None => parse(text).map(KeepAlive::For),
    }
    .ok_or_else(|| {
        "must be a time such as 5m, 1h30m or 300 (seconds); 0 unloads at once, -1 never".into()
    })
}

/// Reads a time limit: longer than nothing, at most 24 hours.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_secs(24 * 3600);
    parse(text)
        .filter(|duration| !duration.is_zero() && *duration <= MAX)
        .ok_or_else(|| "must be a time such as 90s, 5m or 300 (seconds), up to 24h".into())
}

/// Reads numbers with units one after another; a bare number is in seconds.
fn parse(text: &str) -> Option<Duration> {
    if let Ok(secs) = text.parse::<u64>() {
        return Some(Duration::from_secs(secs));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let secs = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * secs).ok()?;
        total = total.checked_add(part)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// `0.8 s`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn short(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{secs} s"),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        _ => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
    }
}

/// `12s`, `5m`, `3h`, `2d`: for a narrow column.
pub(crate) fn age(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m", secs / 60),
        3600..86_400 => format!("{}h", secs / 3600),
        _ => format!("{}d", secs / 86_400),
    }
}

/// `4 minutes`, `about an hour`: as Ollama says it.
pub(crate) fn rough(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0 => "less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{secs} seconds"),
        60..120 => "about a minute".into(),
        120..3600 => format!("{} minutes", secs / 60),
        3600..7200 => "about an hour".into(),
        7200..172_800 => format!("{} hours", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ollamas_forms_are_read() {
        let secs = |secs| Ok(KeepAlive::For(Duration::from_secs(secs)));
        assert_eq!(keep_alive("5m"), secs(300));
        assert_eq!(keep_alive("300"), secs(300));
        assert_eq!(keep_alive("1h30m"), secs(5400));
        assert_eq!(keep_alive("1.5h"), secs(5400));
        assert_eq!(keep_alive("0"), secs(0));
        assert_eq!(keep_alive("-1"), Ok(KeepAlive::Forever));
        assert_eq!(keep_alive("-1m"), Ok(KeepAlive::Forever));
        for wrong in [
            "", "-", "soon", "5x", "1e9", "m", "5m3", "1.2.3s", "NaN", "inf", "--1",
        ] {
            assert!(keep_alive(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_timeout_is_positive_and_bounded() {
        assert_eq!(timeout("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "25h", "99999999999999999999", "nan"] {
            assert!(timeout(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn people_read_times() {
        assert_eq!(short(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(short(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!(rough(Duration::from_secs(299)), "4 minutes");
        assert_eq!(age(Duration::from_secs(59)), "59s");
        assert_eq!(age(Duration::from_secs(90_000)), "1d");
    }
}
