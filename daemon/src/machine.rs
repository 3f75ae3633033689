//! What the machine has: memory and devices.

use std::{fs, path::Path, thread};

use imgd_proto::v1;

/// Memory of the machine: total, and available to new work, in bytes.
#[cfg(target_os = "linux")]
pub fn memory_bytes() -> (u64, u64) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':')
            .trim()
            .strip_suffix(" kB")?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let total = field("MemTotal").unwrap_or(0) * 1024;
    let available = field("MemAvailable").unwrap_or(0) * 1024;
    (total, available.min(cgroup_available().unwrap_or(u64::MAX)))
}

/// Memory of the machine where the system does not say how much is free: all of it may be taken.
#[cfg(not(target_os = "linux"))]
pub fn memory_bytes() -> (u64, u64) {
    let total = crate::sys::total_memory_bytes();
    (total, total)
}

/// Memory available to new work, in bytes.
pub fn available_bytes() -> u64 {
    memory_bytes().1
}

/// What the control group of this process has left, where it has a limit.
#[cfg(target_os = "linux")]
fn cgroup_available() -> Option<u64> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = membership
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))?;
    let mut directory = Path::new("/sys/fs/cgroup").join(group);
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let mut least = None;
    while directory.starts_with("/sys/fs/cgroup") {
        if let (Some(most), Some(used)) = (
            number(&directory.join("memory.max")),
            number(&directory.join("memory.current")),
        ) {
            let left = most.saturating_sub(used);
            least = Some(least.map_or(left, |least: u64| least.min(left)));
        }
        if !directory.pop() {
            break;
        }
    }
    least
}

/// Memory of a process that is in the machine's memory, in bytes; 0 where it cannot be told.
pub fn resident_bytes(pid: u32) -> u64 {
    process_bytes(pid).0
}

/// The part of it that no file is behind, so that the system cannot have it back for the asking.
pub fn anonymous_bytes(pid: u32) -> u64 {
    let (resident, of_files) = process_bytes(pid);
    resident.saturating_sub(of_files)
}

/// What a process has in the machine's memory, and how much of it is pages of files.
fn process_bytes(pid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut pages = text.split(' ').skip(1).map(str::parse::<u64>);
    let mut bytes = || {
        let pages = pages.next().and_then(Result::ok).unwrap_or(0);
        pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096))
    };
    (bytes(), bytes())
}

/// The machine's devices: the CPU, which is used, then the GPUs, which are not used yet.
pub fn devices(threads: Option<u32>) -> Vec<v1::Device> {
    let available =
        thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
    let cpu = v1::Device {
        name: "cpu".to_owned(),
        description: cpu_name(),
        in_use: true,
        reason: String::new(),
        threads: threads.unwrap_or(available),
    };
    let gpus = gpu_names()
        .into_iter()
        .enumerate()
        .map(|(index, description)| v1::Device {
            name: format!("gpu:{index}"),
            description,
            in_use: false,
            reason: "imgd does not compute on GPUs yet".to_owned(),
            threads: 0,
        });
    std::iter::once(cpu).chain(gpus).collect()
}

fn cpu_name() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line
        .and_then(|line| line.split_once(':'))
        .map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Names of the GPUs: NVIDIA's driver tells the model, for others the vendor is known.
fn gpu_names() -> Vec<String> {
    let nvidia: Vec<_> = sorted(Path::new("/proc/driver/nvidia/gpus"))
        .iter()
        .filter_map(|gpu| {
            let text = fs::read_to_string(gpu.join("information")).ok()?;
            let name = text.lines().find_map(|line| line.strip_prefix("Model:"))?;
            Some(name.trim().to_owned())
        })
        .collect();
    let is_card = |path: &std::path::PathBuf| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        name.strip_prefix("card")
            .is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let others = sorted(Path::new("/sys/class/drm"))
        .into_iter()
        .filter(is_card)
        .filter_map(|card| {
            let vendor = fs::read_to_string(card.join("device/vendor")).ok()?;
            match vendor.trim() {
                "0x1002" => Some("AMD GPU".to_owned()),
                "0x8086" => Some("Intel GPU".to_owned()),
                "0x10de" if nvidia.is_empty() => Some("NVIDIA GPU".to_owned()),
                _ => None,
            }
        });
    let others: Vec<_> = others.collect();
    nvidia.into_iter().chain(others).collect()
}

fn sorted(directory: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::{anonymous_bytes, devices, memory_bytes, resident_bytes};

    #[test]
    fn the_machine_has_memory_and_a_cpu() {
        let (total, available) = memory_bytes();
        assert!(available <= total && total > 0);
        assert!(devices(Some(3))[0].in_use);
        assert_eq!(devices(Some(3))[0].threads, 3);
        if cfg!(target_os = "linux") {
            assert!(resident_bytes(std::process::id()) > 1 << 20);
            assert!(anonymous_bytes(std::process::id()) < resident_bytes(std::process::id()));
        }
    }
}
