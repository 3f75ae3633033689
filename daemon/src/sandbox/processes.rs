//! What each of the processes says of its sandbox, asked now.

use std::time::Duration;

use tokio::{task, time::timeout};

use super::{Confined, Report};
use crate::spawner::Spawner;

/// How long the spawner may be busy: it ends workers, and the kernel may hold one.
const PATIENCE: Duration = Duration::from_secs(2);

/// Those that live as long as the daemon. Workers come and go; the scheduler knows of them.
#[derive(Debug, Clone)]
pub struct Processes {
    /// This process.
    pub supervisor: Confined,
    /// None in tests of other things.
    pub(crate) spawner: Option<Spawner>,
}

/// What they found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Of this process.
    pub supervisor: Report,
    /// Of the process that starts workers.
    pub spawner: Report,
}

impl Processes {
    /// A daemon of a test, in one process that is not confined.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self {
            supervisor: Confined::not(),
            spawner: None,
        }
    }

    /// Has both try what is forbidden to them.
    pub async fn look(&self) -> Found {
        let own = self.supervisor.clone();
        let supervisor = task::spawn_blocking(move || own.look()).await;
        Found {
            supervisor: supervisor.unwrap_or_else(|_| Report::nothing("it could not be tried")),
            spawner: self.ask_spawner().await,
        }
    }

    async fn ask_spawner(&self) -> Report {
        let Some(spawner) = &self.spawner else {
            return Report::nothing("there is none");
        };
        match timeout(PATIENCE, spawner.look()).await {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => Report::nothing(&error.to_string()),
            Err(_) => Report::nothing("it does not answer"),
        }
    }
}

/// Whether the system counts a process as filtered, for good; `None` where it does not say.
pub(crate) fn is_filtered(pid: u32) -> Option<bool> {
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(super::probe::is_filtered(&status))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pid;
        None
    }
}
