//! Failures that the daemon itself knows, in the user's words.

use std::time::Duration;

pub use imgd_proto::errors::{Failure, Reason};

/// The worker is gone; `how` follows "the worker".
pub fn worker_died(how: &str) -> Failure {
    Failure::new(Reason::WorkerDied, format!("the worker {how} while it worked on this request")).with_hint(
        "try again: the daemon starts another worker; if it happens again, look at the daemon's log",
    )
}

/// Something outside ended so many workers in a row; `how` follows "the worker".
pub fn worker_keeps_dying(how: &str, deaths: u32) -> Failure {
    let message = format!(
        "the worker {how} {deaths} times in a row before this request came any further: something outside keeps ending it"
    );
    Failure::new(Reason::WorkerDied, message).with_hint(
        "memory may be short: earlyoom, systemd-oomd and others end processes then; ask for a smaller picture, or end other programs",
    )
}

/// Whether the process that computed is gone with all it held.
pub fn is_worker_died(failure: &Failure) -> bool {
    failure.reason == Reason::WorkerDied
}

/// The daemon is ending.
pub fn draining() -> Failure {
    Failure::new(
        Reason::Draining,
        "the daemon is ending and takes no more work",
    )
    .with_hint("try again in a moment")
    .with_retry_after(Duration::from_secs(1))
}

/// The queue is full.
pub fn queue_full(capacity: usize) -> Failure {
    Failure::new(
        Reason::QueueFull,
        format!("{capacity} requests wait already, and no more may"),
    )
    .with_hint("try again later, or raise `queue_capacity` in the config")
    .with_retry_after(Duration::from_secs(5))
}

/// As many requests of one client wait as may.
pub fn client_queue_full(client: &str, capacity: usize) -> Failure {
    Failure::new(
        Reason::ClientQueueFull,
        format!("{capacity} requests of client `{client}` wait already, and no more may"),
    )
    .with_hint("try again later, or raise `capacity_per_client` in the config")
    .with_retry_after(Duration::from_secs(5))
}

/// The model does not fit.
pub fn does_not_fit(model: &str, need_bytes: u64, have_bytes: u64) -> Failure {
    let message = format!(
        "model `{model}` needs {} of memory, and {} is available",
        size(need_bytes),
        size(have_bytes)
    );
    Failure::new(Reason::OutOfMemory, message)
        .with_field("model")
        .with_hint("end other programs, choose a smaller model, or raise `max_memory` if it is set")
}

/// The model fits, but a picture of `(width, height)` pixels besides it does not.
pub fn picture_does_not_fit(
    model: &str,
    (width_px, height_px): (u32, u32),
    need_bytes: u64,
    have_bytes: u64,
) -> Failure {
    let message = format!(
        "a picture of {width_px} x {height_px} pixels by model `{model}` needs {} of memory, and {} is available",
        size(need_bytes),
        size(have_bytes)
    );
    let field = if width_px >= height_px {
        "width_px"
    } else {
        "height_px"
    };
    Failure::new(Reason::OutOfMemory, message)
        .with_field(field)
        .with_hint(
            "ask for a smaller picture, end other programs, or raise `max_memory` if it is set",
        )
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn size(bytes: u64) -> String {
    let (unit, name) = if bytes < 1 << 30 {
        (1 << 20, "MiB")
    } else {
        (1 << 30, "GiB")
    };
    format!("{:.1} {name}", bytes as f64 / f64::from(unit))
}
