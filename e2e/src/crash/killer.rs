//! Kills worker and daemon at random and starts the daemon again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    sync::{PoisonError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{Plan, Progress};
use crate::{Daemon, library, processes, program, random::Random};

/// What a blow hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    Worker,
    Daemon,
    Both,
    /// SIGTERM: a clean restart.
    Clean,
}

/// What was killed.
#[derive(Debug, Default)]
pub struct Kills {
    by_kind: BTreeMap<&'static str, usize>,
    /// Clean restarts, which are no kills.
    pub clean_restarts: usize,
    /// Databases that were checked right after a kill.
    pub checks: usize,
    /// What went wrong.
    pub violations: Vec<String>,
}

impl Kills {
    /// SIGKILLs in all; both at once count as one.
    pub fn total(&self) -> usize {
        self.by_kind.values().sum()
    }
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &self.by_kind {
            write!(f, "{count} of {kind}, ")?;
        }
        write!(f, "{} clean restarts", self.clean_restarts)
    }
}

/// Kills until the plan's kills are done or the work is.
pub(super) fn kill(
    plan: &Plan,
    daemon: &mut Daemon,
    progress: &Progress,
    tell: &(dyn Fn(&str) + Sync),
) -> Kills {
    // other numbers than those of the orders
    let mut random = Random::new(!plan.seed);
    let mut kills = Kills::default();
    let mut workers = BTreeSet::new();
    let mut known_steps = 0;
    while kills.total() < plan.kills && !progress.is_over.load(Ordering::SeqCst) {
        // half of the blows fall when a picture has come further, whatever the machine's speed; the others anywhere
        if random.below(2) == 0 {
            processes::within(Duration::from_secs(3), || steps(progress) > known_steps);
        }
        thread::sleep(random.time(&plan.apart));
        known_steps = steps(progress);
        ended_by_itself(daemon, &mut kills);
        let worker = daemon.worker();
        workers.extend(worker);
        let blow = if random.below(100) < plan.clean_percent {
            Blow::Clean
        } else {
            *random.pick(&[Blow::Worker, Blow::Daemon, Blow::Both])
        };
        let name = match (blow, worker) {
            // none is there yet: what is not there cannot be killed
            (Blow::Worker, None) => continue,
            (Blow::Worker, Some(worker)) => {
                processes::signal(worker, Signal::KILL);
                "worker"
            }
            (Blow::Both, Some(worker)) => {
                processes::signal(worker, Signal::KILL);
                daemon.kill();
                "worker and daemon"
            }
            (Blow::Daemon, _) | (Blow::Both, None) => {
                daemon.kill();
                "daemon"
            }
            (Blow::Clean, _) => {
                restart(daemon, &mut kills);
                continue;
            }
        };
        if blow != Blow::Worker {
            check(daemon, &mut kills);
            daemon.start_again();
        }
        *kills.by_kind.entry(name).or_default() += 1;
        progress.kills.store(kills.total(), Ordering::SeqCst);
        if kills.total().is_multiple_of(50) {
            tell(&format!("kills: {} of {}", kills.total(), plan.kills));
        }
    }
    daemon.wait_until_it_listens();
    workers.extend(daemon.worker());
    orphans(daemon, &workers, &mut kills);
    kills
}

/// Evaluations that watchers were told of.
fn steps(progress: &Progress) -> usize {
    let seen = progress.seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.steps
}

/// SIGTERM, and a new daemon when it has ended.
fn restart(daemon: &mut Daemon, kills: &mut Kills) {
    processes::signal(daemon.pid(), Signal::TERM);
    // it was perhaps not so far yet that it catches the signal: then 128 + 15
    match daemon.exit_code_within(Duration::from_secs(60)) {
        Some(0 | 143) => {}
        Some(code) => kills
            .violations
            .push(format!("SIGTERM: exit status {code}")),
        None => {
            kills
                .violations
                .push("SIGTERM: still there after 60 s".into());
            daemon.kill();
        }
    }
    check(daemon, kills);
    daemon.start_again();
    kills.clean_restarts += 1;
}

/// A daemon that is not killed stays.
fn ended_by_itself(daemon: &mut Daemon, kills: &mut Kills) {
    if let Some(code) = daemon.exit_code_within(Duration::ZERO) {
        let log = daemon.log();
        let last: Vec<_> = log.lines().rev().take(5).collect();
        let what = format!("the daemon ended by itself with status {code}: {last:?}");
        kills.violations.push(what);
        daemon.start_again();
    }
}

/// The database as the kill left it.
fn check(daemon: &Daemon, kills: &mut Kills) {
    match library::check(&daemon.home().data()) {
        Ok(databases) => kills.checks += databases,
        Err(what) => kills.violations.push(format!("after a kill: {what}")),
    }
}

/// Workers outlive no daemon.
fn orphans(daemon: &Daemon, workers: &BTreeSet<u32>, kills: &mut Kills) {
    let program = program("imgd").canonicalize().ok();
    let is_ours = |pid: u32| {
        processes::is_worker(pid) && fs::read_link(format!("/proc/{pid}/exe")).ok() == program
    };
    let start = Instant::now();
    loop {
        let family = processes::family(daemon.pid());
        let left: Vec<_> = workers
            .difference(&family)
            .filter(|pid| is_ours(**pid))
            .collect();
        if left.is_empty() {
            return;
        }
        if start.elapsed() > Duration::from_secs(20) {
            kills
                .violations
                .push(format!("workers without a daemon: {left:?}"));
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
}
