//! What the system offers only through `unsafe`: all of the daemon's unsafe code is here.
#![expect(
    unsafe_code,
    reason = "fork, signal dispositions and descriptors have no safe form"
)]

use std::{
    fs, io,
    os::{
        fd::{BorrowedFd, FromRawFd as _, RawFd},
        unix::net::UnixListener,
    },
};

use rustix::{
    net::AddressFamily,
    process::{Pid, Resource, Rlimit, getrlimit, setrlimit},
};

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Forked {
    /// The process that forked, and its child's id.
    Parent(Pid),
    /// The child.
    Child,
}

/// Forks. Refused where the process already has several threads, which the child would lose with their locks held.
pub(crate) fn fork() -> io::Result<Forked> {
    // A test has the harness's thread beside it, which only waits.
    if !cfg!(test) && threads().is_some_and(|threads| threads > 1) {
        return Err(io::Error::other("a process with threads must not fork"));
    }
    // SAFETY: the process has one thread, so that no lock of the allocator or of std is held by a thread that the
    // child lacks, and the child may run any code.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => match Pid::from_raw(pid) {
            Some(pid) => Ok(Forked::Parent(pid)),
            None => Err(io::Error::other("fork gave no process id")),
        },
    }
}

/// Number of threads of this process, where the system tells.
pub(crate) fn threads() -> Option<usize> {
    if cfg!(target_os = "linux") {
        fs::read_dir("/proc/self/task").ok().map(Iterator::count)
    } else {
        None
    }
}

/// Time of the system's monotonic clock, whose moments other programs speak of too.
#[cfg(target_os = "linux")]
pub(crate) fn monotonic() -> std::time::Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one timespec, which is there. This clock exists everywhere, so that it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
    std::time::Duration::new(seconds, nanos)
}

/// Ignores the signals by which a terminal or a person ends programs, here and in all programs executed from here:
/// the supervisor decides when its processes end.
pub(crate) fn ignore_termination_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: SIG_IGN installs no handler, so that no code can run at a bad moment.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Closes every descriptor but the three standard ones and `keep`. For a process that owns no other object with a
/// descriptor: a fresh fork that goes on to do nothing else.
pub(crate) fn close_descriptors_except(keep: RawFd) -> io::Result<()> {
    let directory = if cfg!(target_os = "linux") {
        "/proc/self/fd"
    } else {
        "/dev/fd"
    };
    let open: Vec<RawFd> = fs::read_dir(directory)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&descriptor| descriptor > 2 && descriptor != keep)
        .collect();
    for descriptor in open {
        // SAFETY: the caller owns no object with this descriptor; one that is closed already (the directory just
        // read) gives an error and nothing else, since this process has one thread.
        unsafe { libc::close(descriptor) };
    }
    Ok(())
}

/// Takes over a listening Unix socket that a service manager passed. `None` for a descriptor that is none.
pub(crate) fn adopt_listener(descriptor: RawFd) -> Option<UnixListener> {
    // SAFETY: the descriptor is only borrowed to be asked what it is; one that is not open gives an error.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let is_unix = rustix::net::getsockname(borrowed)
        .is_ok_and(|address| address.address_family() == AddressFamily::UNIX);
    #[cfg(target_os = "linux")]
    let listens = rustix::net::sockopt::socket_acceptconn(borrowed).unwrap_or(false);
    // macOS has no way to ask; launchd passes what its plist says, and that listens.
    #[cfg(not(target_os = "linux"))]
    let listens = true;
    if !is_unix || !listens {
        return None;
    }
    // SAFETY: a service manager passes a descriptor once and keeps no other owner in this process; it is asked for
    // once, when the daemon starts.
    Some(unsafe { UnixListener::from_raw_fd(descriptor) })
}

/// Descriptors of the sockets of that name in the launchd agent. Not run by the project's tests.
#[cfg(target_os = "macos")]
pub(crate) fn launchd_sockets(name: &std::ffi::CStr) -> Vec<RawFd> {
    unsafe extern "C" {
        fn launch_activate_socket(
            name: *const libc::c_char,
            descriptors: *mut *mut libc::c_int,
            count: *mut libc::size_t,
        ) -> libc::c_int;
    }
    let (mut descriptors, mut count) = (std::ptr::null_mut(), 0);
    // SAFETY: the name ends with NUL, and both results are writable.
    let status =
        unsafe { launch_activate_socket(name.as_ptr(), &raw mut descriptors, &raw mut count) };
    if status != 0 || descriptors.is_null() {
        return Vec::new();
    }
    // SAFETY: launchd gave an array of `count` descriptors from malloc, which is copied and then freed once.
    unsafe {
        let copied = std::slice::from_raw_parts(descriptors, count).to_vec();
        libc::free(descriptors.cast());
        copied
    }
}

/// Gives memory that was freed back to the system. The allocator keeps what lies between blocks that are in use, which
/// after a model's end is most of it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_memory_back() {
    // SAFETY: touches nothing but what the allocator owns and nobody uses, under the allocator's own locks; any thread
    // may call it at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give memory back by themselves, or not at all.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_memory_back() {}

/// Reads a page that nothing may read: the process ends by SIGSEGV.
#[cfg(feature = "faults")]
pub(crate) fn read_where_nothing_is() {
    // SAFETY: a new private mapping at an address of the kernel's choice touches no memory that exists.
    let page = unsafe {
        let (flags, none) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_NONE);
        libc::mmap(std::ptr::null_mut(), 4096, none, flags, -1, 0)
    };
    if page != libc::MAP_FAILED {
        // SAFETY: never returns: the page is mapped and may not be read, so that the processor stops the process here.
        unsafe { page.cast::<u8>().read_volatile() };
    }
}

/// Leaves no core file, which would hold prompts, when this process crashes. What the system refuses shows in
/// [`core_dumps_are_off`].
pub(crate) fn forbid_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if setrlimit(Resource::Core, none).is_err() {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        // Looked up once and kept: before Linux 6.4 it stands in a file that a process like this may not open any more,
        // and whoever asks for the first time then meets a panic.
        rustix::param::page_size();
        let not_dumpable = rustix::process::DumpableBehavior::NotDumpable;
        if let Err(error) = rustix::process::set_dumpable_behavior(not_dumpable) {
            tracing::debug!("core files are not forbidden: {error}");
        }
    }
}

/// Whether this process leaves no core file.
pub(crate) fn core_dumps_are_off() -> bool {
    let is_limited = getrlimit(Resource::Core).current == Some(0);
    #[cfg(target_os = "linux")]
    {
        let behavior = rustix::process::dumpable_behavior();
        is_limited
            && behavior
                .is_ok_and(|behavior| behavior == rustix::process::DumpableBehavior::NotDumpable)
    }
    #[cfg(not(target_os = "linux"))]
    is_limited
}

/// What the system says to executing a program without a name, which no program has.
#[cfg(target_os = "linux")]
pub(crate) fn execute_nothing() -> io::Error {
    let (name, end) = (c"", std::ptr::null());
    let (arguments, environment) = ([name.as_ptr(), end], [end]);
    // SAFETY: the name and both lists end as the call expects and outlive it. It returns only when it has failed, and
    // it always fails: an empty path is no file's.
    unsafe { libc::execve(name.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Memory of the machine in bytes; 0 where the system does not say.
#[cfg(target_os = "macos")]
pub(crate) fn total_memory_bytes() -> u64 {
    sysctl(c"hw.memsize").unwrap_or(0)
}

/// Physical cores; the fast ones alone where there are two kinds.
#[cfg(target_os = "macos")]
pub(crate) fn physical_cores() -> Option<usize> {
    let cores = sysctl(c"hw.perflevel0.physicalcpu").or_else(|| sysctl(c"hw.physicalcpu"))?;
    usize::try_from(cores).ok()
}

/// A number of the kernel's by its name.
#[cfg(target_os = "macos")]
fn sysctl(name: &std::ffi::CStr) -> Option<u64> {
    let mut bytes = [0u8; 8];
    let mut length = bytes.len();
    // SAFETY: the name ends with NUL, `bytes` is writable for `length` bytes, and nothing is set.
    let status = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            bytes.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    // Four or eight bytes, little-endian on every Mac of today.
    (status == 0 && (length == 4 || length == 8)).then(|| u64::from_le_bytes(bytes))
}

/// Physical cores that this process may run on: one for each set of hyper-threads.
#[cfg(not(target_os = "macos"))]
pub(crate) fn physical_cores() -> Option<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).ok()?;
    let cores: std::collections::BTreeSet<String> = (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&cpu| allowed.is_set(cpu))
        .filter_map(|cpu| {
            let siblings =
                format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            fs::read_to_string(siblings).ok()
        })
        .collect();
    (!cores.is_empty()).then_some(cores.len())
}

/// Makes a system call by its number: its error, 0 for none. For tests of what is refused, with arguments that no kernel
/// takes.
#[cfg(all(test, target_os = "linux"))]
pub(crate) fn call(number: i64, argument: i64) -> i32 {
    // SAFETY: every argument is -1 or names what the caller owns: an address that nothing has, a descriptor that is not
    // open, a length that is refused.
    let result = unsafe { libc::syscall(number, argument, -1_i64, -1_i64, -1_i64, -1_i64, -1_i64) };
    if result == -1 {
        io::Error::last_os_error().raw_os_error().unwrap_or(0)
    } else {
        0
    }
}

/// Asks for the process's id as a 32-bit program does.
#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn call_by_32_bits() -> i32 {
    let id;
    // SAFETY: call 20 of that table, getpid, takes no argument and touches no memory; the registers it may change are
    // named.
    unsafe {
        std::arch::asm!(
            "int 0x80", inlateout("eax") 20 => id,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    id
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::hint::black_box;

    use crate::machine::resident_bytes;

    /// Blocks that stay between those that are freed keep the allocator from giving anything back by itself.
    #[test]
    fn freed_memory_between_blocks_in_use_is_given_back() {
        let given_back = || {
            let block = || black_box(vec![1u8; 16 << 10]);
            let mut blocks: Vec<_> = (0..16_384).map(|_| block()).collect();
            let mut index = 0;
            blocks.retain(|_| {
                index += 1;
                index % 64 == 0
            });
            let before = resident_bytes(std::process::id());
            super::give_memory_back();
            let after = resident_bytes(std::process::id());
            drop(black_box(blocks));
            before.saturating_sub(after)
        };
        // Tests that run beside this one take memory meanwhile, or give this one's back before it does.
        let most = (0..5).map(|_| given_back()).max();
        assert!(most > Some(128 << 20), "{most:?}");
    }
}
