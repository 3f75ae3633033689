//! The program as a process: its socket, its signals, its command line.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const SOON: Duration = Duration::from_secs(20);

/// A command that sees nothing of the user's own settings.
fn imgd(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgd"));
    command
        .env_clear()
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    fn start(home: &Path) -> Self {
        Self::started(home, imgd(home).spawn().unwrap())
    }

    fn started(home: &Path, child: Child) -> Self {
        let mut daemon = Self {
            child,
            socket: home.join("imgd/imgd.sock"),
        };
        let start = Instant::now();
        while UnixStream::connect(&daemon.socket).is_err() {
            assert!(
                start.elapsed() < SOON,
                "no socket; {:?}",
                daemon.child.try_wait()
            );
            sleep(Duration::from_millis(2));
        }
        daemon
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < SOON, "the daemon does not end");
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_socket_is_private_under_every_umask() {
    for mask in ["000", "022", "077"] {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(format!("umask {mask}; exec \"$0\""))
            .arg(env!("CARGO_BIN_EXE_imgd"));
        command
            .env_clear()
            .env("XDG_RUNTIME_DIR", home.path())
            .env("HOME", home.path());
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let daemon = Daemon::started(home.path(), child);
        assert_eq!(mode(&daemon.socket), 0o600);
        assert_eq!(mode(daemon.socket.parent().unwrap()), 0o700);
    }
}

#[test]
fn a_directory_that_is_open_to_others_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("imgd");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let output = imgd(home.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output).contains("0755"), "{}", text(&output));
}

#[test]
fn of_many_daemons_one_serves_and_the_others_say_who() {
    let home = tempfile::tempdir().unwrap();
    let mut children: Vec<_> = (0..8).map(|_| imgd(home.path()).spawn().unwrap()).collect();
    let start = Instant::now();
    while children.len() > 1 {
        assert!(start.elapsed() < SOON, "{} daemons run", children.len());
        let ended = children
            .iter_mut()
            .position(|child| child.try_wait().unwrap().is_some());
        let Some(index) = ended else {
            sleep(Duration::from_millis(5));
            continue;
        };
        let output = children.swap_remove(index).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(75), "{}", text(&output));
        assert!(text(&output).contains("serves"), "{}", text(&output));
    }
    let winner = Daemon::started(home.path(), children.pop().unwrap());
    UnixStream::connect(&winner.socket).unwrap();
}

#[test]
fn the_socket_of_a_killed_daemon_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let mut first = Daemon::start(home.path());
    first.signal(Signal::KILL);
    assert_eq!(first.ended().signal(), Some(9));
    assert!(UnixStream::connect(&first.socket).is_err() && first.socket.exists());
    let second = Daemon::start(home.path());
    UnixStream::connect(&second.socket).unwrap();
}

#[test]
fn sigterm_and_sigint_end_it_whatever_silent_clients_do() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::start(home.path());
        let _silent: Vec<_> = (0..10)
            .map(|_| UnixStream::connect(&daemon.socket).unwrap())
            .collect();
        let mut speaking = UnixStream::connect(&daemon.socket).unwrap();
        speaking
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .unwrap();
        let mut byte = [0];
        speaking.read_exact(&mut byte).unwrap();
        daemon.signal(signal);
        sleep(Duration::from_millis(50));
        daemon.signal(signal);
        let start = Instant::now();
        assert_eq!(daemon.ended().code(), Some(0));
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "{:?}",
            start.elapsed()
        );
        assert!(!daemon.socket.exists());
    }
}

#[test]
fn abused_connections_give_their_descriptors_back() {
    let home = tempfile::tempdir().unwrap();
    let mut command = imgd(home.path());
    command.args(["--first-byte-timeout", "500ms"]);
    let daemon = Daemon::started(home.path(), command.spawn().unwrap());
    let count = || fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).map(Iterator::count);
    sleep(Duration::from_millis(700));
    let Ok(base) = count() else {
        eprintln!("skipped: this user may not count the daemon's descriptors");
        return;
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut held = Vec::new();
    for index in 0..50 {
        let mut stream = UnixStream::connect(&daemon.socket).unwrap();
        match index % 5 {
            // Says nothing.
            0 => {}
            // Begins and goes silent.
            1 => drop(stream.write_all(&preface[..10])),
            // Speaks something else.
            2 => drop(stream.write_all(b"GET / HTTP/1.1\r\n\r\n")),
            // Leaves in the middle.
            3 => {
                drop(stream.write_all(preface));
                continue;
            }
            // Breaks the protocol.
            _ => drop(stream.write_all(&[preface.as_slice(), &[0xff; 64]].concat())),
        }
        held.push(stream);
    }
    let start = Instant::now();
    while count().unwrap() > base {
        assert!(
            start.elapsed() < SOON,
            "{} descriptors, {base} before",
            count().unwrap()
        );
        sleep(Duration::from_millis(20));
    }
    UnixStream::connect(&daemon.socket).unwrap();
}

#[test]
fn it_accepts_soon_after_its_start() {
    let home = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let daemon = Daemon::start(home.path());
    // 50 ms on an idle machine; tests share theirs.
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    drop(daemon);
}

#[test]
fn every_file_of_the_starter_model_is_inside_the_program() {
    let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter");
    let is_text = |path: &Path| path.extension().is_none_or(|extension| extension == "md");
    let mut directories = vec![starter.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if !is_text(&path) {
                let name = path.strip_prefix(&starter).unwrap().display();
                let line = format!("\n    \"{name}\",\n");
                assert!(include_str!("../src/main.rs").contains(&line), "{name}");
            }
        }
    }
}

#[test]
fn what_it_says_at_its_start_is_one_line() {
    let home = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(home.path());
    let mut line = String::new();
    BufReader::new(daemon.child.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, format!("imgd: serving {}\n", daemon.socket.display()));
}

#[test]
fn the_command_line_explains_itself() {
    let home = tempfile::tempdir().unwrap();
    let printed = imgd(home.path()).arg("--print-config").output().unwrap();
    assert_eq!(printed.stdout, include_bytes!("../config.toml"));
    let version = imgd(home.path()).arg("--version").output().unwrap();
    assert_eq!(
        version.stdout,
        format!("imgd {}\n", env!("CARGO_PKG_VERSION")).into_bytes()
    );
    assert_eq!(
        imgd(home.path())
            .arg("--nonsense")
            .output()
            .unwrap()
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn a_wrong_setting_is_named_with_its_place() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("c.toml");
    fs::write(&file, "keep_alve = \"5m\"\n").unwrap();
    let output = imgd(home.path())
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let expected = format!(
        "error: {}:1: there is no setting `keep_alve`; did you mean `keep_alive`?\n",
        file.display()
    );
    assert!(text(&output).starts_with(&expected), "{}", text(&output));
    let output = imgd(home.path()).env("IMGD_THREADS", "0").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output).contains("IMGD_THREADS"), "{}", text(&output));
}
