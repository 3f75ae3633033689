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
        let group = groups().iter().find_map(|group| read(&group.counts()));
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

/// A control group of memory that this process is in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Where its files are.
    pub(crate) directory: PathBuf,
    /// Whether it is of the second version of groups.
    pub(crate) is_unified: bool,
}

impl Group {
    fn counts(&self) -> PathBuf {
        self.directory.join(if self.is_unified {
            "memory.events"
        } else {
            "memory.oom_control"
        })
    }
}

/// The control groups that count memory of this process, where there are any.
pub(crate) fn groups() -> Vec<Group> {
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut groups = groups_of(&membership);
    groups.retain(|group| group.counts().exists());
    groups
}

/// Where the groups of a process with this `/proc/PID/cgroup` would be, in both versions.
fn groups_of(membership: &str) -> Vec<Group> {
    let fields = membership.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?.trim_start_matches('/')))
    });
    fields
        .filter_map(|(controllers, group)| {
            let is_unified = controllers.is_empty();
            let root = if is_unified {
                "/sys/fs/cgroup"
            } else if controllers.split(',').any(|name| name == "memory") {
                "/sys/fs/cgroup/memory"
            } else {
                return None;
            };
            let directory = Path::new(root).join(group);
            Some(Group {
                directory,
                is_unified,
            })
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
        let counts = |membership| {
            let groups = groups_of(membership);
            let paths = groups.iter().map(Group::counts);
            paths.collect::<Vec<_>>()
        };
        let unified = counts("0::/user.slice/imgd.service\n");
        let expected = "/sys/fs/cgroup/user.slice/imgd.service/memory.events";
        assert_eq!(unified, [Path::new(expected)]);
        let first = counts("9:name=systemd:/\n4:cpu,memory:/a/b\n");
        let expected = "/sys/fs/cgroup/memory/a/b/memory.oom_control";
        assert_eq!(first, [Path::new(expected)]);
        assert!(counts("nonsense\n").is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_counts() {
        let kills = OomKills::now().expect("Linux counts");
        assert!(kills.machine.is_some() || kills.group.is_some());
    }
}
