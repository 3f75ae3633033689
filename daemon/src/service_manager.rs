//! What systemd is told. Without it every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The daemon answers.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// What the daemon does, in a few words for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// The scheduler's task is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// The daemon ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How often [`alive`] must be called.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("the service manager could not be told: {error}");
    }
}
