//! Refusals: what is asked of `imgctl generate`, how it must end, and that the daemon still answers.

use std::fs;

use crate::Daemon;

/// The prompt of every refused request. Must appear in no message.
pub const CANARY: &str = "heliotropecanary";

/// The work failed.
pub const FAILED: i32 = 1;
/// The command line or the request is wrong.
pub const USAGE: i32 = 2;
/// There is no daemon.
pub const UNAVAILABLE: i32 = 69;
/// The picture cannot be written.
pub const CANNOT_CREATE: i32 = 73;
/// Busy or out of time.
pub const BUSY: i32 = 75;
/// The configuration is wrong.
pub const CONFIG: i32 = 78;

/// Asks for [`CANARY`] with `arguments`: it must end with one of `codes` and a message with all `words`, of any case.
///
/// # Errors
/// Says what was otherwise.
pub fn check(
    daemon: &Daemon,
    arguments: &[&str],
    codes: &[i32],
    words: &[&str],
) -> Result<(), String> {
    let mut all = vec!["generate", CANARY];
    all.extend(arguments);
    // one step is enough where something is drawn; given twice it would be another mistake than the one meant
    if !arguments.contains(&"--steps") {
        all.extend(["--steps", "1"]);
    }
    let run = daemon.run(all);
    let explain = |what: &str| {
        Err(format!(
            "{arguments:?}: {what}\n  code {}: {}",
            run.code,
            run.stderr.trim_end()
        ))
    };
    if !codes.contains(&run.code) {
        return explain(&format!("expected exit code {codes:?}"));
    }
    let message = run.stderr.to_lowercase();
    for word in words {
        if !message.contains(&word.to_lowercase()) {
            return explain(&format!("the message lacks {word:?}"));
        }
    }
    if run.stderr.contains(CANARY) {
        return explain("the message has the prompt");
    }
    if !run.stdout.is_empty() {
        return explain("something on standard output");
    }
    Ok(())
}

/// All failures at once: a table is mended faster that way.
///
/// # Panics
/// When there is one.
pub fn report(results: impl IntoIterator<Item = Result<(), String>>) {
    let failures: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(
        failures.is_empty(),
        "{} wrong:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// The daemon says how it is and draws.
///
/// # Panics
/// When it does not.
pub fn still_answers(daemon: &Daemon) {
    daemon.run(["status"]).ok();
    let arguments = [
        "generate",
        "a fox",
        "--steps",
        "1",
        "--seed",
        "1",
        "-o",
        "after.png",
    ];
    daemon.run(arguments).ok();
    fs::remove_file(daemon.work().join("after.png")).expect("it was just written");
}
