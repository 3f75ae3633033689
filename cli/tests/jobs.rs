//! The verbs about jobs, against a daemon that does as the test says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod imgctl;
#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
    time::{Duration, SystemTime},
};

use imgctl::{finish, imgctl, run};
use imgd_proto::{
    Failure, Reason,
    v1::{self, JobState, PauseReason, watch_job_response::Event},
};
use serde_json::Value;
use support::{Act, FakeDaemon, Script, jobs::FakeJob};

fn daemon(jobs: Vec<FakeJob>) -> FakeDaemon {
    FakeDaemon::with(Script {
        jobs,
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

fn names(objects: &[Value]) -> Vec<&str> {
    objects
        .iter()
        .map(|object| object["event"].as_str().unwrap())
        .collect()
}

fn ago(secs: u64) -> Option<prost_types::Timestamp> {
    Some((SystemTime::now() - Duration::from_secs(secs)).into())
}

/// One job in each place, newest first.
fn five() -> Vec<FakeJob> {
    let mut queued = FakeJob::new("aaaa1", JobState::Queued, 1);
    queued.job.position = 2;
    queued.job.submitted = ago(5);
    let mut running = FakeJob::new("bbbb2", JobState::Running, 4);
    running.job.images_done = 1;
    running.job.submitted = ago(125);
    running.job.in_flight = vec![v1::ImageInFlight {
        image_index: 1,
        evaluations_done: 5,
        evaluation_count: 20,
        evaluations_saved: 4,
    }];
    let request = running.job.request.as_mut().unwrap();
    request.priority = v1::Priority::Batch.into();
    request.prompt = "two\nlines \x1b[2J".into();
    let mut held = FakeJob::new("cccc3", JobState::Paused, 16);
    held.job.pause_reason = PauseReason::Held.into();
    held.job.images_held = 16;
    held.job.submitted = ago(7300);
    let mut done = FakeJob::done("dddd4", 2);
    done.job.submitted = ago(90_000);
    done.job.finished = Some(prost_types::Timestamp {
        seconds: 1_700_000_000,
        nanos: 0,
    });
    let mut failed = FakeJob::new("eeee5", JobState::Failed, 3);
    failed.job.images_done = 0;
    failed.job.problem = Some(v1::Problem {
        reason: "WORKER_DIED".into(),
        message: "the worker died twice at the same picture".into(),
        field: String::new(),
        hint: "see the log".into(),
    });
    vec![queued, running, held, done, failed]
}

#[test]
fn a_detached_request_prints_its_id_and_goes_on() {
    let daemon = daemon(Vec::new());
    let ran = run(
        &daemon,
        "generate x -n 3 --detach --request-id r-1 --priority batch",
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, "abcd0000000000000000000000000000\n");
    let again = run(&daemon, "generate x -n 3 --detach --request-id r-1 --json");
    let object = &objects(&again.stdout)[0];
    assert_eq!(names(&objects(&again.stdout)), ["job"]);
    assert_eq!(
        (&object["existed"], &object["image_count"]),
        (&true.into(), &3.into())
    );
    assert_eq!(object["request"]["prompt"], "x");
    let seen = daemon.seen.submissions.lock().unwrap()[0].clone();
    let seen = seen.generate.unwrap();
    assert_eq!(
        (seen.num_images, seen.priority()),
        (Some(3), v1::Priority::Batch)
    );
    for wrong in [
        "--private",
        "--show",
        "--preview",
        "-o a.png",
        "--force",
        "--timeout 5m",
    ] {
        let ran = run(&daemon, &format!("generate x --detach {wrong}"));
        assert_eq!(ran.code, 2, "{wrong}");
        assert!(ran.stderr.contains("cannot be used with"), "{}", ran.stderr);
    }
}

#[test]
fn a_private_request_says_so() {
    let daemon = FakeDaemon::start();
    assert_eq!(run(&daemon, "generate x --private").code, 0);
    assert_eq!(run(&daemon, "generate x").code, 0);
    let requests = daemon.seen.requests.lock().unwrap();
    assert_eq!(
        (requests[0].private, requests[1].private),
        (Some(true), None)
    );
}

#[test]
fn jobs_are_listed_in_columns() {
    let daemon = daemon(five());
    let active = "ID            STATE    PROGRESS  IMAGES  PRIORITY     AGE  PROMPT\n\
                  aaaa10000000  queued   2 ahead   0/1     interactive  5s   a red apple\n\
                  bbbb20000000  running  31%       1/4     batch        2m   two lines [2J\n\
                  cccc30000000  held     0%        0/16    interactive  2h   a red apple\n";
    for line in ["jobs", "jobs ls", "jobs list"] {
        assert_eq!(run(&daemon, line).stdout, active, "{line}");
    }
    let all = run(&daemon, "jobs --all").stdout;
    assert!(all.contains("dddd40000000  succeeded  100%"), "{all}");
    assert!(all.contains("eeee50000000  failed"), "{all}");
    let ids = run(&daemon, "jobs -q --state failed,queued --no-trunc").stdout;
    assert_eq!(ids, format!("{:0<32}\n{:0<32}\n", "aaaa1", "eeee5"));
    assert_eq!(run(&daemon, "jobs -n 1").stdout.lines().count(), 2);
    assert_eq!(run(&daemon, "jobs --state paused,").code, 2);
    let objects = objects(&run(&daemon, "jobs --all --json").stdout);
    assert_eq!(names(&objects), ["job"; 5]);
    assert_eq!(objects[1]["in_flight"][0]["evaluations_saved"], 4);
    assert_eq!(objects[2]["pause_reason"], "held");
    assert_eq!(objects[3]["finished"], "2023-11-14T22:13:20Z");
    assert_eq!(objects[4]["problem"]["reason"], "WORKER_DIED");
}

#[test]
fn nothing_to_list_is_a_heading_alone() {
    let daemon = daemon(Vec::new());
    let ran = run(&daemon, "jobs");
    assert_eq!(ran.stdout.lines().count(), 1);
    assert_eq!(run(&daemon, "jobs --json").stdout, "");
    assert_eq!(run(&daemon, "history").stdout, "");
    assert_eq!(run(&daemon, "jobs watch").stdout, "");
}

#[test]
fn a_job_is_shown_whole() {
    let daemon = daemon(five());
    let shown = run(&daemon, "jobs show BBBB").stdout;
    for expected in [
        "id         bbbb2000000000000000000000000000\n",
        "state      running\n",
        "progress   31%, pictures 1/4\n",
        "prompt     two lines [2J\n",
        "drawing    picture 1: evaluation 5 of 20, 4 safe on disk\n",
        "(2 minutes ago)\n",
    ] {
        assert!(shown.contains(expected), "{shown}");
    }
    let shown = run(&daemon, "jobs show eeee").stdout;
    assert!(
        shown.contains("twice at the same picture (WORKER_DIED)\n"),
        "{shown}"
    );
    let shown = run(&daemon, "jobs show dddd --images").stdout;
    let sha256 = imgd_client::sha256_hex(b"picture 8");
    assert!(
        shown.ends_with(&format!("\n1      done   8     9 B   {sha256}\n")),
        "{shown}"
    );
    let objects = objects(&run(&daemon, "jobs show dddd -i --json").stdout);
    assert_eq!(names(&objects), ["job", "job_image", "job_image"]);
    assert_eq!(objects[2]["settings"]["seed"], 8);
}

#[test]
fn a_name_that_is_none_is_refused_before_anything_is_done() {
    let daemon = daemon(five());
    for line in [
        "jobs show xyz",
        "attach 12",
        "get a/b",
        "jobs cancel aaaa zzzz",
        "jobs rm",
    ] {
        let ran = run(&daemon, line);
        assert_eq!(ran.code, 2, "{line}: {}", ran.stderr);
    }
    assert!(daemon.seen.calls().is_empty());
    let ran = run(&daemon, "jobs show ffff");
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert_eq!(ran.stderr, "error: no job's id begins with `ffff`\n");
}

#[test]
fn jobs_are_steered_one_after_another() {
    let daemon = daemon(five());
    let ran = run(&daemon, "jobs pause aaaa bbbb");
    assert_eq!(ran.stdout, "aaaa10000000  paused\nbbbb20000000  paused\n");
    let ran = run(&daemon, "jobs resume cccc --images 0,3,5-7");
    assert_eq!(ran.stdout, "cccc30000000  queued\n");
    assert!(daemon.seen.calls()[2].starts_with("resume[0, 3, 5, 6, 7] cccc"));
    // One that fails keeps no other from it.
    let ran = run(&daemon, "jobs retry dddd eeee --json");
    assert_eq!(ran.code, 1);
    assert_eq!(names(&objects(&ran.stdout)), ["job", "error"]);
    assert_eq!(ran.stderr, "error: the job has not failed\n");
    assert_eq!(run(&daemon, "jobs cancel aaaa -q").stdout.trim().len(), 32);
    assert_eq!(run(&daemon, "jobs resume cccc --images 7-5").code, 2);
}

#[test]
fn a_job_at_work_is_deleted_by_force_alone() {
    let daemon = daemon(five());
    let ran = run(&daemon, "jobs rm bbbb dddd");
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (1, "dddd40000000  deleted\n")
    );
    assert_eq!(
        ran.stderr,
        "error: the job has not ended\nhint: --force cancels it first\n"
    );
    let mut child = imgctl(&daemon, "jobs rm --force --json -")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"aaaa\n  bbbb\n").unwrap();
    drop(stdin);
    let ran = finish(child);
    assert_eq!(names(&objects(&ran.stdout)), ["deleted", "deleted"]);
    assert_eq!(run(&daemon, "jobs -q --all").stdout.lines().count(), 2);
}

#[test]
fn attaching_writes_what_generating_would() {
    let daemon = daemon(vec![FakeJob::new("abcd", JobState::Queued, 2).drawing()]);
    let ran = run(&daemon, "attach abcd");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, "a-red-apple-7.png\na-red-apple-8.png\n");
    let read = |name: &str| fs::read(daemon.folder.path().join(name)).unwrap();
    assert_eq!(read("a-red-apple-8.png"), b"picture 8");
    // Again: the same files are there, and none is written twice.
    let ran = run(&daemon, "attach abcd --json");
    let objects = objects(&ran.stdout);
    let expected = [
        "job", "started", "step", "image", "started", "step", "image", "job",
    ];
    assert_eq!(names(&objects), expected);
    assert_eq!(objects[3]["path"], "a-red-apple-7.png");
    assert_eq!(objects[3]["existed"], true);
    assert_eq!(objects[7]["state"], "succeeded");
    assert_eq!(objects[7]["request"]["prompt"], "a red apple");
    let ran = run(&daemon, "attach abcd -o {index}-{seed}");
    assert_eq!(ran.stdout, "1-7.png\n2-8.png\n");
    let ran = run(&daemon, "attach abcd -o a.jpg");
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("they are png files"), "{}", ran.stderr);
}

#[test]
fn each_picture_is_named_after_its_own_prompt() {
    let mut fake = FakeJob::new("abcd", JobState::Queued, 2);
    let own = |prompt: &str, seed| v1::ImageVariation {
        prompt: Some(prompt.into()),
        seed: Some(seed),
        ..v1::ImageVariation::default()
    };
    fake.job.images = vec![own("a fox", 3), own("a hare", 9)];
    let daemon = daemon(vec![fake.drawing()]);
    assert_eq!(
        run(&daemon, "attach abcd").stdout,
        "a-fox-3.png\na-hare-9.png\n"
    );
}

fn watched(daemon: &FakeDaemon) -> Vec<String> {
    let calls = daemon.seen.calls();
    let watches = calls.iter().filter(|call| call.starts_with("watch"));
    watches
        .map(|call| call.split(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn attaching_goes_on_when_the_connection_is_lost() {
    let mut fake = FakeJob::new("abcd", JobState::Queued, 2).drawing();
    fake.events.insert(3, Act::Lose);
    fake.events.insert(6, Act::Lose);
    let daemon = daemon(vec![fake]);
    let ran = run(&daemon, "attach abcd --json");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let expected = [
        "job", "started", "step", "image", "started", "step", "image", "job",
    ];
    assert_eq!(names(&objects(&ran.stdout)), expected);
    assert_eq!(watched(&daemon), ["watch@0", "watch@3", "watch@5"]);
}

#[test]
fn a_daemon_that_is_lost_over_and_over_is_given_up() {
    for verb in ["attach", "jobs watch"] {
        let mut fake = FakeJob::new("abcd", JobState::Queued, 1).drawing();
        fake.events.splice(1..1, vec![Act::Lose; 9]);
        let daemon = daemon(vec![fake]);
        let ran = run(&daemon, &format!("{verb} abcd"));
        assert_eq!(ran.code, 69, "{}", ran.stderr);
        assert!(
            ran.stderr
                .contains("error: the connection to imgd was lost\n")
        );
        assert_eq!(watched(&daemon).len(), 6, "{verb}");
    }
}

#[test]
fn a_daemon_that_ends_says_that_the_job_is_kept() {
    let mut fake = FakeJob::new("abcd", JobState::Running, 1).drawing();
    fake.events[1] = Act::Fail(Failure::new(Reason::Draining, "imgd is ending"));
    let ran = run(&daemon(vec![fake]), "attach abcd");
    assert_eq!(ran.code, 75);
    assert_eq!(
        ran.stderr,
        "error: imgd is ending\n\
         hint: the job is kept; `imgctl attach abcd00000000` goes on with it\n"
    );
}

#[test]
fn ctrl_c_detaches_and_cancels_nothing() {
    let mut fake = FakeJob::new("abcd", JobState::Running, 1).drawing();
    fake.events.insert(2, Act::Wait(Duration::from_secs(60)));
    let daemon = daemon(vec![fake]);
    let mut child = imgctl(&daemon, "attach abcd --json").spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.as_mut().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ran = finish(child);
    assert_eq!(ran.code, 130);
    assert_eq!(
        ran.stderr,
        "note: detached; the job goes on\n\
         hint: `imgctl attach abcd` comes back, `imgctl jobs cancel abcd` ends it\n"
    );
    assert!(
        !daemon
            .seen
            .calls()
            .iter()
            .any(|call| call.starts_with("cancel"))
    );
}

#[test]
fn the_end_of_a_job_is_the_exit_status_of_who_follows_it() {
    let mut fake = FakeJob::new("abcd", JobState::Running, 2).drawing();
    let Some(Act::Send(Event::Changed(job))) = fake.events.last_mut() else {
        panic!("the last event is the job's end");
    };
    job.state = JobState::Failed.into();
    job.problem = five()[4].job.problem.clone();
    let Some(Act::Send(Event::Image(image))) = fake.events.get_mut(6) else {
        panic!("the last but one is a picture");
    };
    image.state = v1::ImageState::Failed.into();
    image.problem.clone_from(&five()[4].job.problem);
    let daemon = daemon(vec![fake]);
    let ran = run(&daemon, "attach abcd");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "a-red-apple-7.png\n"));
    assert_eq!(
        ran.stderr,
        "warning: picture 1 failed: the worker died twice at the same picture\n\
         error: the worker died twice at the same picture\nhint: see the log\n"
    );
    let ran = run(&daemon, "jobs watch abcd");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.stdout.starts_with("abcd00000000  failed  "),
        "{}",
        ran.stdout
    );
}

#[test]
fn finished_pictures_are_fetched_and_none_twice() {
    let daemon = daemon(vec![
        FakeJob::new("aaaa", JobState::Queued, 1),
        FakeJob::done("abcd", 8),
    ]);
    let folder = daemon.folder.path().join("pictures");
    fs::create_dir(&folder).unwrap();
    let ran = run(&daemon, "get abcd -o pictures --index 1,3-4");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let expected = "pictures/a-red-apple-8.png\n\
                    pictures/a-red-apple-10.png\n\
                    pictures/a-red-apple-11.png\n";
    assert_eq!(ran.stdout, expected);
    // Someone else's file keeps its name, and ours is found under its own the next time.
    fs::write(folder.join("a-red-apple-7.png"), "mine").unwrap();
    for existed in [5, 8] {
        let ran = run(&daemon, "get last -o pictures --json");
        let objects = objects(&ran.stdout);
        assert_eq!(names(&objects), ["image"; 8]);
        assert_eq!(objects[0]["path"], "pictures/a-red-apple-7-2.png");
        let there = objects.iter().filter(|object| object["existed"] == true);
        assert_eq!(there.count() + if existed == 5 { 2 } else { 0 }, existed);
    }
    assert_eq!(fs::read(folder.join("a-red-apple-7.png")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 9);
    let fetched = daemon.seen.calls();
    let fetched = fetched.iter().filter(|call| call.starts_with("image "));
    assert_eq!(fetched.count(), 8);

    let ran = run(&daemon, "get abcd --index 8");
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .starts_with("error: picture 8 of job abcd00000000 is not finished\n")
    );
    let ran = run(&daemon, "get aaaa");
    assert!(
        ran.stderr.contains("is queued: it has no finished picture"),
        "{}",
        ran.stderr
    );
    assert_eq!(run(&daemon, "get abcd --index 2 -o -").stdout, "picture 9");
}

#[test]
fn watching_ends_with_the_last_job() {
    let daemon = daemon(vec![
        FakeJob::new("aaaa", JobState::Queued, 1).drawing(),
        FakeJob::new("bbbb", JobState::Running, 2).drawing(),
        FakeJob::done("cccc", 1),
    ]);
    let watching = run(&daemon, "jobs watch aaaa bbbb");
    assert_eq!(watching.code, 0, "{}", watching.stderr);
    let mut lines: Vec<_> = watching.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "aaaa00000000  succeeded  1/1  a red apple",
            "bbbb00000000  succeeded  2/2  a red apple",
        ]
    );
    let objects = objects(&run(&daemon, "jobs watch bbbb --json").stdout);
    assert_eq!(
        names(&objects),
        [
            "job",
            "started",
            "step",
            "job_image",
            "started",
            "step",
            "job_image",
            "job"
        ]
    );
    assert!(
        objects
            .iter()
            .all(|object| object["job_id"] == "bbbb0000000000000000000000000000")
    );
    assert_eq!(objects[7]["cursor"], 8);
}

#[test]
fn history_says_what_was_made_with_what() {
    let daemon = daemon(five());
    assert_eq!(
        run(&daemon, "history").stdout,
        "dddd40000000  2023-11-14 22:13  2 pictures in 2.0 s\n\
         \x20   a red apple\n\
         \x20   seed 7  256x256  1 step of dpmpp_2m normal  guidance 3.5  starter\n\
         \n\
         eeee50000000    failed\n\
         \x20   a red apple\n\
         \x20   the worker died twice at the same picture\n"
    );
    assert_eq!(
        run(&daemon, "history --search APPLE -n 1 -q")
            .stdout
            .lines()
            .count(),
        1
    );
    assert_eq!(run(&daemon, "history --search nowhere").stdout, "");
    let found = objects(&run(&daemon, "history --search dddd4 --json").stdout);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["settings"]["sampler"], "dpmpp_2m");
}
