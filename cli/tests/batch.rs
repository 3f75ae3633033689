//! `imgctl batch` against a daemon that does as the test says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod imgctl;
#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::{
    fs,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use imgctl::{finish, imgctl, run};
use imgd_proto::{
    Failure, Reason,
    v1::{JobState, Problem, watch_job_response::Event},
};
use serde_json::Value;
use support::{Act, FakeDaemon, Script, jobs::FakeJob};

fn spawn(daemon: &FakeDaemon, line: &str) -> Child {
    imgctl(daemon, line).spawn().unwrap()
}

fn write(daemon: &FakeDaemon, name: &str, text: &str) {
    fs::write(daemon.folder.path().join(name), text).unwrap();
}

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn submitted(daemon: &FakeDaemon) -> usize {
    daemon.seen.submissions.lock().unwrap().len()
}

fn calls(daemon: &FakeDaemon, call: &str) -> usize {
    let calls = daemon.seen.calls.lock().unwrap();
    calls.iter().filter(|seen| seen.starts_with(call)).count()
}

/// What a batch of one line would submit.
fn request_id(daemon: &FakeDaemon, line: &str) -> String {
    let ran = run(daemon, &format!("{line} --dry-run --json"));
    objects(&ran.stdout)[0]["request_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn every_line_is_drawn_once_however_often_it_is_run() {
    let daemon = FakeDaemon::start();
    let text = "a red apple --seed 1\n# no line\na blue bird --seed 5 -n 2 --steps 3\nx --seed 9 --output named.png\n";
    write(&daemon, "p.txt", text);
    let ran = run(&daemon, "batch p.txt -j 1 --size 64x64");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(
        ran.stdout,
        "a-red-apple-1.png\na-blue-bird-5.png\na-blue-bird-6.png\nnamed.png\n"
    );
    let read = |name: &str| fs::read_to_string(daemon.folder.path().join(name));
    assert_eq!(read("a-blue-bird-6.png").unwrap(), "picture 6");
    {
        let submissions = daemon.seen.submissions.lock().unwrap();
        let request = submissions[1].generate.as_ref().unwrap();
        assert_eq!(
            (request.width_px, request.num_inference_steps),
            (Some(64), Some(3))
        );
        assert_eq!((request.seed, request.num_images), (Some(5), Some(2)));
        assert!(request.request_id.starts_with("batch-"));
    }
    let again = run(&daemon, "batch p.txt -j 1 --size 64x64");
    assert_eq!(
        (again.code, again.stdout.as_str(), submitted(&daemon)),
        (0, "", 3)
    );
    // One that is gone comes from the daemon again; the others are let be.
    fs::remove_file(daemon.folder.path().join("a-blue-bird-5.png")).unwrap();
    let images = calls(&daemon, "image ");
    let third = run(&daemon, "batch p.txt --size 64x64");
    assert_eq!(third.stdout, "a-blue-bird-5.png\n");
    assert_eq!(
        (submitted(&daemon), calls(&daemon, "image ")),
        (4, images + 1)
    );
    // Without what was remembered nothing is written twice either, and names that lines give stay refused.
    fs::remove_file(daemon.folder.path().join(".imgctl-batch.jsonl")).unwrap();
    assert_eq!(run(&daemon, "batch p.txt --size 64x64").code, 2);
    let forced = run(&daemon, "batch p.txt --size 64x64 --force");
    assert_eq!(forced.code, 0, "{}", forced.stderr);
    assert!(read("a-red-apple-1-2.png").is_err());
}

#[test]
fn jsonl_and_csv_and_standard_input_say_the_same() {
    let daemon = FakeDaemon::start();
    write(
        &daemon,
        "p.jsonl",
        "{\"prompt\": \"a\", \"seed\": 3, \"steps\": 4}\n",
    );
    write(&daemon, "p.csv", "seed,prompt,num_inference_steps\n3,a,4\n");
    write(&daemon, "p.list", "a --seed 3 --steps 4\n");
    let ids =
        ["p.jsonl", "p.csv", "p.list"].map(|file| request_id(&daemon, &format!("batch {file}")));
    assert!(ids[0] == ids[1] && ids[1] == ids[2], "{ids:?}");
    assert_eq!(
        request_id(&daemon, "batch p.csv --input-format csv"),
        ids[0]
    );
    assert_eq!(run(&daemon, "batch p.csv --input-format jsonl").code, 2);
    assert_eq!(run(&daemon, "batch -").code, 2);
}

#[test]
fn wrong_lines_are_named_before_anything_is_submitted() {
    let daemon = FakeDaemon::start();
    let text = "{\"prompt\": \"a\"}\n{\"prompt\": \"b\", \"seed\": -1}\n{\"sede\": 1}\n{\"prompt\": \"c\", \"width_px\": 12}\n{}\n";
    write(&daemon, "p.jsonl", text);
    let ran = run(&daemon, "batch p.jsonl --json");
    assert_eq!((ran.code, submitted(&daemon)), (2, 0));
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert!(
        lines[0].starts_with("error: p.jsonl:2: `seed` cannot be `-1`"),
        "{}",
        ran.stderr
    );
    assert!(lines[1].starts_with("p.jsonl:3: there is no field `sede`"));
    assert!(lines[2].starts_with("p.jsonl:5: `prompt` is missing"));
    assert_eq!(lines[3], "hint: nothing was submitted");
    assert_eq!(objects(&ran.stdout)[0]["field"], "seed");
    write(&daemon, "q.txt", "a --width 12\n");
    let ran = run(&daemon, "batch q.txt");
    assert!(
        ran.stderr
            .starts_with("error: q.txt:1: width_px is 12: it must be a multiple of 8"),
        "{}",
        ran.stderr
    );
    for (line, code, words) in [
        ("batch /nonexistent.txt", 2, "cannot read the batch"),
        ("batch q.txt -o missing/", 73, "there is no folder"),
        ("batch q.txt -o -", 2, "standard output"),
        ("batch q.txt -j 0", 2, "0"),
    ] {
        let ran = run(&daemon, line);
        assert!(
            ran.code == code && ran.stderr.contains(words),
            "{line}: {} {}",
            ran.code,
            ran.stderr
        );
    }
}

#[test]
fn a_full_queue_is_waited_for() {
    let full = Failure::new(Reason::QueueFull, "full").with_retry_after(Duration::from_millis(30));
    let mine = Failure::new(Reason::ClientQueueFull, "yours are enough")
        .with_retry_after(Duration::from_millis(30));
    let daemon = FakeDaemon::with(Script {
        refusals: vec![full, mine],
        ..Script::default()
    });
    write(&daemon, "p.txt", "a --seed 1\n");
    let began = Instant::now();
    let ran = run(&daemon, "batch p.txt");
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "a-1.png\n"),
        "{}",
        ran.stderr
    );
    assert!(began.elapsed() >= Duration::from_millis(60));
}

#[test]
fn failures_are_told_at_the_end_and_tried_again_by_the_next_run() {
    let daemon = FakeDaemon::start();
    write(&daemon, "p.txt", "a --seed 1\nb --seed 2\nc --seed 3\n");
    write(&daemon, "b.txt", "b --seed 2\n");
    let id = request_id(&daemon, "batch b.txt");
    let mut failing = FakeJob::new("feed", JobState::Queued, 1);
    failing.job.request.as_mut().unwrap().request_id = id;
    let mut failed = failing.job.clone();
    failed.state = JobState::Failed.into();
    failed.problem = Some(Problem {
        reason: "NUMERICS".into(),
        message: "the numbers make no picture".into(),
        ..Problem::default()
    });
    failing.events = vec![Act::Send(Event::Changed(failed))];
    daemon.seen.jobs.lock().unwrap().push(failing);
    let ran = run(&daemon, "batch p.txt --json -j 2");
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.stderr,
        "error: 1 of 3 lines failed\n  p.txt:2: the numbers make no picture\n\
         hint: the same command again tries those that failed once more, and nothing else\n"
    );
    let objects = objects(&ran.stdout);
    let events: Vec<_> = objects
        .iter()
        .map(|object| object["event"].as_str().unwrap())
        .collect();
    assert_eq!(events.iter().filter(|event| **event == "image").count(), 2);
    let line = objects
        .iter()
        .find(|object| object["event"] == "line_failed")
        .unwrap();
    assert_eq!(
        (&line["line"], &line["reason"]),
        (&2.into(), &"NUMERICS".into())
    );
    assert_eq!(objects[objects.len() - 1]["event"], "error");
    assert_eq!(objects[objects.len() - 2]["failed_lines"], 1);
    assert_eq!(calls(&daemon, "retry"), 0);
    assert_eq!(run(&daemon, "batch p.txt").code, 1);
    assert_eq!((calls(&daemon, "retry"), submitted(&daemon)), (1, 4));
    // What comes after the failure is not begun.
    write(&daemon, "q.txt", "b --seed 2\nd --seed 4\n");
    let ran = run(&daemon, "batch q.txt -j 1 --fail-fast");
    assert_eq!((ran.code, submitted(&daemon)), (1, 5));
}

#[test]
fn ctrl_c_leaves_the_jobs_to_the_daemon_or_cancels_them() {
    for (flag, words, cancels) in [
        ("", "1 job under way go on", 0),
        (" --cancel-on-interrupt", "1 job cancelled", 1),
    ] {
        let daemon = FakeDaemon::start();
        write(&daemon, "p.txt", "b --seed 2\n");
        let id = request_id(&daemon, "batch p.txt");
        let mut slow = FakeJob::new("feed", JobState::Running, 1);
        slow.job.request.as_mut().unwrap().request_id = id;
        slow.events = vec![
            Act::Wait(Duration::from_secs(60)),
            Act::Send(Event::Changed(slow.job.clone())),
        ];
        daemon.seen.jobs.lock().unwrap().push(slow);
        let child = spawn(&daemon, &format!("batch p.txt{flag}"));
        let deadline = Instant::now() + Duration::from_secs(10);
        while calls(&daemon, "watch") == 0 {
            assert!(Instant::now() < deadline, "the job is not watched");
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(50));
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let ran = finish(child);
        assert_eq!(ran.code, 130);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        assert!(ran.stderr.contains("the same command again goes on"));
        assert_eq!(calls(&daemon, "cancel"), cancels);
    }
}

#[test]
fn a_dry_run_shows_what_would_be_made_and_makes_nothing() {
    let daemon = FakeDaemon::start();
    write(
        &daemon,
        "p.txt",
        "a --seed 1 -n 2\nb --seed 3 --output {sampler}-{seed}.jpg\n",
    );
    assert_eq!(run(&daemon, "batch p.txt -j 1 --seed 8").code, 0);
    fs::remove_file(daemon.folder.path().join("a-2.png")).unwrap();
    let before = submitted(&daemon);
    let ran = run(&daemon, "batch p.txt --seed 8 --dry-run");
    assert_eq!(
        ran.stdout,
        "LINE  STATE    SEED  PROMPT  FILE\n\
         1     done     1     a       a-1.png\n\
         1     missing  2     a       a-2.png\n\
         2     done     3     b       dpmpp-2m-3.jpg\n"
    );
    assert_eq!(submitted(&daemon), before);
}
