//! What the daemon's processes give up, each for itself and for good, and what of it holds.
//!
//! Two layers, on Linux: `syscalls` filters system calls (seccomp), `files` narrows writing and executing (Landlock). Both
//! come before a process has threads. What the system refuses is no reason not to start: it is told. `probe` tries what
//! is forbidden whenever somebody asks. Why it is as it is: docs/decisions/0025-sandbox.md.

#[cfg(target_os = "linux")]
mod files;
#[cfg(target_os = "linux")]
mod loader;
#[cfg(target_os = "linux")]
mod probe;
mod processes;
#[cfg(target_os = "linux")]
mod syscalls;

use std::path::PathBuf;

pub(crate) use self::processes::is_filtered;
pub use self::processes::{Found, Processes};

/// Which process confines itself, with the places that it needs.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    /// Serves: writes its own folders, starts nothing.
    Supervisor(Places),
    /// Starts workers: executes this program, opens no connection.
    Spawner,
    /// Computes: reads files, talks over the one socket that it was given.
    Worker,
}

impl Role {
    /// Whether it may start programs, or any process.
    #[cfg(target_os = "linux")]
    fn may_execute(&self) -> bool {
        matches!(self, Self::Spawner)
    }
}

/// Where the supervisor writes, and where it must not.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "nothing is narrowed")
)]
pub(crate) struct Places {
    /// Its data, an existing folder: it may make, write, rename and remove files below.
    pub(crate) data_dir: PathBuf,
    /// The folder of the socket that it made: it may remove names there, for its own at the end.
    pub(crate) socket_dir: Option<PathBuf>,
    /// The user's home, where trying to write must fail.
    pub(crate) home: Option<PathBuf>,
}

/// A process that has confined itself as far as the system lets it, and can find out whether that holds.
#[derive(Debug, Clone)]
pub struct Confined {
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing to try"))]
    role: Role,
    report: Report,
}

/// What a process found when it tried what its sandbox forbids.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Report {
    /// Why its system calls are not filtered; absent where they are.
    #[prost(string, optional, tag = "1")]
    pub unfiltered: Option<String>,
    /// Why its writing and executing are not narrowed; absent where they are.
    #[prost(string, optional, tag = "2")]
    pub unnarrowed: Option<String>,
    /// The version of Landlock's interface that holds; 0 for none.
    #[prost(uint32, tag = "3")]
    pub landlock_abi: u32,
}

impl Report {
    fn nothing(why: &str) -> Self {
        Self {
            unfiltered: Some(why.to_owned()),
            unnarrowed: Some(why.to_owned()),
            landlock_abi: 0,
        }
    }
}

impl Confined {
    /// A process that has not confined itself, as those of tests.
    pub fn not() -> Self {
        Self {
            role: Role::Worker,
            report: Report::nothing("it has not confined itself"),
        }
    }

    /// Confines this process, for good. Call it while the process has one thread.
    #[cfg(target_os = "linux")]
    pub(crate) fn confine(role: Role) -> Self {
        // Landlock first: the filter has no reason to allow what it takes.
        let narrowed = files::narrow(&role);
        let filtered = syscalls::filter(&role);
        let report = Report {
            landlock_abi: *narrowed.as_ref().unwrap_or(&0),
            unnarrowed: narrowed.err(),
            unfiltered: filtered.err(),
        };
        if let Some(why) = report.unnarrowed.as_ref().or(report.unfiltered.as_ref()) {
            tracing::debug!("the sandbox is not complete: {why}");
        }
        Self { role, report }
    }

    /// Other systems have nothing that a program could confine itself with.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn confine(role: Role) -> Self {
        Self {
            role,
            report: Report::nothing("this system has nothing for it"),
        }
    }

    /// Tries what is forbidden, now. Takes some microseconds; looks at the disk.
    pub(crate) fn look(&self) -> Report {
        #[cfg(target_os = "linux")]
        {
            let report = self.report.clone();
            Report {
                unfiltered: report
                    .unfiltered
                    .or_else(|| probe::system_calls(&self.role).err()),
                unnarrowed: report.unnarrowed.or_else(|| probe::files(&self.role).err()),
                ..report
            }
        }
        #[cfg(not(target_os = "linux"))]
        self.report.clone()
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
