//! What was left behind: other daemons of this user, and downloads that were interrupted.

use std::{fs, path::Path};

use super::finding::Finding;
use crate::{Context, table};

/// What the system calls the daemon's processes.
const PROGRAM: &str = "imgd";

/// `listener` is the process that listens on the socket.
pub(super) fn look(listener: Option<u32>, context: &Context) -> Vec<Finding> {
    let mut findings: Vec<_> = others(listener).iter().map(other).collect();
    findings.extend(context.hub.cache.as_deref().and_then(interrupted));
    if findings.is_empty() {
        findings.push(Finding::ok(
            "none",
            "no other daemon of yours, no interrupted download",
        ));
    }
    findings
}

/// A process of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    command: String,
}

fn other(process: &Process) -> Finding {
    let found = format!(
        "process {} is an imgd as well: {}",
        process.pid, process.command
    );
    Finding::note("another imgd", found).advice(format!(
        "as it should be where you started it for another socket; else `kill {}`",
        process.pid
    ))
}

/// The daemons of this user but the one that listens: processes that no other one of them started.
fn others(listener: Option<u32>) -> Vec<Process> {
    let uid = rustix::process::getuid().as_raw();
    let found = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes: Vec<_> = found.filter_map(|entry| read(&entry.path(), uid)).collect();
    roots(&processes)
        .filter(|process| Some(process.pid) != listener)
        .cloned()
        .collect()
}

fn roots(processes: &[Process]) -> impl Iterator<Item = &Process> {
    let is_child = |process: &&Process| processes.iter().any(|other| other.pid == process.parent);
    processes.iter().filter(move |process| !is_child(process))
}

/// What Linux says of a process, if it is a daemon's and of this user.
fn read(folder: &Path, uid: u32) -> Option<Process> {
    let pid = folder.file_name()?.to_str()?.parse().ok()?;
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let value = |name: &str| {
        let mut lines = status.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let is_ours = value("Uid")?.split_whitespace().next()?.parse() == Ok(uid);
    // A process that has ended and was not asked how is nobody's affair.
    let is_dead = value("State")?.trim_start().starts_with('Z');
    if !is_ours || is_dead || value("Name")?.trim() != PROGRAM {
        return None;
    }
    let command = fs::read(folder.join("cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    Some(Process {
        pid,
        parent: value("PPid")?.trim().parse().ok()?,
        command: command.trim().to_owned(),
    })
}

/// Parts of files that `imgctl pull`, or another program, has begun to fetch into the cache.
fn interrupted(cache: &Path) -> Option<Finding> {
    let (mut files, mut bytes) = (0_u32, 0_u64);
    for repository in fs::read_dir(cache).ok()?.flatten() {
        let blobs = fs::read_dir(repository.path().join("blobs"));
        for blob in blobs.into_iter().flatten().flatten() {
            if blob.file_name().to_string_lossy().ends_with(".incomplete") {
                files += 1;
                bytes += blob.metadata().map(|metadata| metadata.len()).unwrap_or(0);
            }
        }
    }
    (files > 0).then(|| {
        let found = format!(
            "{files} of interrupted downloads, {} in {}",
            table::size(bytes),
            cache.display()
        );
        Finding::note("parts", found)
            .advice("`imgctl pull NAME` goes on with one, `imgctl models rm NAME` deletes it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_told_once_whatever_it_has_started() {
        let process = |pid, parent| Process {
            pid,
            parent,
            command: String::new(),
        };
        let processes = [
            process(10, 1),
            process(11, 10),
            process(12, 11),
            process(20, 1),
        ];
        let found: Vec<_> = roots(&processes).map(|process| process.pid).collect();
        assert_eq!(found, [10, 20]);
    }

    #[test]
    fn interrupted_downloads_are_counted() {
        let cache = tempfile::tempdir().unwrap();
        assert_eq!(interrupted(cache.path()), None);
        let blobs = cache.path().join("models--a--b/blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join("0123.incomplete"), "12345").unwrap();
        fs::write(blobs.join("4567"), "1").unwrap();
        let found = interrupted(cache.path()).unwrap().found;
        assert!(
            found.starts_with("1 of interrupted downloads, 5 B"),
            "{found}"
        );
    }
}
