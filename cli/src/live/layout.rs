//! How a row of the live table is laid out in a window of a given size.

/// Columns of a terminal that does not say how many it has.
const DEFAULT_COLUMNS: u16 = 80;
const DEFAULT_LINES: u16 = 24;

/// What fits into a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Columns of the label.
    label: u16,
    /// Columns of the bar; where there is none, a percentage stands in its place.
    bar: u16,
    /// Most rows above the last line.
    pub(super) max_rows: usize,
}

impl Layout {
    /// For the window that standard error is in, as it is now.
    pub(super) fn of_terminal() -> Self {
        let size = rustix::termios::tcgetwinsize(std::io::stderr());
        let (columns, lines) = size.map_or((0, 0), |size| (size.ws_col, size.ws_row));
        Self::new(columns, lines)
    }

    /// For a window of so many columns and lines; 0 is not known.
    fn new(columns: u16, lines: u16) -> Self {
        let or = |value: u16, default| if value == 0 { default } else { value };
        let (columns, lines) = (or(columns, DEFAULT_COLUMNS), or(lines, DEFAULT_LINES));
        let (label, bar) = match columns {
            0..40 => (columns.saturating_sub(7).max(1), 0),
            40..72 => (18, 0),
            72..100 => (24, 20),
            _ => (36, 24),
        };
        // One line for the whole, one for the cursor, one for what was said before.
        let max_rows = usize::from(lines.saturating_sub(3)).max(1);
        Self {
            label,
            bar,
            max_rows,
        }
    }

    /// The row in the words of indicatif.
    pub(super) fn template(self, has_color: bool) -> String {
        let Self { label, bar, .. } = self;
        let color = if has_color { ".cyan/dim" } else { "" };
        match bar {
            0 if label > 18 => format!("{{prefix:{label}!}} {{percent:>3}} %"),
            0 => format!("{{prefix:{label}!}} {{percent:>3}} % {{wide_msg}}"),
            _ => format!("{{prefix:{label}!}} {{bar:{bar}{color}}} {{wide_msg}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, MultiProgress, ProgressBar, ProgressDrawTarget};

    use super::*;

    /// What a window of that size shows.
    fn shown(columns: u16, has_color: bool) -> String {
        let term = InMemoryTerm::new(24, columns);
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        let all = MultiProgress::with_draw_target(target);
        let style = super::super::style(Layout::new(columns, 24), has_color);
        let bar = all.add(ProgressBar::new(4).with_style(style));
        let row =
            super::super::Row::drawing("12 a-very-long-name-of-a-red-apple-7.png", 1, 4, None);
        super::super::fill(&bar, &row, "");
        term.contents()
    }

    #[test]
    fn a_row_never_takes_more_than_one_line() {
        for columns in [8, 20, 39, 40, 60, 71, 72, 100, 200] {
            let shown = shown(columns, false);
            assert_eq!(shown.lines().count(), 1, "{columns}: {shown}");
            assert!(shown.chars().count() <= usize::from(columns), "{shown}");
        }
    }

    #[test]
    fn a_wide_window_has_a_bar_and_a_narrow_one_a_percentage() {
        assert_eq!(
            shown(80, false),
            "12 a-very-long-name-of-a ━━━━━╸────────────── 1/4"
        );
        assert_eq!(shown(60, false), "12 a-very-long-nam  25 % 1/4");
        assert_eq!(shown(30, false), "12 a-very-long-name-of-  25 %");
    }

    #[test]
    fn rows_leave_room_for_the_last_line() {
        assert_eq!(Layout::new(80, 24).max_rows, 21);
        assert_eq!(Layout::new(80, 2).max_rows, 1);
        assert_eq!(Layout::new(0, 0), Layout::new(80, 24));
    }

    #[test]
    fn without_colour_no_template_asks_for_one() {
        for columns in [20, 60, 80, 120] {
            assert!(!Layout::new(columns, 24).template(false).contains("cyan"));
        }
        assert!(Layout::new(80, 24).template(true).contains("cyan"));
    }
}
