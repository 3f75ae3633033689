//! How a worker ended, and whose doing it was.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{engine::Death, oom::OomKills, spawner::Exit};

/// How often the kernel's counts are read while a worker works.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A worker's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) exit: Exit,
    cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// What its exit says, or what cannot be told.
    Exit,
    /// The supervisor ended it.
    Asked,
    /// The kernel ended it for lack of memory.
    OutOfMemory,
    /// Somebody else ended it.
    Foreign,
}

impl Ending {
    /// Nothing is known.
    pub(super) const UNKNOWN: Self = Self {
        exit: Exit::UNKNOWN,
        cause: Cause::Exit,
    };

    /// As the scheduler wants it.
    pub(super) fn death(self) -> Death {
        Death {
            how: self.to_string(),
            signal: self.exit.signal,
            is_out_of_memory: self.cause == Cause::OutOfMemory,
            is_foreign: self.cause == Cause::Foreign,
        }
    }
}

/// Follows "the worker".
impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Exit => self.exit.fmt(formatter),
            Cause::Asked => formatter.write_str("was ended by the daemon"),
            Cause::OutOfMemory => {
                formatter.write_str("was killed (SIGKILL: by the system for lack of memory)")
            }
            Cause::Foreign => {
                formatter.write_str("was killed (SIGKILL: by hand or by another program)")
            }
        }
    }
}

/// Watches the kernel's counts through a worker's life.
#[derive(Debug)]
pub(super) struct Observer(Mutex<Looks>);

/// The last two looks. A count that grew before the latest may belong to a worker whose end has not shown yet.
#[derive(Debug)]
struct Looks {
    earlier: Option<OomKills>,
    latest: Option<OomKills>,
    at: Instant,
}

impl Observer {
    pub(super) fn new() -> Self {
        let kills = OomKills::now();
        Self(Mutex::new(Looks {
            earlier: kills,
            latest: kills,
            at: Instant::now(),
        }))
    }

    /// Looks again if the last look was long ago.
    pub(super) fn look(&self) {
        let mut looks = self.looks();
        if looks.at.elapsed() >= LOOK_EVERY {
            looks.earlier = looks.latest;
            looks.latest = OomKills::now();
            looks.at = Instant::now();
        }
    }

    /// Whose doing an end was that has just happened.
    pub(super) fn ending(&self, exit: Exit, was_asked: bool) -> Ending {
        let cause = cause(exit, was_asked, self.looks().earlier, OomKills::now());
        Ending { exit, cause }
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cause(exit: Exit, was_asked: bool, before: Option<OomKills>, after: Option<OomKills>) -> Cause {
    if exit.signal != Some(libc::SIGKILL) {
        return Cause::Exit;
    }
    match (before, after) {
        _ if was_asked => Cause::Asked,
        (Some(before), Some(after)) if before == after => Cause::Foreign,
        (Some(_), Some(_)) => Cause::OutOfMemory,
        _ => Cause::Exit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(signal: i32) -> Exit {
        Exit {
            code: None,
            signal: Some(signal),
        }
    }

    #[test]
    fn a_kill_is_foreign_only_where_the_counts_stood_still() {
        let (few, more) = (OomKills::of(3), OomKills::of(4));
        let kill = exit(libc::SIGKILL);
        assert_eq!(cause(kill, false, few, few), Cause::Foreign);
        assert_eq!(cause(kill, false, few, more), Cause::OutOfMemory);
        assert_eq!(cause(kill, true, few, few), Cause::Asked);
        assert_eq!(cause(kill, false, None, None), Cause::Exit, "not known");
        assert_eq!(cause(exit(libc::SIGSEGV), false, few, few), Cause::Exit);
        assert_eq!(cause(Exit::UNKNOWN, false, few, few), Cause::Exit);
    }

    #[test]
    fn deaths_say_it_in_words() {
        let of = |signal, cause| {
            let exit = exit(signal);
            Ending { exit, cause }.death()
        };
        let death = of(libc::SIGKILL, Cause::OutOfMemory);
        assert!(death.is_out_of_memory && !death.is_foreign && death.how.contains("memory"));
        let death = of(libc::SIGKILL, Cause::Foreign);
        assert!(
            death.is_foreign && death.how.contains("by hand"),
            "{death:?}"
        );
        let death = of(libc::SIGSEGV, Cause::Exit);
        assert_eq!(
            (death.how.as_str(), death.signal),
            ("crashed (SIGSEGV)", Some(11))
        );
    }
}
