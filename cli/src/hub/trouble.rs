//! What can go wrong on the way: what passes and is tried again, and what does not.

use std::time::Duration;

use crate::failure::{Failure, exit};

/// Machine-readable name of a download that failed.
const REASON: &str = "DOWNLOAD_FAILED";

/// Why something was not received.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It may go better in a moment: a lost connection, a busy host.
    Passing {
        /// What happened, to follow the file's name and a colon.
        why: String,
        /// How long the host asks to wait.
        wait: Option<Duration>,
    },
    /// It will not.
    Lasting(Failure),
}

impl Trouble {
    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self::Passing {
            why: why.into(),
            wait: None,
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Lasting(failure)
    }
}

/// The work failed.
pub(super) fn failed(message: impl Into<String>) -> Failure {
    let mut failure = Failure::new(exit::FAILED, message);
    REASON.clone_into(&mut failure.reason);
    failure
}

/// The hub said what no hub may say: `what` it named, and why that cannot be.
pub(super) fn refused(what: &str) -> Failure {
    failed(format!("{what}; nothing of it was taken")).hint(
        "this is no honest answer of a hub: check HF_ENDPOINT, proxies, and who answers in the hub's name",
    )
}

/// Text of a hub for a message: short, in quotes, without what steers a terminal.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(80).collect();
    let dots = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{dots}")
}

/// How long to wait before attempt `number` after a failed one, from 1: half a second, doubled up to 16 seconds.
pub(super) fn backoff(number: u32) -> Duration {
    Duration::from_millis(500 << number.saturating_sub(1).min(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let waits: Vec<_> = [1, 2, 6, 60]
            .map(|number| backoff(number).as_millis())
            .into();
        assert_eq!(waits, [500, 1000, 16_000, 16_000]);
    }
}
