//! One run of a program, to its end.

use std::{
    io::{Read, Write as _},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// No run of a test takes longer, whatever the machine; then something hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Run {
    /// The exit status; 128 + n after signal n.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Run {
    /// Runs the command with an empty standard input.
    ///
    /// # Panics
    /// When it cannot be started, or has not ended after three minutes (it is ended then).
    pub fn of(command: &mut Command) -> Self {
        Self::with_input(command, b"")
    }

    /// Runs the command with `input` as its standard input.
    ///
    /// # Panics
    /// When it cannot be started, or has not ended after three minutes (it is ended then).
    pub fn with_input(command: &mut Command, input: &[u8]) -> Self {
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stdin = child.stdin.take().expect("piped above");
        // a program that does not read its input closes it: no failure
        drop(stdin.write_all(input));
        drop(stdin);
        let stdout = collect(child.stdout.take().expect("piped above"));
        let stderr = collect(child.stderr.take().expect("piped above"));
        let status = loop {
            if let Some(status) = child.try_wait().expect("the child is ours") {
                break status;
            }
            if start.elapsed() > LIMIT {
                child.kill().expect("the child is ours");
                panic!("{command:?} has not ended after {LIMIT:?}");
            }
            thread::sleep(Duration::from_millis(2));
        };
        let took = start.elapsed();
        Self {
            code: code(status),
            stdout: text(stdout),
            stderr: text(stderr),
            took,
        }
    }

    /// The run, if it succeeded.
    ///
    /// # Panics
    /// When it did not.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON, one value a line.
    ///
    /// # Panics
    /// When a line is not JSON.
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

fn text(pipe: thread::JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&pipe.join().expect("reading does not panic")).into_owned()
}

fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
