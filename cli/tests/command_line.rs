//! imgctl as a person or a program runs it, against a daemon that does as the test says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use imgd_proto::{Failure, PROTOCOL, Reason, v1};
use serde_json::Value;
use support::{Act, FakeDaemon, Script, picture, step};

/// imgctl in a folder of its own, talking to `socket` and never to the user's own daemon.
fn imgctl(folder: &Path, socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imgctl"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("IMGD_SOCKET", socket)
        .env("IMGD_BIN", "/nonexistent/imgd")
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .stdin(Stdio::null());
    command
}

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output
                .status
                .code()
                .expect("imgctl was not ended by a signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn run(daemon: &FakeDaemon, arguments: &[&str]) -> Ran {
    imgctl(daemon.folder.path(), &daemon.socket, arguments)
        .output()
        .unwrap()
        .into()
}

/// Runs where no daemon is.
fn run_alone(arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("run/imgd.sock");
    imgctl(folder.path(), &socket, arguments)
        .output()
        .unwrap()
        .into()
}

fn scripted(acts: Vec<Act>) -> FakeDaemon {
    FakeDaemon::with(Script {
        acts,
        ..Script::default()
    })
}

fn objects(text: &str) -> Vec<Value> {
    let objects: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(objects.iter().all(|object| object["schema"] == 1), "{text}");
    objects
}

#[test]
fn a_picture_is_written_and_its_path_printed() {
    let daemon = FakeDaemon::start();
    let ran = run(&daemon, &["generate", "A red apple!"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "a-red-apple-7.png\n", "")
    );
    assert_eq!(
        fs::read(daemon.folder.path().join("a-red-apple-7.png")).unwrap(),
        b"picture"
    );
    let ran = run(&daemon, &["generate", "A red apple!"]);
    assert_eq!(ran.stdout, "a-red-apple-7-2.png\n");
}

#[test]
fn flags_and_their_aliases_reach_the_daemon() {
    let daemon = FakeDaemon::start();
    let long = "generate x --negative-prompt= --num-inference-steps 3 --guidance-scale 2.5 --size 64x128 \
        --seed 9 --sampler euler --schedule karras --clip-skip 2 --precision f32 --priority batch \
        --request-id r-1 --keep-alive -1 --timeout 1m -o a.jpg --jpeg-quality 80 --no-metadata --model ./m";
    let short = "generate x --negative-prompt= --steps 3 --cfg 2.5 --width 64 --height 128 \
        -s 9 --sampler euler --schedule karras --clip-skip 2 --precision f32 --priority batch \
        --request-id r-1 --keep-alive -5m --timeout 60 -o b --format jpg --jpeg-quality 80 --no-metadata -m ./m";
    for line in [long, short] {
        let ran = run(&daemon, &line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let requests = daemon.seen.requests.lock().unwrap();
    assert_eq!(requests[0], requests[1]);
    let seen = &requests[0];
    assert_eq!(seen.negative_prompt.as_deref(), Some(""));
    assert_eq!((seen.width_px, seen.height_px), (Some(64), Some(128)));
    assert_eq!(
        (seen.num_inference_steps, seen.guidance_scale),
        (Some(3), Some(2.5))
    );
    assert_eq!(
        (seen.seed, seen.clip_skip, seen.jpeg_quality),
        (Some(9), Some(2), Some(80))
    );
    assert_eq!(seen.format(), v1::ImageFormat::Jpeg);
    assert!(seen.omit_metadata && seen.model.starts_with('/') && seen.model.ends_with("/m"));
}

#[test]
fn without_a_daemon_there_are_no_names_to_complete_and_no_complaint() {
    let ran = run_alone(&["completions", "--names", "imgctl", "generate", "-m"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (0, "", "")
    );
}

#[test]
fn a_prompt_comes_from_standard_input_or_a_file() {
    let daemon = FakeDaemon::start();
    let mut child = imgctl(daemon.folder.path(), &daemon.socket, &["generate", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"a green door\n")
        .unwrap();
    assert!(child.wait().unwrap().success());
    fs::write(daemon.folder.path().join("p.txt"), "two\nlines\n").unwrap();
    assert_eq!(run(&daemon, &["generate", "@p.txt"]).code, 0);
    let prompts: Vec<_> = daemon
        .seen
        .requests
        .lock()
        .unwrap()
        .iter()
        .map(|request| request.prompt.clone())
        .collect();
    assert_eq!(prompts, ["a green door", "two\nlines"]);
}

#[test]
fn wrong_usage_names_the_flag_and_ends_with_2() {
    for (arguments, expected) in [
        (
            "generate x --steps -3",
            "--num-inference-steps` cannot be `-3`: must be a whole number from 1 to 1,000",
        ),
        ("generate x --steps 0", "--num-inference-steps"),
        ("generate x --steps 1e9", "--num-inference-steps"),
        (
            "generate x --steps 99999999999999999999",
            "--num-inference-steps",
        ),
        (
            "generate x --cfg NaN",
            "--guidance-scale` cannot be `NaN`: must be a number from 0 to 100",
        ),
        ("generate x --cfg inf", "--guidance-scale"),
        ("generate x --width 0", "--width"),
        ("generate x --height 5000", "--height"),
        (
            "generate x --width 12",
            "--width is 12: it must be a multiple of 8\nhint: the nearest is 8 or 16",
        ),
        ("generate x --size 64y64", "--size"),
        ("generate x --size 64x64 --width 64", "cannot be used with"),
        ("generate x --seed -1", "--seed"),
        ("generate x -n 0", "--num-images"),
        ("generate x -n 10001", "--num-images"),
        ("generate x --clip-skip 13", "--clip-skip"),
        (
            "generate x --jpeg-quality 80",
            "--jpeg-quality is set, but the format is not JPEG",
        ),
        ("generate x --keep-alive soon", "--keep-alive"),
        ("generate x --timeout 0", "--timeout"),
        ("generate x --request-id a/b", "--request-id"),
        ("generate x -o a.png --format jpeg", "ends in `.png`"),
        ("generate x -o a.gif", "does not write `.gif` files"),
        ("generate x -o {sede}.png", "did you mean `{seed}`"),
        (
            "generate @/nonexistent",
            "cannot read the prompt from `/nonexistent`",
        ),
        ("generate x --stesp 3", "'--stesp'"),
        ("generate", "<PROMPT>"),
        ("draw x", "'draw'"),
    ] {
        let arguments: Vec<_> = arguments.split(' ').collect();
        let ran = run_alone(&arguments);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (2, ""),
            "{arguments:?}: {}",
            ran.stderr
        );
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
        assert!(
            ran.stderr.contains(expected),
            "{arguments:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn wrong_usage_is_an_object_for_programs() {
    for (arguments, expected) in [
        (
            "--json generate x --stesp 3",
            "unexpected argument '--stesp' found",
        ),
        (
            "generate x --size 64x64 --width 64 --json",
            "the argument '--size <WxH>' cannot be used with '--width <PX>'",
        ),
        (
            "generate --json",
            "the following required arguments were not provided: <PROMPT>",
        ),
        ("--json draw x", "unrecognized subcommand 'draw'"),
    ] {
        let arguments: Vec<_> = arguments.split(' ').collect();
        let ran = run_alone(&arguments);
        let [error] = &objects(&ran.stdout)[..] else {
            panic!("{arguments:?}: {}", ran.stdout);
        };
        assert_eq!(error["event"], "error");
        assert_eq!(error["message"], expected);
        assert_eq!(error["exit_code"], 2);
        assert_eq!(ran.code, 2);
        assert!(!ran.stderr.is_empty());
    }
}

#[test]
fn without_a_daemon_commands_end_with_69() {
    for arguments in [&["status"][..], &["ps"], &["unload", "x"]] {
        let ran = run_alone(arguments);
        assert_eq!(ran.code, 69);
        assert!(
            ran.stderr.starts_with("error: imgd is not running"),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("\nhint: "), "{}", ran.stderr);
    }
    let ran = run_alone(&["generate", "x"]);
    assert_eq!(ran.code, 69);
    assert!(
        ran.stderr.contains("IMGD_BIN=`/nonexistent/imgd`"),
        "{}",
        ran.stderr
    );
    assert_eq!(run_alone(&["shutdown"]).code, 0);
}

#[test]
fn failures_of_the_daemon_decide_the_exit_status() {
    for (reason, code) in [
        (Reason::InvalidField, 2),
        (Reason::ModelNotFound, 2),
        (Reason::QueueFull, 75),
        (Reason::OutOfMemory, 1),
        (Reason::WorkerDied, 1),
        (Reason::DeadlineExceeded, 75),
        (Reason::Draining, 75),
    ] {
        let failure = Failure::new(reason, "it went\x1b[2J wrong").with_hint("do this");
        let daemon = scripted(vec![Act::Send(step(1, 2)), Act::Fail(failure)]);
        let ran = run(&daemon, &["generate", "x"]);
        assert_eq!(ran.code, code, "{reason}");
        assert_eq!(ran.stderr, "error: it went[2J wrong\nhint: do this\n");
        assert_eq!(ran.stdout, "");
    }
    let mut script = Script::default();
    script.status.protocol = PROTOCOL + 1;
    let ran = run(&FakeDaemon::with(script), &["generate", "x"]);
    assert_eq!(ran.code, 69);
    assert!(ran.stderr.contains("speaks protocol"), "{}", ran.stderr);
    let ran = run(
        &scripted(vec![Act::Send(step(1, 2)), Act::Vanish]),
        &["generate", "x"],
    );
    assert_eq!(ran.code, 69);
    assert!(
        ran.stderr
            .starts_with("error: the connection to imgd was lost\n"),
        "{}",
        ran.stderr
    );
}

#[test]
fn json_is_one_object_a_line() {
    let daemon = FakeDaemon::start();
    let ran = run(&daemon, &["generate", "x", "--json"]);
    let objects = objects(&ran.stdout);
    let events: Vec<_> = objects
        .iter()
        .map(|object| object["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["queued", "started", "step", "image", "finished"]);
    assert!(objects.iter().all(|object| object["job_id"] == "job-1"));
    let image = &objects[3];
    assert_eq!(
        (&image["path"], &image["format"]),
        (&"x-7.png".into(), &"png".into())
    );
    assert_eq!(
        (&image["bytes"], &image["settings"]["seed"]),
        (&7.into(), &7.into())
    );
    assert_eq!(ran.stderr, "");
}

#[test]
fn json_failures_are_objects_too() {
    let refusal = Failure::invalid("sampler", "no such sampler").with_hint("euler");
    let ran = run(
        &scripted(vec![Act::Fail(refusal)]),
        &["generate", "x", "--json"],
    );
    let object = &objects(&ran.stdout)[0];
    assert_eq!(object["event"], "error");
    assert_eq!(
        (&object["reason"], &object["field"]),
        (&"INVALID_FIELD".into(), &"sampler".into())
    );
    assert_eq!(
        (&object["hint"], &object["exit_code"]),
        (&"euler".into(), &2.into())
    );
    let ran = run_alone(&["generate", "x", "--steps", "0", "--json"]);
    assert_eq!(objects(&ran.stdout)[0]["exit_code"], 2);
}

#[test]
fn what_cannot_be_written_ends_with_73_before_the_work() {
    let daemon = FakeDaemon::start();
    fs::write(daemon.folder.path().join("taken.png"), "mine").unwrap();
    for output in [
        "/nonexistent/a.png",
        "/proc/a.png",
        "taken.png",
        "taken.png/a.png",
        "missing/",
    ] {
        let ran = run(&daemon, &["generate", "x", "-o", output]);
        assert_eq!(ran.code, 73, "{output}: {}", ran.stderr);
    }
    assert!(daemon.seen.requests.lock().unwrap().is_empty());
    assert_eq!(
        fs::read(daemon.folder.path().join("taken.png")).unwrap(),
        b"mine"
    );
    let ran = run(&daemon, &["generate", "x", "-o", "taken.png", "--force"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "taken.png\n"));
    assert_eq!(
        fs::read(daemon.folder.path().join("taken.png")).unwrap(),
        b"picture"
    );
    assert_eq!(run(&daemon, &["generate", "x", "-o", "/dev/full"]).code, 73);
}

#[test]
fn a_picture_goes_to_standard_output() {
    let daemon = FakeDaemon::start();
    let ran = run(&daemon, &["generate", "x", "-o", "-"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "picture"));
    assert_eq!(
        run(&daemon, &["generate", "x", "-o", "-", "-n", "2"]).code,
        2
    );
    assert_eq!(
        run(&daemon, &["generate", "x", "-o", "-", "--json"]).code,
        2
    );
}

#[test]
fn a_broken_pipe_is_quiet() {
    let daemon = FakeDaemon::start();
    for arguments in [
        &["generate", "x"][..],
        &["generate", "x", "--json"],
        &["completions", "bash"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = imgctl(daemon.folder.path(), &daemon.socket, arguments)
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = imgctl(daemon.folder.path(), &daemon.socket, &["generate", "x"])
        .stdout(full)
        .output();
    assert_eq!(output.unwrap().status.code(), Some(73));
}

#[test]
fn ctrl_c_cancels_the_work_and_ends_with_130() {
    let steps = (1..=1000).flat_map(|i| {
        [
            Act::Send(step(i, 1000)),
            Act::Wait(Duration::from_millis(10)),
        ]
    });
    let daemon = scripted(steps.collect());
    let mut child = imgctl(
        daemon.folder.path(),
        &daemon.socket,
        &["generate", "x", "--json"],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    // It draws.
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut [0; 100])
        .unwrap();
    let pressed = Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ran = child.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(130));
    assert!(pressed.elapsed() < Duration::from_secs(1));
    assert!(String::from_utf8_lossy(&ran.stderr).starts_with("error: interrupted"));
    assert!(daemon.sees_cancel());
    let left: Vec<_> = fs::read_dir(daemon.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["run"]);
}

#[test]
fn colours_only_where_they_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let run = |variables: &[(&str, &str)]| {
        let mut command = imgctl(folder.path(), Path::new("run/imgd.sock"), &["ps"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        String::from_utf8(output.stderr).unwrap().contains('\x1b')
    };
    assert!(!run(&[]));
    assert!(run(&[("CLICOLOR_FORCE", "1")]));
    assert!(!run(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}

#[test]
fn several_pictures_get_several_names() {
    let mut acts = picture(7, b"one");
    acts.pop();
    for mut act in picture(8, b"two") {
        if let Act::Send(v1::generate_response::Event::Image(chunk)) = &mut act {
            chunk.image_index = 1;
        }
        acts.push(act);
    }
    let daemon = scripted(acts);
    let ran = run(
        &daemon,
        &[
            "generate",
            "x",
            "-n",
            "2",
            "-o",
            "{index}-{seed}-{model}.png",
        ],
    );
    assert_eq!(ran.stdout, "1-7-starter.png\n2-8-starter.png\n");
    let ran = run(&daemon, &["generate", "x", "-n", "2", "-o", "a.png"]);
    assert_eq!(ran.stdout, "a-1.png\na-2.png\n");
}

#[test]
fn help_fits_a_terminal_and_every_shell_is_completed() {
    for verb in [
        "",
        "generate",
        "batch",
        "explore",
        "replay",
        "plan",
        "jobs",
        "jobs ls",
        "jobs show",
        "jobs watch",
        "jobs cancel",
        "jobs pause",
        "jobs resume",
        "jobs retry",
        "jobs rm",
        "attach",
        "get",
        "history",
        "models",
        "samplers",
        "ps",
        "load",
        "unload",
        "status",
        "shutdown",
        "completions",
    ] {
        let arguments: Vec<_> = verb.split_whitespace().chain(["--help"]).collect();
        let ran = run_alone(&arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{verb}");
        let widest = ran.stdout.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{verb}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = run_alone(&["completions", shell]);
        assert!(
            ran.code == 0 && ran.stdout.contains("guidance-scale"),
            "{shell}"
        );
    }
}
