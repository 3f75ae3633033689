//! Plain tables and sizes for people.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Lines of columns as wide as their widest cell, two spaces apart; the first row is the heading.
pub(crate) fn lines(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns)
        .map(|i| {
            rows.iter()
                .filter_map(|row| row.get(i))
                .map(|cell| cell.width())
                .max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    rows.iter()
        .map(|row| {
            let cells = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell}{:1$}", "", width - cell.width()));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

/// The text, or as much of it as fits into so many columns of a terminal with `…` behind it.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let mut fitting = String::new();
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if width > left {
            break;
        }
        left -= width;
        fitting.push(c);
    }
    format!("{}…", fitting.trim_end())
}

/// Lines of columns as [`lines`], of which the last column is cut so that none is wider than `columns`.
pub(crate) fn fitted(rows: &[Vec<String>], columns: Option<usize>) -> Vec<String> {
    let lines = lines(rows);
    match columns {
        Some(columns) => lines.iter().map(|line| fit(line, columns)).collect(),
        None => lines,
    }
}

/// `118 MB`, `6.9 GB`: thousands, as disks and Ollama count.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if value < 9.95 && unit > 0 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// `29.5M`, `3.5B` parameters.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn count(number: u64) -> String {
    let value = number as f64;
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{:.1}k", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}M", value / 1e6),
        _ => format!("{:.2}B", value / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_without_trailing_space() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let rows = [row(["NAME", "ID"]), row(["starter", ""]), row(["é", "x"])];
        assert_eq!(lines(&rows), ["NAME     ID", "starter", "é        x"]);
    }

    #[test]
    fn wide_letters_take_two_columns() {
        assert_eq!(fit("a red apple", 11), "a red apple");
        assert_eq!(fit("a red apple", 7), "a red…");
        assert_eq!(fit("赤いりんご", 10), "赤いりんご");
        assert_eq!(fit("赤いりんご", 8), "赤いり…");
        assert_eq!(fit("x", 0), "…");
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let rows = [row(["赤", "a long text"]), row(["abc", "b"])];
        assert_eq!(fitted(&rows, Some(8)), ["赤   a…", "abc  b"]);
    }

    #[test]
    fn sizes_have_three_digits_at_most() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(118_400_000), "118 MB");
        assert_eq!(size(6_940_000_000), "6.9 GB");
        assert_eq!(size(999_600), "1.0 MB");
        assert_eq!(count(29_500_000), "29.5M");
    }
}
