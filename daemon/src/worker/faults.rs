//! Faults on demand, to test that the daemon outlives them. Compiled with the feature `faults` alone, which no released
//! program has.
//!
//! A prompt asks for one: `a red apple [[fault:segv@3,once]]`.
//!
//! | kind | what the worker does |
//! |---|---|
//! | `panic` | meets a defect |
//! | `segv` | reads where nothing is |
//! | `abort` | asks for more memory than there can be, and is refused |
//! | `hang` | computes nothing for ever |
//! | `oom` | takes memory until the kernel ends it |
//!
//! `@N` is the evaluation that it happens in the place of, counted from 1; without it the first. `once` spares
//! generations that were restored from a saved state: a worker keeps no count, as it dies.

use std::{fs, hint::black_box, path::Path, thread, time::Duration};

use imgd_engine::Generation;
use rustix::process::{Signal, getpid, kill_process};

use crate::oom::groups;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Panic,
    Segv,
    Abort,
    Hang,
    Oom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fault {
    kind: Kind,
    evaluation: usize,
    is_once: bool,
}

/// Does what the generation's prompt asks for, if it is to happen at the evaluation that comes next.
pub(super) fn strike(generation: &Generation, is_restored: bool) {
    let Some(fault) = asked(&generation.request().prompt) else {
        return;
    };
    if fault.evaluation == generation.evaluations_done() + 1 && !(fault.is_once && is_restored) {
        commit(fault.kind);
    }
}

/// The fault that a prompt asks for.
fn asked(prompt: &str) -> Option<Fault> {
    let (_, rest) = prompt.split_once("[[fault:")?;
    let (words, _) = rest.split_once("]]")?;
    let (words, is_once) = match words.strip_suffix(",once") {
        Some(words) => (words, true),
        None => (words, false),
    };
    let (name, evaluation) = words.split_once('@').unwrap_or((words, "1"));
    let kind = match name {
        "panic" => Kind::Panic,
        "segv" => Kind::Segv,
        "abort" => Kind::Abort,
        "hang" => Kind::Hang,
        "oom" => Kind::Oom,
        _ => return None,
    };
    Some(Fault {
        kind,
        evaluation: evaluation.parse().ok()?,
        is_once,
    })
}

fn commit(kind: Kind) {
    tracing::warn!("a fault was asked for: {kind:?}");
    match kind {
        Kind::Panic => panic!("asked for"),
        Kind::Segv => crate::sys::read_where_nothing_is(),
        Kind::Abort => drop(black_box(Vec::<u8>::with_capacity(1 << 62))),
        Kind::Hang => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        Kind::Oom => run_out_of_memory(),
    }
}

/// Memory that a worker is left with after `oom` was asked for, in bytes, besides what it has.
const ROOM_BYTES: usize = 64 << 20;

/// Takes memory until the kernel ends this process. Not the machine's memory: a control group of its own has
/// [`ROOM_BYTES`], so that nobody else is in danger.
///
/// Where no such group can be made (it takes root, or a group that systemd has delegated), the process kills itself; the
/// kernel has no part in that and counts nothing, and the supervisor takes it for a kill from outside, as it must.
fn run_out_of_memory() {
    if !enter_small_group() {
        tracing::warn!("no control group with a limit can be made: the worker kills itself");
    }
    let mut hoard = Vec::new();
    for _ in 0..(4 * ROOM_BYTES) >> 20 {
        hoard.push(black_box(vec![1u8; 1 << 20]));
    }
    kill_process(getpid(), Signal::KILL).ok();
}

/// Name of the groups; the number is the process's.
const GROUP: &str = "imgd-fault-";

/// Puts this process into a new control group with a limit, below its own or beside it. Groups that earlier ones left
/// are removed: no process can remove the one that it died in.
fn enter_small_group() -> bool {
    groups().iter().any(|group| {
        let own = group.directory.as_path();
        let parents = [Some(own), own.parent().filter(|_| group.is_unified)];
        parents.into_iter().flatten().any(|parent| {
            sweep(parent);
            let directory = parent.join(format!("{GROUP}{}", std::process::id()));
            let limit = if group.is_unified {
                "memory.max"
            } else {
                "memory.limit_in_bytes"
            };
            fs::create_dir(&directory)
                .and_then(|()| fs::write(directory.join(limit), ROOM_BYTES.to_string()))
                .and_then(|()| fs::write(directory.join("cgroup.procs"), "0"))
                .inspect_err(|_| drop(fs::remove_dir(&directory)))
                .is_ok()
        })
    })
}

fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(GROUP) {
            // One with a process in it stays.
            fs::remove_dir(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_ask_for_faults() {
        let fault = |kind, evaluation, is_once| {
            Some(Fault {
                kind,
                evaluation,
                is_once,
            })
        };
        assert_eq!(asked("a [[fault:segv]] b"), fault(Kind::Segv, 1, false));
        assert_eq!(asked("[[fault:oom@12]]"), fault(Kind::Oom, 12, false));
        assert_eq!(asked("[[fault:hang@2,once]]"), fault(Kind::Hang, 2, true));
        for none in ["segv", "[[fault:]]", "[[fault:segv", "[[fault:segv@x]]"] {
            assert_eq!(asked(none), None, "{none}");
        }
    }
}
