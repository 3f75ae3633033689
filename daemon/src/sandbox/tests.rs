//! Each of the three sandboxes in a process of its own: this test program executes itself.

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io,
    net::TcpStream,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::{UnixListener, UnixStream},
        process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
};

use rustix::{
    net::{AddressFamily, SocketType, socket},
    process::{getpid, getppid, test_kill_process},
};

use super::{Confined, Places, Role};
use crate::sys;

/// Calls that no process of the daemon may make. Not the filter's own list, which may have forgotten one.
const FORBIDDEN: &[(&str, i64)] = &[
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("ptrace", libc::SYS_ptrace),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("bpf", libc::SYS_bpf),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("kexec_load", libc::SYS_kexec_load),
    ("kexec_file_load", libc::SYS_kexec_file_load),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("delete_module", libc::SYS_delete_module),
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("pivot_root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot),
    ("move_mount", libc::SYS_move_mount),
    ("open_tree", libc::SYS_open_tree),
    ("fsopen", libc::SYS_fsopen),
    ("fsmount", libc::SYS_fsmount),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns),
    ("keyctl", libc::SYS_keyctl),
    ("add_key", libc::SYS_add_key),
    ("request_key", libc::SYS_request_key),
    ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("swapon", libc::SYS_swapon),
    ("reboot", libc::SYS_reboot),
    ("settimeofday", libc::SYS_settimeofday),
    ("bind", libc::SYS_bind),
    ("listen", libc::SYS_listen),
];

/// Calls that supervisor and worker may not make and the spawner may.
const STARTING: &[(&str, i64)] = &[
    ("execve", libc::SYS_execve),
    ("execveat", libc::SYS_execveat),
];

/// What a confined process found, by what it tried: `ok`, or the error's name.
type FoundOut = BTreeMap<String, String>;

/// The program of these tests. In a normal test run it does nothing.
#[test]
fn be_confined() {
    let variable =
        |wanted: &str| std::env::vars().find_map(|(name, value)| (name == wanted).then_some(value));
    let (Some(role), Some(place)) = (variable("IMGD_TEST_CONFINED"), variable("IMGD_TEST_PLACE"))
    else {
        return;
    };
    let place = PathBuf::from(place);
    let listener = UnixListener::bind(place.join("run/other")).unwrap();
    let unbound = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let before = [FORBIDDEN, STARTING].concat();
    let before: BTreeMap<_, _> = before
        .iter()
        .map(|(name, number)| (*name, sys::call(*number, -1)))
        .collect();
    let role_of = |name: &str| match name {
        "supervisor" => Role::Supervisor(Places {
            data_dir: place.join("home/data"),
            socket_dir: Some(place.join("run")),
            home: Some(place.join("home")),
        }),
        "spawner" => Role::Spawner,
        _ => Role::Worker,
    };
    let confined = Confined::confine(role_of(&role));
    let report = confined.look();
    tell("unfiltered", &report.unfiltered.unwrap_or("no".to_owned()));
    tell("unnarrowed", &report.unnarrowed.unwrap_or("no".to_owned()));
    tell("landlock", &report.landlock_abi.to_string());
    if role == "32 bits" {
        #[cfg(target_arch = "x86_64")]
        tell("32 bits", &sys::call_by_32_bits().to_string());
        return;
    }
    for (name, number) in [FORBIDDEN, STARTING].concat() {
        tell(name, &errno(sys::call(number, -1)));
        tell(&format!("{name} before"), &errno(before[name]));
    }
    #[cfg(target_arch = "x86_64")]
    tell("x32", &errno(sys::call(0x4000_0000 | libc::SYS_getpid, 0)));
    tell("clone3", &errno(sys::call(libc::SYS_clone3, -1)));
    for family in [
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
        libc::AF_VSOCK,
    ] {
        let (name, family) = (format!("family {family}"), i64::from(family));
        tell(&name, &errno(sys::call(libc::SYS_socket, family)));
        let name = format!("pair {name}");
        tell(&name, &errno(sys::call(libc::SYS_socketpair, family)));
    }
    // The kernel takes the lower half alone.
    let disguised = i64::from(libc::AF_INET) | (1 << 32);
    tell("disguised", &errno(sys::call(libc::SYS_socket, disguised)));
    for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNET] {
        let name = format!("clone {flag:x}");
        tell(&name, &errno(sys::call(libc::SYS_clone, i64::from(flag))));
    }
    let say = |name: &str, result: io::Result<()>| {
        tell(
            name,
            &result.map_or_else(|error| said(&error), |()| "ok".to_owned()),
        );
    };
    let address = listener.local_addr().unwrap();
    say("unix pair", UnixStream::pair().map(drop));
    say("connect", UnixStream::connect_addr(&address).map(drop));
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    let connected = rustix::net::connect(&unbound, &local).map_err(io::Error::from);
    say("connect by TCP", connected);
    say("tcp", TcpStream::connect(local).map(drop));
    say("thread", thread::Builder::new().spawn(|| ()).map(drop));
    let program = |path: &Path| {
        Command::new(path)
            .arg("--list")
            .stdout(Stdio::null())
            .status()
            .map(drop)
    };
    say("run itself", program(Path::new("/proc/self/exe")));
    say("run true", program(Path::new("/bin/true")));
    say("run a script", program(&place.join("home/script")));
    let signal = |pid| test_kill_process(pid).map_err(io::Error::from);
    say("signal own", signal(getpid()));
    say("signal other", getppid().map_or(Ok(()), signal));
    let write = |path: &str| fs::write(place.join(path), "x");
    say("write null", fs::write("/dev/null", "x"));
    for path in [
        "home/new",
        "home/old",
        "run/new",
        "home/data/new",
        "home/linked/new",
    ] {
        say(&format!("write {path}"), write(path));
    }
    say("write oom", fs::write("/proc/self/oom_score_adj", "500"));
    let at = |path: &str| place.join(path);
    say("read", fs::read(at("home/old")).map(drop));
    say("list", fs::read_dir(at("home")).map(drop));
    say("link in data", symlink(at("home"), at("home/data/link")));
    say("folder in data", fs::create_dir(at("home/data/a")));
    say("folder", fs::create_dir(at("home/a")));
    say(
        "move in data",
        fs::rename(at("home/data/new"), at("home/data/newer")),
    );
    say("move out", fs::rename(at("home/data/b/x"), at("home/x")));
    say("move in", fs::rename(at("home/old"), at("home/data/old")));
    say("link out", fs::hard_link(at("home/data/b/x"), at("home/x")));
    let cut = |path: &str| File::options().write(true).open(at(path))?.set_len(0);
    say("cut in data", cut("home/data/b/x"));
    say("remove in data", fs::remove_file(at("home/data/b/x")));
    say("remove", fs::remove_file(at("home/old")));
    say("remove socket", fs::remove_file(at("run/other")));
}

fn tell(name: &str, found: &str) {
    println!("\nfound {name}: {found}");
}

fn said(error: &io::Error) -> String {
    error
        .raw_os_error()
        .map_or_else(|| error.to_string(), errno)
}

fn errno(number: i32) -> String {
    match number {
        0 => "ok".to_owned(),
        libc::EPERM => "EPERM".to_owned(),
        libc::EACCES => "EACCES".to_owned(),
        libc::ENOSYS => "ENOSYS".to_owned(),
        libc::EXDEV => "EXDEV".to_owned(),
        other => other.to_string(),
    }
}

/// Runs a confined process in a place of its own.
fn confined(role: &str) -> (FoundOut, ExitStatus) {
    let place = tempfile::tempdir().unwrap();
    let at = |path: &str| place.path().join(path);
    for folder in ["run", "home/data/b", "elsewhere"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    // Somebody's library is on another disk.
    symlink(at("elsewhere"), at("home/linked")).unwrap();
    symlink(at("elsewhere"), at("home/data/library")).unwrap();
    for file in ["home/old", "home/data/b/x"] {
        fs::write(at(file), "old").unwrap();
    }
    fs::write(at("home/script"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(at("home/script"), Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::tests::be_confined", "--nocapture"])
        .env("IMGD_TEST_CONFINED", role)
        .env("IMGD_TEST_PLACE", place.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = said.lines().filter_map(|line| line.strip_prefix("found "));
    let found = found.filter_map(|line| line.split_once(": "));
    let found: FoundOut = found
        .map(|(name, found)| (name.to_owned(), found.to_owned()))
        .collect();
    assert!(found.contains_key("landlock"), "{role}: {output:?}");
    (found, output.status)
}

/// What each role found; `None` where this kernel has no such layer, which is told.
fn found(role: &str, layer: &str) -> Option<FoundOut> {
    let (found, status) = confined(role);
    assert!(status.success(), "{role}: {status} {found:?}");
    if found[layer] != "no" {
        // Not here: a kernel without it. A filter that was put on and does not hold says something else.
        assert!(found[layer].contains("kernel"), "{role}: {}", found[layer]);
        println!("skipped: {}", found[layer]);
        return None;
    }
    Some(found)
}

#[track_caller]
fn assert_found(found: &FoundOut, expected: &[(&str, &str)]) {
    for (name, expected) in expected {
        assert_eq!(found[*name], *expected, "{name}");
    }
}

const ROLES: [&str; 3] = ["supervisor", "spawner", "worker"];

#[test]
fn forbidden_calls_are_refused_to_every_process() {
    for role in ROLES {
        let Some(found) = found(role, "unfiltered") else {
            return;
        };
        let mut had_been_possible = 0;
        for (name, _) in FORBIDDEN {
            assert_eq!(found[*name], "EPERM", "{role}: {name}");
            had_been_possible += usize::from(found[&format!("{name} before")] != "EPERM");
        }
        // Root may call nearly all of them, others many.
        assert!(had_been_possible > 12, "{role}: {found:?}");
        assert_found(&found, &[("clone3", "ENOSYS"), ("disguised", "EPERM")]);
        for family in [
            libc::AF_INET,
            libc::AF_INET6,
            libc::AF_NETLINK,
            libc::AF_VSOCK,
        ] {
            let family = format!("family {family}");
            assert_eq!(found[&family], "EPERM", "{role}: {family}");
            assert_eq!(
                found[&format!("pair {family}")],
                "EPERM",
                "{role}: {family}"
            );
        }
        assert_found(&found, &[("tcp", "EPERM"), ("thread", "ok")]);
        for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNET] {
            assert_eq!(
                found[&format!("clone {flag:x}")],
                "EPERM",
                "{role}: {flag:x}"
            );
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn other_tables_of_calls_lead_around_no_filter() {
    for role in ROLES {
        if let Some(found) = found(role, "unfiltered") {
            assert_eq!(found["x32"], "EPERM", "{role}");
        }
    }
    let (found, status) = confined("32 bits");
    if found["unfiltered"] == "no" {
        // By the filter, or because the kernel has no such entry.
        let signals = [libc::SIGSYS, libc::SIGSEGV].map(Some);
        assert!(signals.contains(&status.signal()), "{status}");
        assert_eq!(found.get("32 bits"), None);
    }
}

#[test]
fn only_the_spawner_starts_programs_and_only_this_one() {
    for role in ["supervisor", "worker"] {
        let Some(found) = found(role, "unfiltered") else {
            return;
        };
        for (name, _) in STARTING {
            assert_eq!(found[*name], "EPERM", "{role}: {name}");
            assert_ne!(found[&format!("{name} before")], "EPERM", "{role}: {name}");
        }
        assert_found(&found, &[("run itself", "EPERM"), ("run true", "EPERM")]);
    }
    if let Some(found) = found("spawner", "unnarrowed") {
        assert_found(
            &found,
            &[
                ("run itself", "ok"),
                ("run true", "EACCES"),
                ("run a script", "EACCES"),
            ],
        );
    }
}

#[test]
fn only_the_supervisor_reaches_other_programs() {
    for (role, connect, pair) in [
        ("supervisor", "ok", "ok"),
        ("spawner", "EPERM", "ok"),
        ("worker", "EPERM", "EPERM"),
    ] {
        let Some(found) = found(role, "unfiltered") else {
            return;
        };
        assert_eq!(
            (&*found["connect"], &*found["unix pair"]),
            (connect, pair),
            "{role}"
        );
    }
}

#[test]
fn the_supervisor_writes_its_data_and_nothing_else() {
    let Some(found) = found("supervisor", "unnarrowed") else {
        return;
    };
    assert_found(
        &found,
        &[
            ("read", "ok"),
            ("list", "ok"),
            ("write null", "ok"),
            ("write home/data/new", "ok"),
            // The same folder as the library's.
            ("write home/linked/new", "ok"),
            ("folder in data", "ok"),
            ("move in data", "ok"),
            ("cut in data", "ok"),
            ("remove in data", "ok"),
            ("remove socket", "ok"),
            ("write home/new", "EACCES"),
            ("write home/old", "EACCES"),
            ("write run/new", "EACCES"),
            ("write oom", "EACCES"),
            ("folder", "EACCES"),
            ("link in data", "EACCES"),
            ("remove", "EACCES"),
        ],
    );
    for out in ["move out", "move in", "link out"] {
        assert!(
            ["EACCES", "EXDEV"].contains(&&*found[out]),
            "{out}: {}",
            found[out]
        );
    }
}

#[test]
fn a_worker_writes_devices_and_nothing_else() {
    let Some(found) = found("worker", "unnarrowed") else {
        return;
    };
    assert_found(&found, &[("read", "ok"), ("write null", "ok")]);
    for (name, found) in &found {
        let changes = ["write ", "folder", "move ", "link ", "cut ", "remove"];
        // What was to be moved could not be written.
        let is_none = ["write null", "move in data"].contains(&&**name);
        if changes.iter().any(|change| name.starts_with(change)) && !is_none {
            assert!(["EACCES", "EXDEV"].contains(&&**found), "{name}: {found}");
        }
    }
}

/// What Landlock keeps away a second time, or alone.
#[test]
fn no_process_signals_others_and_a_socket_from_before_connects_nowhere() {
    for role in ROLES {
        let Some(found) = found(role, "unnarrowed") else {
            return;
        };
        let abi: u32 = found["landlock"].parse().unwrap();
        assert_eq!(found["signal own"], "ok", "{role}");
        if abi >= 6 {
            assert_eq!(found["signal other"], "EPERM", "{role}");
        }
        if abi >= 4 && role == "supervisor" {
            assert_eq!(found["connect by TCP"], "EACCES");
        }
    }
}

/// A test program has threads: nothing would hold for them, and it says so.
#[test]
fn a_process_that_is_not_confined_says_so() {
    let report = Confined::not().look();
    assert!(report.unfiltered.is_some() && report.unnarrowed.is_some());
    // What a process believes does not count.
    let believing = Confined {
        role: Role::Worker,
        report: super::Report::default(),
    };
    let report = believing.look();
    assert!(
        report.unfiltered.is_some() && report.unnarrowed.is_some(),
        "{report:?}"
    );
}
