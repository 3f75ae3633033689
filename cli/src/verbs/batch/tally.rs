//! How far a batch is, and how it ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use serde_json::json;

use super::orders::Order;
use crate::{
    Context, durations,
    failure::{Failure, exit},
    json,
    live::{Pace, Row},
};

/// So many failures are named at the end; all are counted.
const MAX_NAMED: usize = 20;

/// Pictures and lines, counted.
#[derive(Debug)]
pub(super) struct Tally {
    lines: usize,
    pictures: usize,
    there: usize,
    /// Pictures that this run wrote, by order.
    written: BTreeMap<usize, BTreeSet<u32>>,
    written_count: usize,
    /// Pictures that will not come, because their line failed.
    lost: usize,
    failures: Vec<(u64, Failure)>,
    /// Pictures that were missing, by order.
    missing: Vec<usize>,
    pace: Pace,
    began: Instant,
}

impl Tally {
    pub(super) fn new(orders: &[Order], began: Instant) -> Self {
        let counts: Vec<_> = orders.iter().map(|order| order.count() as usize).collect();
        Self {
            lines: orders.len(),
            pictures: counts.iter().sum(),
            there: orders.iter().map(|order| order.there.len()).sum(),
            written: BTreeMap::new(),
            written_count: 0,
            lost: 0,
            failures: Vec::new(),
            missing: orders
                .iter()
                .map(|order| order.count() as usize - order.there.len())
                .collect(),
            pace: Pace::new(),
            began,
        }
    }

    /// A picture of an order is written.
    pub(super) fn wrote(&mut self, i: usize, index: u32) {
        if self.written.entry(i).or_default().insert(index) {
            self.written_count += 1;
            self.pace.advance(1);
        }
    }

    /// An order failed.
    pub(super) fn failed(&mut self, i: usize, number: u64, failure: Failure) {
        self.lost += self.missing[i] - self.of(i).count();
        self.failures.push((number, failure));
    }

    /// Pictures that this run wrote.
    pub(super) fn written(&self) -> usize {
        self.written_count
    }

    /// Pictures of an order that this run wrote.
    pub(super) fn of(&self, i: usize) -> impl Iterator<Item = u32> {
        self.written.get(&i).into_iter().flatten().copied()
    }

    /// The whole in one line.
    pub(super) fn row(&self) -> Row {
        let done = self.there + self.written_count;
        let left = self.pictures.saturating_sub(done + self.lost);
        let mut text = Vec::new();
        if !self.failures.is_empty() {
            text.push(format!("{} failed", self.failures.len()));
        }
        if let Some(left) = self.pace.left(self.began.elapsed(), left as u64) {
            text.push(format!("{} left", durations::short(left)));
        }
        Row {
            label: format!("{done} of {}", pictures(self.pictures)),
            done: number(done),
            of: number(self.pictures),
            text: text.join("  "),
        }
    }

    /// The last words.
    pub(super) fn sum_up(&self, context: &Context, source: &str) -> Result<(), Failure> {
        if context.json {
            let fields = json!({
                "lines": self.lines,
                "pictures": self.pictures,
                "written": self.written_count,
                "existed": self.there,
                "failed_lines": self.failures.len(),
                "elapsed_secs": self.began.elapsed().as_secs_f64(),
            });
            context
                .terminal
                .line(&json::object("batch", fields).to_string())?;
        } else if !context.quiet {
            let mut text = format!("{} written", pictures(self.written_count));
            if self.there > 0 {
                text = format!("{text}, {} there already", self.there);
            }
            if self.written_count > 0 {
                text = format!("{text}, in {}", durations::short(self.began.elapsed()));
            }
            context.terminal.note(&text);
        }
        self.failure(source).map_or(Ok(()), Err)
    }

    fn failure(&self, source: &str) -> Option<Failure> {
        let (_, first) = self.failures.first()?;
        let mut message = format!("{} of {} lines failed", self.failures.len(), self.lines);
        for (number, failure) in self.failures.iter().take(MAX_NAMED) {
            message = format!("{message}\n  {source}:{number}: {}", failure.message);
        }
        if self.failures.len() > MAX_NAMED {
            message = format!(
                "{message}\n  … and {} more",
                self.failures.len() - MAX_NAMED
            );
        }
        let mut failure = Failure::new(exit::FAILED, message)
            .hint("the same command again tries those that failed once more, and nothing else");
        failure.reason.clone_from(&first.reason);
        Some(failure)
    }
}

fn pictures(count: usize) -> String {
    match count {
        1 => "1 picture".to_owned(),
        count => format!("{count} pictures"),
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
