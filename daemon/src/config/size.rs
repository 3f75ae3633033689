//! Sizes of memory as people write them.

/// Units in bytes; the long ones first, so that `GiB` is not read as `B`.
const UNITS: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];

/// Reads `8GiB`, `512 MB` or a plain number of bytes; whole numbers only.
pub(super) fn parse(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((lower.strip_suffix(suffix)?, *unit)))
        .unwrap_or((lower.as_str(), 1));
    number
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(unit)
        .filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("1024", Some(1024)),
            ("8GiB", Some(8 << 30)),
            ("512 MB", Some(512_000_000)),
            ("3b", Some(3)),
            ("0", None),
            ("-1", None),
            ("lots", None),
            ("99999999TiB", None),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
    }
}
