//! What came of a crash run, for a reader.

use std::{fmt, time::Duration};

use super::{Kills, Seen, Submissions};

/// What came of a crash run. It passed when there are no violations.
#[derive(Debug)]
pub struct Report {
    /// Pictures that are there once, whole, and byte for byte those of the undisturbed run.
    pub pictures: usize,
    /// What was killed.
    pub kills: Kills,
    /// How submissions were answered.
    pub submissions: Submissions,
    /// What the watchers saw.
    pub seen: Seen,
    /// Time of the undisturbed run.
    pub undisturbed: Duration,
    /// Time of the run with kills.
    pub disturbed: Duration,
    /// What went wrong, a sentence each.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kills,
            submissions,
            seen,
            ..
        } = self;
        writeln!(f, "SIGKILLs             {}: {kills}", kills.total())?;
        writeln!(f, "database checks      {} after kills", kills.checks)?;
        writeln!(
            f,
            "submissions          {} accepted, {} of them by an attempt whose answer was lost, {} refusals for a while",
            submissions.accepted, submissions.existed, submissions.refused
        )?;
        writeln!(
            f,
            "watchers             {} steps, {} streams broken, {} snapshots",
            seen.steps, seen.breaks, seen.snapshots
        )?;
        let from: Vec<_> = seen
            .started_from
            .iter()
            .map(|(done, count)| format!("{done}: {count}"))
            .collect();
        writeln!(
            f,
            "pictures gone on with {} times; begun or gone on at evaluation {}",
            seen.restored(),
            from.join(", ")
        )?;
        let notices: Vec<_> = seen
            .notices
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        writeln!(f, "notices              {}", notices.join(", "))?;
        writeln!(
            f,
            "time                 {:.1} s, undisturbed {:.1} s",
            self.disturbed.as_secs_f64(),
            self.undisturbed.as_secs_f64()
        )?;
        writeln!(
            f,
            "pictures             {} whole, once, and identical to the undisturbed run's",
            self.pictures
        )?;
        for violation in &self.violations {
            writeln!(f, "VIOLATION            {violation}")?;
        }
        write!(f, "{} violations", self.violations.len())
    }
}
