//! A live table on standard error: a row for each piece of work under way, and a last line for the whole.
//!
//! On a terminal it is drawn in place, as wide and as high as the window is at that moment. Where standard error is a
//! file or a pipe, rows are not written and the last line comes every few seconds. It is gone when dropped.

mod layout;
mod pace;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::layout::Layout;
pub(crate) use self::pace::Pace;
use crate::{
    Context, durations,
    terminal::{Terminal, printable},
};

/// Between two lines where nothing can be drawn in place.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// One piece of work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// What it is, in a few words.
    pub(crate) label: String,
    /// How much of it is done.
    pub(crate) done: u32,
    /// How much it is; 0 as long as that is not known.
    pub(crate) of: u32,
    /// What it is doing, or how long it takes.
    pub(crate) text: String,
}

impl Row {
    /// A picture of which `done` of `of` network evaluations are done.
    pub(crate) fn drawing(
        label: impl Into<String>,
        done: u32,
        of: u32,
        left: Option<Duration>,
    ) -> Self {
        let mut text = match of {
            0 => "waiting".to_owned(),
            _ if done == of => "decoding".to_owned(),
            _ => format!("{done}/{of}"),
        };
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            text = format!("{text}  {} left", durations::short(left));
        }
        Self {
            label: label.into(),
            done,
            of,
            text,
        }
    }

    /// Work of which only the state is known.
    pub(crate) fn state(label: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            text: text.into(),
            ..Self::default()
        }
    }
}

/// The table.
#[derive(Debug)]
pub(crate) struct Live {
    drawn: Option<Drawn>,
    rows: BTreeMap<u64, Row>,
    total: Option<Row>,
    /// Writes the last line now and then, and when it did last.
    plain: Option<Option<Instant>>,
    terminal: Terminal,
}

#[derive(Debug)]
struct Drawn {
    all: MultiProgress,
    /// As many as there are rows on the screen, from the top.
    bars: Vec<ProgressBar>,
    total: ProgressBar,
    layout: Option<Layout>,
    has_color: bool,
}

impl Live {
    /// A table where the context wants one: none with `--json` or `--quiet`.
    pub(crate) fn new(context: &Context) -> Self {
        let is_wanted = !context.json && !context.quiet;
        let is_drawn = is_wanted && context.terminal.draws_progress();
        let drawn = is_drawn.then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(15));
            let total = all.add(ProgressBar::new(0));
            Drawn {
                all,
                bars: Vec::new(),
                total,
                layout: None,
                has_color: context.terminal.stderr_color(),
            }
        });
        Self {
            drawn,
            rows: BTreeMap::new(),
            total: None,
            plain: (is_wanted && !is_drawn).then_some(None),
            terminal: context.terminal,
        }
    }

    /// Shows a row, the old one of that key in new words or a new one; rows stand in the order of their keys.
    pub(crate) fn show(&mut self, key: u64, row: Row) {
        if self.rows.get(&key) != Some(&row) {
            self.rows.insert(key, row);
            self.draw();
        }
    }

    /// Takes a row away.
    pub(crate) fn hide(&mut self, key: u64) {
        if self.rows.remove(&key).is_some() {
            self.draw();
        }
    }

    /// Takes all rows away whose key is not wanted.
    pub(crate) fn retain(&mut self, mut is_wanted: impl FnMut(u64) -> bool) {
        let before = self.rows.len();
        self.rows.retain(|&key, _| is_wanted(key));
        if self.rows.len() != before {
            self.draw();
        }
    }

    /// Shows how far the whole is.
    pub(crate) fn total(&mut self, total: Row) {
        if let Some(last) = &mut self.plain
            && last.is_none_or(|last| last.elapsed() >= PLAIN_EVERY)
        {
            // The first words come after a while: what is quick needs none.
            if last.replace(Instant::now()).is_some() {
                let text = format!("{}  {}", total.label, total.text);
                self.terminal.notice(text.trim());
            }
        }
        if self.total.as_ref() != Some(&total) {
            self.total = Some(total);
            self.draw();
        }
    }

    /// Takes the table away while `write` writes where it stood.
    pub(crate) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.drawn {
            Some(drawn) => drawn.all.suspend(write),
            None => write(),
        }
    }

    /// Takes the table away for good.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.total = None;
        if let Some(drawn) = self.drawn.take() {
            for bar in drawn.bars.iter().chain([&drawn.total]) {
                bar.finish_and_clear();
            }
            // Nobody is left to tell that standard error is closed.
            drop(drawn.all.clear());
        }
    }

    fn draw(&mut self) {
        let Some(drawn) = &mut self.drawn else {
            return;
        };
        let layout = Layout::of_terminal();
        let visible = self.rows.len().min(layout.max_rows);
        let is_new_layout = drawn.layout != Some(layout);
        drawn.layout = Some(layout);
        while drawn.bars.len() > visible {
            if let Some(bar) = drawn.bars.pop() {
                bar.finish_and_clear();
                drawn.all.remove(&bar);
            }
        }
        while drawn.bars.len() < visible {
            let bar = ProgressBar::new(0).with_style(style(layout, drawn.has_color));
            drawn.bars.push(drawn.all.insert_before(&drawn.total, bar));
        }
        if is_new_layout {
            for bar in drawn.bars.iter().chain([&drawn.total]) {
                bar.set_style(style(layout, drawn.has_color));
            }
        }
        for (bar, row) in drawn.bars.iter().zip(self.rows.values()) {
            fill(bar, row, "");
        }
        let hidden = self.rows.len() - visible;
        let more = match hidden {
            0 => String::new(),
            _ => format!("  (+{hidden} rows)"),
        };
        if let Some(total) = &self.total {
            fill(&drawn.total, total, &more);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Changes what a bar says, and draws it only where that is something new.
fn fill(bar: &ProgressBar, row: &Row, more: &str) {
    // Words come from prompts and from the daemon: neither steers the terminal.
    let line = |text: &str| printable(text).replace(['\n', '\t'], " ");
    bar.set_prefix(line(&row.label));
    bar.set_length(u64::from(row.of).max(1));
    bar.set_message(format!("{}{more}", line(&row.text)));
    bar.set_position(u64::from(row.done));
    bar.tick();
}

fn style(layout: Layout, has_color: bool) -> ProgressStyle {
    ProgressStyle::with_template(&layout.template(has_color))
        .expect("the layout's templates are well formed")
        .progress_chars("━╸─")
}
