//! How many processes the kernel has ended for lack of memory, so that a worker's SIGKILL can be told from one that
//! somebody sent.
//!
//! Two counters: the machine's, and that of the control group this process is in, which its workers are in as well.
//! The kernel counts before it sends the signal, so that a count read after a process has ended has that process in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Processes ended for lack of memory so far, by the counters that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OomKills {
    /// `oom_kill` of `/proc/vmstat`.
    machine: Option<u64>,
    /// `oom_kill` of the control group's `memory.events`, or `memory.oom_control` in the first version of groups.
    group: Option<u64>,
}

impl OomKills {
    /// The counts now; `None` where there are none (another system, or a sandbox that hides them).
    pub(crate) fn now() -> Option<Self> {
        let machine = read(Path::new("/proc/vmstat"));
        let group = group_file().and_then(|path| read(&path));
        (machine.is_some() || group.is_some()).then_some(Self { machine, group })
    }

    /// A count that a test makes up.
    #[cfg(test)]
    #[expect(clippy::unnecessary_wraps, reason = "the form that a look has")]
    pub(crate) fn of(machine: u64) -> Option<Self> {
        Some(Self {
            machine: Some(machine),
            group: None,
        })
    }
}

/// The number after `oom_kill` in a file of names and numbers.
fn read(path: &Path) -> Option<u64> {
    number(&fs::read_to_string(path).ok()?)
}

fn number(text: &str) -> Option<u64> {
    let lines = text.lines();
    let value = lines
        .filter_map(|line| line.strip_prefix("oom_kill "))
        .next()?;
    value.trim().parse().ok()
}

/// Where the control group of this process counts.
fn group_file() -> Option<PathBuf> {
    path_of_group(&fs::read_to_string("/proc/self/cgroup").ok()?)
        .into_iter()
        .find(|path| path.exists())
}

/// Where the group of a process with this `/proc/PID/cgroup` would count, in both versions of groups.
fn path_of_group(membership: &str) -> Vec<PathBuf> {
    let fields = membership.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    fields
        .filter_map(|(_, controllers, group)| {
            let group = group.trim_start_matches('/');
            if controllers.is_empty() {
                Some(
                    Path::new("/sys/fs/cgroup")
                        .join(group)
                        .join("memory.events"),
                )
            } else if controllers.split(',').any(|name| name == "memory") {
                let root = Path::new("/sys/fs/cgroup/memory");
                Some(root.join(group).join("memory.oom_control"))
            } else {
                None
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_its_neighbours() {
        let events = "low 0\nhigh 3\nmax 9\noom 2\noom_kill 17\noom_group_kill 4\n";
        assert_eq!(number(events), Some(17));
        assert_eq!(
            number("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
            Some(1)
        );
        assert_eq!(number("pgfault 3\n"), None);
    }

    #[test]
    fn a_group_counts_in_its_own_directory() {
        let unified = path_of_group("0::/user.slice/imgd.service\n");
        let expected = "/sys/fs/cgroup/user.slice/imgd.service/memory.events";
        assert_eq!(unified, [Path::new(expected)]);
        let first = path_of_group("9:name=systemd:/\n4:cpu,memory:/a/b\n");
        let expected = "/sys/fs/cgroup/memory/a/b/memory.oom_control";
        assert_eq!(first, [Path::new(expected)]);
        assert!(path_of_group("nonsense\n").is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_counts() {
        let kills = OomKills::now().expect("Linux counts");
        assert!(kills.machine.is_some() || kills.group.is_some());
    }
}
