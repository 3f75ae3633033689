//! What the system says about a process: who listens on a socket, what it has open, whether it lives.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// The process that listens on the Unix socket at `path`, if one does.
#[cfg(target_os = "linux")]
pub fn listener(path: &Path) -> Option<u32> {
    let stream = UnixStream::connect(path).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    u32::try_from(peer.pid.as_raw_nonzero().get()).ok()
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn listener(_path: &Path) -> Option<u32> {
    None
}

/// Asks the process to end, insists after ten seconds, and returns when it is gone.
pub fn end(pid: u32) {
    signal(pid, Signal::TERM);
    if !gone_within(pid, Duration::from_secs(10)) {
        signal(pid, Signal::KILL);
        gone_within(pid, Duration::from_secs(10));
    }
}

/// Sends a signal; nothing happens when the process is gone.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = as_pid(pid) {
        // gone already is what was wanted
        kill_process(pid, signal).ok();
    }
}

/// Whether the process is there and no zombie.
pub fn is_alive(pid: u32) -> bool {
    let there = as_pid(pid).is_some_and(|pid| test_kill_process(pid).is_ok());
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    there
        && !state
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Waits until the process is gone; false when it is still there after `limit`.
pub fn gone_within(pid: u32, limit: Duration) -> bool {
    within(limit, || !is_alive(pid))
}

/// Waits until the condition holds; false when it does not within `limit`.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The process and everything it started, as the system lists them now.
pub fn family(pid: u32) -> BTreeSet<u32> {
    let mut family = BTreeSet::from([pid]);
    loop {
        let before = family.len();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(candidate) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            if parent(candidate).is_some_and(|parent| family.contains(&parent)) {
                family.insert(candidate);
            }
        }
        if family.len() == before {
            return family;
        }
    }
}

/// The worker of the daemon with this process id, if it has one.
pub fn worker(daemon: u32) -> Option<u32> {
    family(daemon).into_iter().find(|pid| is_worker(*pid))
}

/// Whether the process runs as `imgd worker`.
pub fn is_worker(pid: u32) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments = command.split(|byte| *byte == 0);
    arguments.any(|argument| argument == b"worker")
}

/// Memory of the process that is in RAM, in bytes; 0 when it is gone.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
        .and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}

fn parent(pid: u32) -> Option<u32> {
    // pid (name) state parent …, where the name may hold anything
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// Inode numbers of the sockets the process has open.
pub fn sockets(pid: u32) -> BTreeSet<u64> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            link.parse().ok()
        })
        .collect()
}

/// Regular files that the process has open for writing, deleted ones too.
pub fn files_open_for_writing(pid: u32) -> Vec<PathBuf> {
    let is_open_for_writing = |descriptor: &str| {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}"));
        let info = info.unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        // octal, the access mode in the last two bits: 0 is reading
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        flags.is_some_and(|flags| flags & 3 != 0)
    };
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| fs::metadata(entry.path()).is_ok_and(|file| file.is_file()))
        .filter(|entry| entry.file_name().to_str().is_some_and(is_open_for_writing))
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .collect()
}

/// Number of descriptors the process has open.
pub fn descriptor_count(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count())
}

/// Inode numbers of all internet sockets in the process's network namespace, of any kind and state.
pub fn internet_sockets(pid: u32) -> BTreeSet<u64> {
    ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"]
        .iter()
        .filter_map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok())
        .flat_map(|table| {
            let rows = table.lines().skip(1);
            rows.filter_map(|row| row.split_whitespace().nth(9)?.parse().ok())
                .collect::<Vec<u64>>()
        })
        .collect()
}

fn as_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}
