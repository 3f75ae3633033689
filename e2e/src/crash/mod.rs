//! The crash run: jobs are submitted and followed while worker and daemon are killed at random, and afterwards every
//! picture is compared with that of an undisturbed run.
//!
//! `imgd-crash` runs it at full size, `e2e/tests/crash.rs` a shorter one.

mod killer;
mod orders;
mod report;
mod verify;
mod watcher;
mod work;

use std::{
    ops::Range,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Daemon, Home, line, line::Line};

pub use killer::Kills;
pub use report::Report;
pub use watcher::Seen;
pub use work::Submissions;

/// What a crash run does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Decides the orders, the kills and their times.
    pub seed: u64,
    /// Jobs.
    pub jobs: usize,
    /// Pictures of each job.
    pub images: u32,
    /// Jobs of those that are made at full settings: 256x256, 25 steps. The others are 128x128, 6 steps.
    pub full_jobs: usize,
    /// SIGKILLs: each ends the worker, the daemon, or both at once.
    pub kills: usize,
    /// Clean restarts (SIGTERM) strewn among the kills, in percent of them.
    pub clean_percent: u64,
    /// Time between two kills.
    pub apart: Range<Duration>,
    /// The run has failed when it is not over by then.
    pub patience: Duration,
}

/// What the run's threads know of each other.
#[derive(Debug, Default)]
struct Progress {
    kills: AtomicUsize,
    is_over: AtomicBool,
    seen: Mutex<Seen>,
}

/// Runs the plan: first undisturbed, then with kills, then compares. `tell` is told what happens, a line at a time.
///
/// # Errors
/// When the undisturbed run fails already. What goes wrong in the other is in [`Report::violations`].
///
/// # Panics
/// When the programs cannot be started.
pub fn run(plan: &Plan, tell: &(dyn Fn(&str) + Sync)) -> Result<Report, String> {
    let runtime = line::runtime();
    let orders = orders::make(plan);
    let pictures = orders.len() * usize::try_from(plan.images).unwrap_or(usize::MAX);
    tell(&format!(
        "reference: {} jobs, {pictures} pictures",
        orders.len()
    ));
    let start = Instant::now();
    let reference = {
        let daemon = Daemon::start_in(Home::new(), adapt);
        runtime.block_on(work::undisturbed(&daemon, &orders, plan.patience))?
    };
    let undisturbed = start.elapsed();
    tell(&format!(
        "reference: made in {:.1} s",
        undisturbed.as_secs_f64()
    ));

    let start = Instant::now();
    let mut daemon = Daemon::start_in(Home::new(), adapt);
    let socket = daemon.socket();
    let progress = Arc::new(Progress::default());
    let (kills, submitted) = thread::scope(|scope| {
        let killer = scope.spawn(|| killer::kill(plan, &mut daemon, &progress, tell));
        let submitted = runtime.block_on(async {
            let line = Line::to(&socket);
            work::through_kills(&line, &orders, plan, &progress).await
        });
        progress.is_over.store(true, Ordering::SeqCst);
        (killer.join().expect("the killer does not panic"), submitted)
    });
    let disturbed = start.elapsed();
    tell(&format!(
        "kills: {} in {:.1} s; now comparing",
        kills.total(),
        disturbed.as_secs_f64()
    ));
    let line = runtime.block_on(async { Line::to(&socket) });
    let check = verify::over_the_line(&line, &submitted, &reference, plan);
    let kept = runtime.block_on(check);
    let at_rest = verify::at_rest(&mut daemon, &kept);
    let seen = std::mem::take(&mut *progress.seen.lock().unwrap_or_else(PoisonError::into_inner));
    let parts = [
        &kills.violations,
        &submitted.violations,
        &seen.violations,
        &kept.violations,
        &at_rest,
    ];
    let violations = parts.into_iter().flatten().cloned().collect();
    Ok(Report {
        pictures: kept.pictures,
        kills,
        submissions: submitted.submissions,
        seen,
        undisturbed,
        disturbed,
        violations,
    })
}

/// Every evaluation is saved, so that every kill finds something to go on from.
fn adapt(imgd: &mut Command) {
    imgd.args(["--save-interval", "0s"]);
}
