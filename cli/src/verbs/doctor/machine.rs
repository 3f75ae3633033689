//! The machine: what computes, memory, and room on the disks.

use std::{fs, path::Path};

use imgd_client::v1;
use rustix::fs::statvfs;

use super::{configuration::Configuration, finding::Finding};
use crate::{Context, table};

/// With less room than this the daemon soon holds jobs back, or does so already.
const DISK_IS_FULL: u64 = 200 << 20;
/// With less room than this it is worth knowing.
const DISK_IS_LOW: u64 = 2 << 30;
/// With less memory than this available, a picture of a common model does not fit.
const MEMORY_IS_LOW: u64 = 2 << 30;

/// `status` is `None` where no daemon answers; then what the system says itself is told.
pub(super) fn look(
    status: Option<&v1::GetStatusResponse>,
    configuration: &Configuration,
    context: &Context,
) -> Vec<Finding> {
    let mut findings: Vec<_> = status
        .iter()
        .flat_map(|status| &status.devices)
        .map(device)
        .collect();
    findings.push(instructions());
    findings.extend(
        status
            .and_then(|status| status.memory.as_ref())
            .map(|memory| memory_of(memory, configuration.max_memory_bytes)),
    );
    let library = status.and_then(|status| status.library.as_ref());
    let data = library
        .map(|library| Path::new(library.path.as_str()))
        .or(configuration.data_dir.as_deref());
    findings.extend(data.and_then(|path| disk("disk, data", path)));
    let cache = context.hub.cache.as_deref();
    findings.extend(cache.and_then(|path| disk("disk, models", path)));
    findings
}

fn device(device: &v1::Device) -> Finding {
    let found = match (device.in_use, device.threads) {
        (true, 0) => format!("{}, in use", device.description),
        (true, threads) => format!("{}, in use, {threads} threads", device.description),
        (false, _) => format!("{}, not in use: {}", device.description, device.reason),
    };
    Finding::ok(format!("device {}", device.name), found)
}

/// What the processor has of the instructions that make pictures fast, in Linux' words.
fn instructions() -> Finding {
    const HELPFUL: [(&str, &str); 5] = [
        ("avx2", "AVX2"),
        ("fma", "FMA"),
        ("avx512f", "AVX-512"),
        ("avx512_bf16", "AVX512-BF16"),
        ("amx_bf16", "AMX-BF16"),
    ];
    let arch = std::env::consts::ARCH;
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find_map(|line| {
        let (key, flags) = line.split_once(':')?;
        (key.trim() == "flags").then(|| flags.split_whitespace().collect::<Vec<_>>())
    });
    let Some(flags) = flags else {
        return Finding::ok("instructions", arch);
    };
    let has = |flag| flags.contains(&flag);
    let named: Vec<_> = HELPFUL
        .iter()
        .filter(|(flag, _)| has(flag))
        .map(|(_, name)| *name)
        .collect();
    if !(has("avx2") && has("fma")) {
        let found = format!("{arch} without AVX2 and FMA: pictures take many times as long");
        return Finding::note("instructions", found)
            .advice("in a virtual machine, give it the host's processor model");
    }
    Finding::ok("instructions", format!("{arch} with {}", named.join(", ")))
}

fn memory_of(memory: &v1::Memory, limit: Option<u64>) -> Finding {
    let budget = match limit {
        Some(limit) => format!("models may take {}", table::size(limit)),
        None => "models may take what is available".to_owned(),
    };
    let worker = match memory.worker_bytes {
        0 => "no worker has a model".to_owned(),
        bytes => format!("its worker {}", table::size(bytes)),
    };
    let found = format!(
        "{} of {} available, {budget}; imgd has {}, {worker}",
        table::size(memory.available_bytes),
        table::size(memory.total_bytes),
        table::size(memory.supervisor_bytes),
    );
    if memory.available_bytes < MEMORY_IS_LOW {
        let advice = "end other programs, or free models with `imgctl unload NAME`; `imgctl plan` says what a picture needs";
        return Finding::note("memory", found).advice(advice);
    }
    Finding::ok("memory", found)
}

/// Room where `path` is or will be.
fn disk(name: &str, path: &Path) -> Option<Finding> {
    let there = path.ancestors().find(|path| path.exists())?;
    let disk = statvfs(there).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let found = format!("{} free at {}", table::size(free), there.display());
    Some(match free {
        ..DISK_IS_FULL => Finding::problem(name, found).advice(
            "make room: jobs wait while the disk is full; `imgctl history` shows what is kept",
        ),
        DISK_IS_FULL..DISK_IS_LOW => {
            Finding::note(name, found).advice("models take 2 to 24 GB each")
        }
        _ => Finding::ok(name, found),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Mark, *};

    #[test]
    fn little_memory_is_told_with_the_budget() {
        let memory = v1::Memory {
            available_bytes: 1 << 30,
            total_bytes: 8 << 30,
            ..v1::Memory::default()
        };
        let finding = memory_of(&memory, Some(4_000_000_000));
        assert_eq!(finding.mark, Mark::Note);
        assert!(
            finding.found.contains("may take 4.0 GB"),
            "{}",
            finding.found
        );
    }

    #[test]
    fn room_is_looked_for_where_the_folder_will_be() {
        let root = tempfile::tempdir().unwrap();
        let finding = disk("disk", &root.path().join("a/b/c")).unwrap();
        let end = format!("at {}", root.path().display());
        assert!(finding.found.ends_with(&end), "{}", finding.found);
    }
}
