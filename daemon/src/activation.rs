//! Sockets that a service manager made before it started the daemon.

use std::os::unix::net::UnixListener;

/// Name of the socket in `systemd/imgd.socket`; the launchd agent uses the same.
#[cfg(target_os = "linux")]
const NAME: &str = "imgd";

/// The socket that systemd passed, if this process was started for it.
#[cfg(target_os = "linux")]
pub fn socket() -> Option<UnixListener> {
    let passed: Vec<_> = sd_notify::listen_fds_with_names().ok()?.collect();
    let named = passed.iter().find(|(_, name)| name == NAME);
    let (descriptor, _) = named.or_else(|| passed.first().filter(|_| passed.len() == 1))?;
    crate::sys::adopt_listener(*descriptor)
}

/// The socket that launchd passed. Not run by the project's tests.
#[cfg(target_os = "macos")]
pub fn socket() -> Option<UnixListener> {
    let descriptor = crate::sys::launchd_sockets(c"imgd").first().copied()?;
    crate::sys::adopt_listener(descriptor)
}

/// Other systems pass none.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn socket() -> Option<UnixListener> {
    None
}
