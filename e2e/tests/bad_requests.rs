//! Bad requests: each a clear error that names the field, the right exit code, and a daemon that still answers.

use std::{fs, time::Duration};

use imgd_e2e::{
    Daemon, processes,
    refusal::{BUSY, CANARY, CANNOT_CREATE, USAGE, check, report, still_answers},
};

/// What is asked of `imgctl generate CANARY`, how it must end, and words that its message must have.
type Case = (&'static [&'static str], i32, &'static [&'static str]);
const REQUESTS: &[Case] = &[
    (
        &["--model", "startr"],
        USAGE,
        &["startr", "did you mean", "starter"],
    ),
    (&["--model", "nonesuch"], USAGE, &["nonesuch", "starter"]),
    (
        &["--model", "/nonexistent/model"],
        USAGE,
        &["/nonexistent/model"],
    ),
    (&["--model", "../etc"], USAGE, &["../etc"]),
    (
        &["--sampler", "dpm++2m"],
        USAGE,
        &["dpm++2m", "did you mean", "dpmpp_2m"],
    ),
    (
        &["--sampler", "eular"],
        USAGE,
        &["eular", "did you mean", "euler"],
    ),
    (&["--sampler", "Ω"], USAGE, &["Ω", "sampler"]),
    (
        &["--schedule", "karas"],
        USAGE,
        &["karas", "did you mean", "karras"],
    ),
    (
        &["--sampler", "ddim", "--schedule", "karras"],
        USAGE,
        &["ddim", "karras"],
    ),
    (
        &["--sampler", "lcm", "--schedule", "beta"],
        USAGE,
        &["lcm", "beta"],
    ),
    (&["--steps", "0"], USAGE, &["steps", "1 to 1,000"]),
    (&["--steps", "-3"], USAGE, &["steps", "-3"]),
    (&["--steps", "1001"], USAGE, &["steps", "1001"]),
    (
        &["--steps", "99999999999999999999"],
        USAGE,
        &["steps", "99999999999999999999"],
    ),
    (&["--steps", "3.5"], USAGE, &["steps", "3.5"]),
    (&["--cfg", "NaN"], USAGE, &["guidance-scale", "NaN"]),
    (&["--cfg", "inf"], USAGE, &["guidance-scale", "inf"]),
    (&["--cfg", "-1"], USAGE, &["guidance-scale", "-1"]),
    (&["--cfg", "100.5"], USAGE, &["guidance-scale", "100.5"]),
    (&["--cfg", "seven"], USAGE, &["seven"]),
    (&["--width", "0"], USAGE, &["width"]),
    (
        &["--width", "250"],
        USAGE,
        &["width", "250", "multiple of 8", "248 or 256"],
    ),
    (&["--height", "-8"], USAGE, &["height", "-8"]),
    (&["--height", "5000"], USAGE, &["height", "5000"]),
    (&["--width", "4294967296"], USAGE, &["width", "4294967296"]),
    (&["--size", "256"], USAGE, &["size", "256"]),
    (&["--size", "256xx256"], USAGE, &["size", "256xx256"]),
    (
        &["--size", "4096x4096", "--steps", "1000", "-n", "10000"],
        USAGE,
        &["images"],
    ),
    (&["-n", "0"], USAGE, &["1 to 10,000"]),
    (&["-n", "10001"], USAGE, &["1 to 10,000"]),
    (&["--seed", "-1"], USAGE, &["seed", "-1"]),
    (
        &["--seed", "18446744073709551616"],
        USAGE,
        &["seed", "18446744073709551616"],
    ),
    (&["--clip-skip", "0"], USAGE, &["clip", "1 to 12"]),
    (&["--clip-skip", "12"], USAGE, &["clip"]),
    (&["--format", "gif"], USAGE, &["format", "gif"]),
    (&["--precision", "f8"], USAGE, &["precision", "f8"]),
    (&["--timeout", "-5s"], USAGE, &["timeout"]),
    (&["--timeout", "1ms"], BUSY, &["time"]),
    (&["--keep-alive", "soon"], USAGE, &["keep", "soon"]),
    (&["--nonsense"], USAGE, &["--nonsense"]),
    (
        &["-o", "/nonexistent/folder/a.png"],
        CANNOT_CREATE,
        &["/nonexistent/folder"],
    ),
    (&["-o", "/dev/full/a.png"], CANNOT_CREATE, &["/dev/full"]),
];

#[test]
fn bad_requests_are_refused_in_clear_words() {
    let daemon = Daemon::start();
    report(
        REQUESTS
            .iter()
            .map(|(arguments, code, words)| check(&daemon, arguments, &[*code], words)),
    );
    still_answers(&daemon);
    assert_eq!(
        fs::read_dir(daemon.work()).unwrap().count(),
        0,
        "nothing was written"
    );
}

#[test]
fn descriptors_come_back_after_many_bad_requests() {
    let daemon = Daemon::start();
    still_answers(&daemon);
    let base = processes::descriptor_count(daemon.pid());
    for (arguments, ..) in REQUESTS.iter().cycle().take(60) {
        daemon.run([&["generate", CANARY][..], arguments].concat());
    }
    let back = || processes::descriptor_count(daemon.pid()) <= base;
    let limit = Duration::from_secs(10);
    assert!(
        processes::within(limit, back),
        "{} > {base}",
        processes::descriptor_count(daemon.pid())
    );
    still_answers(&daemon);
}
