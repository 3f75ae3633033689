//! What systemd is told. Without it every call does nothing.
//!
//! Messages are sent without waiting: a service manager that does not read holds nobody up, and misses what does not
//! fit in its queue.

use std::{io, os::unix::net::UnixDatagram, sync::OnceLock, time::Duration};

static MANAGER: OnceLock<UnixDatagram> = OnceLock::new();

/// Finds the service manager at the address in `NOTIFY_SOCKET`: a path, or on Linux an abstract name after `@`.
pub fn connect(address: &str) {
    match open(address) {
        Ok(socket) => drop(MANAGER.set(socket)),
        Err(error) => tracing::warn!("the service manager cannot be told anything: {error}"),
    }
}

/// Whether there is one to tell.
pub fn is_connected() -> bool {
    MANAGER.get().is_some()
}

fn open(address: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match address.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
            socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        }
        _ => socket.connect(address)?,
    }
    Ok(socket)
}

/// The daemon answers.
pub fn ready() {
    tell("READY=1");
}

/// What the daemon does, in a few words for `systemctl status`.
pub fn status(text: &str) {
    // A line break would begin another message.
    tell(&format!("STATUS={}", text.replace(char::is_control, " ")));
}

/// The scheduler's task is alive.
pub fn alive() {
    tell("WATCHDOG=1");
}

/// The daemon ends.
pub fn stopping() {
    tell("STOPPING=1");
}

/// How often [`alive`] must be called.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(message: &str) {
    if let Some(manager) = MANAGER.get()
        && let Err(error) = manager.send(message.as_bytes())
    {
        tracing::debug!("the service manager could not be told: {error}");
    }
}
