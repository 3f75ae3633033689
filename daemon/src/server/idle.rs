//! Ending a daemon that nobody needs, where the service manager keeps the socket and starts it again.
//!
//! No connection is lost: while the scheduler is asked none is taken, and one that comes meanwhile waits in the socket,
//! which the service manager holds open, for the next daemon.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use crate::scheduler::Scheduler;

/// When to end for want of use.
pub struct Idle {
    least: Option<Duration>,
    scheduler: Scheduler,
    /// When to ask next; `None` as long as somebody is connected.
    ask_at: Option<Instant>,
}

impl Idle {
    /// Ends after `least` without use; never where that is `None`.
    pub fn new(least: Option<Duration>, scheduler: Scheduler) -> Self {
        Self {
            least,
            scheduler,
            ask_at: None,
        }
    }

    /// Waits until it is to be asked whether the daemon may end. Never as long as somebody is connected.
    pub(super) async fn is_due(&mut self, is_alone: bool) {
        let Some(least) = self.least.filter(|_| is_alone) else {
            self.ask_at = None;
            return std::future::pending().await;
        };
        let now = Instant::now();
        let ask_at = *self.ask_at.get_or_insert(now + least);
        sleep_until(ask_at).await;
    }

    /// Whether the daemon ends now: the scheduler takes no more work then.
    pub(super) async fn ends(&mut self) -> bool {
        let Some(least) = self.least else {
            return false;
        };
        match self.scheduler.end_if_unused(least).await {
            Ok(None) => {
                let secs = least.as_secs_f64();
                info!("nobody needed the daemon for {secs} s: it ends until the next connection");
                true
            }
            Ok(Some(left)) => {
                self.ask_at = Some(Instant::now() + left);
                false
            }
            Err(failure) => {
                debug!("it ends already: {failure}");
                self.ask_at = None;
                false
            }
        }
    }
}
