//! `imgctl` as a process of its own, which knows nothing but a scripted daemon's socket and folder.

use std::process::{Child, Command, Stdio};

use super::support::FakeDaemon;

/// How it ended, and what it said.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program with the words of `line` as its arguments, in the daemon's folder.
pub(crate) fn imgctl(daemon: &FakeDaemon, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgctl"));
    command
        .args(line.split(' '))
        .current_dir(daemon.folder.path())
        .env_clear()
        .env("IMGD_SOCKET", &daemon.socket)
        .env("IMGD_BIN", "/nonexistent/imgd")
        .env("HOME", daemon.folder.path())
        .env("TMPDIR", daemon.folder.path())
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits for its end.
pub(crate) fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().expect("no signal ended it"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs it to its end.
pub(crate) fn run(daemon: &FakeDaemon, line: &str) -> Ran {
    finish(imgctl(daemon, line).spawn().unwrap())
}
