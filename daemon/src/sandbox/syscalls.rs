//! The filter of system calls: what no process of the daemon has a use for is refused with EPERM.
//!
//! A list of what is refused, not of what is allowed: libraries and GPU drivers take what they need, which differs between
//! versions, and a call that a list forgot would break drawing. Why these: docs/decisions/0025-sandbox.md.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads, sock_filter,
};

use super::Role;

/// Refused to all three: ways around the other rules, ways into other processes, and the system's own affairs.
const ALWAYS: &[i64] = &[
    // Sends and opens without any of the calls that are filtered.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Into other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Into the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_syslog,
    libc::SYS_lookup_dcookie,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    // Other views of files and of the system, in which rules would mean something else.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    OPEN_TREE_ATTR,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_unshare,
    libc::SYS_setns,
    // The user's keys.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // The machine, where the daemon runs as root.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
];

/// Of Linux 6.15, the same on all processors.
const OPEN_TREE_ATTR: i64 = 467;

/// Starts programs or processes.
const PROGRAMS: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// Makes connections: the service manager's socket is the supervisor's, and it is open already.
const SERVING: &[i64] = &[libc::SYS_bind, libc::SYS_listen];

/// Reaches other programs: D-Bus, X11 and service managers listen on Unix sockets.
const REACHING: &[i64] = &[libc::SYS_connect, libc::SYS_accept, libc::SYS_accept4];

/// Any socket.
const SOCKETS: &[i64] = &[libc::SYS_socket, libc::SYS_socketpair];

/// New namespaces, which `clone` makes as `unshare` does.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Types into the terminal that the daemon was started from: TIOCSTI and TIOCLINUX.
const TERMINAL: [u64; 2] = [0x5412, 0x541c];

/// First number of x86-64's second table of calls, x32: the same calls by other numbers.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// Filters the system calls of this process and of those that it starts. Says why where it cannot.
pub(super) fn filter(role: &Role) -> Result<(), String> {
    let Some(arch) = architecture() else {
        return Err("this processor's calls are not known".to_owned());
    };
    let refuse = |rules, errno: i32| -> Result<(), String> {
        let program = program(rules, errno.unsigned_abs(), arch)
            .map_err(|error| format!("the filter is not sound: {error}"))?;
        apply_filter_all_threads(&program).map_err(|error| why(&error))
    };
    // Its flags lie in memory, where no filter looks. Where it is missing, C libraries use `clone`. Of two filters that
    // refuse, the later one's error is given.
    refuse([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS)?;
    refuse(rules(role), libc::EPERM)
}

fn architecture() -> Option<TargetArch> {
    // An emulated 32-bit process, whose calls would be others, cannot be this program.
    cfg!(target_pointer_width = "64")
        .then(|| std::env::consts::ARCH.try_into().ok())
        .flatten()
}

/// What is refused: calls by number, some only with certain arguments.
fn rules(role: &Role) -> BTreeMap<i64, Vec<SeccompRule>> {
    let mut whole = ALWAYS.to_vec();
    match role {
        Role::Supervisor(_) => whole.extend([PROGRAMS, SERVING].concat()),
        Role::Spawner => whole.extend([SERVING, REACHING].concat()),
        Role::Worker => whole.extend([PROGRAMS, SERVING, REACHING, SOCKETS].concat()),
    }
    let mut rules = BTreeMap::new();
    let not_unix = when(0, SeccompCmpOp::Ne, libc::AF_UNIX.unsigned_abs().into());
    for call in SOCKETS {
        rules.insert(*call, vec![not_unix.clone()]);
    }
    let mut clone: Vec<_> = NAMESPACES
        .iter()
        .map(|flag| u64::from(flag.unsigned_abs()))
        .map(|flag| when(0, SeccompCmpOp::MaskedEq(flag), flag))
        .collect();
    if !role.may_execute() {
        // A thread, and no process.
        let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
        clone.push(when(0, SeccompCmpOp::MaskedEq(thread), 0));
    }
    rules.insert(libc::SYS_clone, clone);
    let terminal = TERMINAL.map(|request| when(1, SeccompCmpOp::Eq, request));
    rules.insert(libc::SYS_ioctl, terminal.into());
    // Whole calls last: no condition stays beside them.
    rules.extend(whole.into_iter().map(|call| (call, Vec::new())));
    rules
}

/// When the lower half of an argument is so: the kernel takes an `int` of all that are looked at here.
fn when(argument: u8, is: SeccompCmpOp, value: u64) -> SeccompRule {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .expect("calls have six arguments, and one condition is enough")
}

/// Calls of another table than this program's (32-bit entry points) end the process; those of x32 are refused like the rest.
fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: u32,
    arch: TargetArch,
) -> Result<BpfProgram, Error> {
    let refusal = SeccompAction::Errno(errno);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal.clone(), arch)?;
    let checked: BpfProgram = filter.try_into()?;
    #[cfg(target_arch = "x86_64")]
    let checked = [x32_is_refused(refusal).to_vec(), checked].concat();
    Ok(checked)
}

/// Instructions before others, which see the same call if this lets it pass.
#[cfg(target_arch = "x86_64")]
fn x32_is_refused(refusal: SeccompAction) -> [sock_filter; 3] {
    let instruction = |code: u32, k, jf| sock_filter {
        // Codes have 16 bits; libc has them as 32.
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt: 0,
        jf,
        k,
    };
    [
        // The call's number is the first field.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, X32, 1),
        instruction(libc::BPF_RET | libc::BPF_K, refusal.into(), 0),
    ]
}

fn why(error: &Error) -> String {
    match error {
        Error::Seccomp(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            "this kernel has no filters of system calls (CONFIG_SECCOMP_FILTER)".to_owned()
        }
        Error::Seccomp(error) | Error::Prctl(error) => {
            format!("the system or a sandbox around the daemon does not allow a filter: {error}")
        }
        error => error.to_string(),
    }
}
