//! How far a pull is: one bar for all files on a terminal, a line a second for programs.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::printable;

const BAR: &str = "{bar:24.cyan/dim} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left  {wide_msg:.dim}";

/// Bytes that are there and bytes that are wanted. Threads share it.
pub(crate) struct Meter {
    total: u64,
    /// Bytes that are there, those of earlier attempts among them.
    done: AtomicU64,
    /// Bytes that came.
    received: AtomicU64,
    began: Instant,
    bar: Option<ProgressBar>,
    /// Files that are on their way.
    current: Mutex<Vec<String>>,
    /// Notes that nobody has read yet.
    on_note: Box<dyn Fn(&str) + Send + Sync>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    /// Bytes that are there.
    pub(crate) done: u64,
    /// Bytes that are wanted.
    pub(crate) total: u64,
    /// Bytes a second since the beginning.
    pub(crate) bytes_per_sec: f64,
    /// Time that the rest takes at that speed.
    pub(crate) left: Option<Duration>,
}

impl Meter {
    /// A meter of `total` bytes, drawn where `is_drawn`. `on_note` is told of what goes not as planned.
    pub(crate) fn new(
        total: u64,
        is_drawn: bool,
        on_note: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        let bar = is_drawn.then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style);
            }
            bar
        });
        Self {
            total,
            done: AtomicU64::new(0),
            received: AtomicU64::new(0),
            began: Instant::now(),
            bar,
            current: Mutex::default(),
            on_note: Box::new(on_note),
        }
    }

    /// So much was there before.
    pub(super) fn there(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
            // It says nothing of the speed.
            bar.reset_eta();
        }
    }

    /// A file is on its way; so much of it was there before.
    pub(super) fn begin(&self, path: &str, there: u64) {
        self.there(there);
        self.with_current(|current| current.push(printable(path)));
    }

    /// A file is there.
    pub(super) fn end(&self, path: &str) {
        let path = printable(path);
        self.with_current(|current| current.retain(|known| *known != path));
    }

    /// Bytes came.
    pub(super) fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.received.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// Bytes have to come again.
    pub(super) fn take_back(&self, bytes: u64) {
        self.done.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.dec(bytes);
        }
    }

    /// Something did not go as planned.
    pub(super) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| (self.on_note)(text)),
            None => (self.on_note)(text),
        }
    }

    /// Takes the bar away for good, whatever still comes.
    pub(crate) fn hide(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    /// How far it is.
    pub(crate) fn read(&self) -> Reading {
        let done = self.done.load(Ordering::Relaxed);
        let received = self.received.load(Ordering::Relaxed);
        reading(done, received, self.total, self.began.elapsed())
    }

    /// Bytes that came in this run.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Time since it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn with_current(&self, change: impl FnOnce(&mut Vec<String>)) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut current);
        if let Some(bar) = &self.bar {
            bar.set_message(current.join(", "));
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.hide();
    }
}

#[expect(clippy::cast_precision_loss, reason = "a speed for people")]
fn reading(done: u64, received: u64, total: u64, elapsed: Duration) -> Reading {
    let bytes_per_sec = received as f64 / elapsed.as_secs_f64().max(1e-3);
    let left = total.saturating_sub(done) as f64 / bytes_per_sec;
    Reading {
        done,
        total,
        bytes_per_sec,
        left: Duration::try_from_secs_f64(left).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_does_not_count_as_speed() {
        let at = reading(900, 100, 1000, Duration::from_secs(10));
        assert_eq!((at.done, at.total), (900, 1000));
        assert_eq!(at.bytes_per_sec, 10.0);
        assert_eq!(at.left, Some(Duration::from_secs(10)));
        assert_eq!(reading(0, 0, 5, Duration::from_secs(1)).left, None);
    }
}
