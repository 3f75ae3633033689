//! Tries what the sandbox forbids: what a process believes of itself is worth less than a refusal.

use std::{
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, Protocol, SocketType, socket},
};

use super::Role;
use crate::sys;

/// Networks, and the kernel's own line to those who set them up.
const FAMILIES: [AddressFamily; 3] = [
    AddressFamily::INET,
    AddressFamily::INET6,
    AddressFamily::NETLINK,
];

/// A protocol for experiments, which nothing speaks (RFC 3692): who traces the daemon sees by it what is only tried.
const PROTOCOL: u32 = 253;

/// Fails with what was not refused.
pub(super) fn system_calls(role: &Role) -> Result<(), String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !is_filtered(&status) {
        return Err("the system does not count this process as filtered".to_owned());
    }
    let protocol = NonZeroU32::new(PROTOCOL).map(Protocol::from_raw);
    for family in FAMILIES {
        match socket(family, SocketType::DGRAM, protocol) {
            Err(Errno::PERM) => {}
            Err(other) => return Err(format!("a socket for a network failed by {other} alone")),
            Ok(_) => return Err("a socket for a network could be made".to_owned()),
        }
    }
    if !role.may_execute() {
        let refusal = sys::execute_nothing();
        if refusal.raw_os_error() != Some(libc::EPERM) {
            return Err(format!("executing a program failed by {refusal} alone"));
        }
    }
    Ok(())
}

/// Whether `/proc/PID/status` shows a filter that nothing can take off.
pub(super) fn is_filtered(status: &str) -> bool {
    let has = |line: &str| status.lines().any(|other| other == line);
    has("Seccomp:\t2") && has("NoNewPrivs:\t1")
}

/// Fails with a place that could be written.
pub(super) fn files(role: &Role) -> Result<(), String> {
    let mut places = ["/tmp", "/"].map(PathBuf::from).to_vec();
    let mut own = None;
    if let Role::Supervisor(of_supervisor) = role {
        places.extend(of_supervisor.home.clone());
        places.extend(of_supervisor.socket_dir.clone());
        own = of_supervisor.data_dir.canonicalize().ok();
    }
    let is_own = |place: &PathBuf| match (&own, place.canonicalize()) {
        (Some(own), Ok(place)) => place.starts_with(own),
        _ => false,
    };
    match places.iter().find(|place| !is_own(place) && writes(place)) {
        Some(place) => Err(format!("a file could be written in {}", place.display())),
        None => Ok(()),
    }
}

/// Whether a file without a name can be opened for writing. It is gone at once.
fn writes(folder: &Path) -> bool {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::RUSR).is_ok()
}
