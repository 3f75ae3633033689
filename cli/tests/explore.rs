//! `imgctl explore`, `replay` and `plan` against a daemon that does as the test says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod imgctl;
#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::{fs, path::Path, time::Duration};

use imgctl::{Ran, run};
use imgd_proto::v1::{self, JobState};
use serde_json::{Value, json};
use support::{FakeDaemon, Script, picture};

fn explorer() -> FakeDaemon {
    let mut settings = support::settings(7);
    settings.num_inference_steps = 20;
    FakeDaemon::with(Script {
        plan: v1::PlanJobResponse {
            settings: Some(settings),
            ..v1::PlanJobResponse::default()
        },
        ..Script::default()
    })
}

fn calls(daemon: &FakeDaemon, call: &str) -> Vec<String> {
    let calls = daemon.seen.calls.lock().unwrap();
    calls
        .iter()
        .filter(|seen| seen.starts_with(call))
        .cloned()
        .collect()
}

#[test]
fn the_chosen_ones_are_finished_and_written() {
    let daemon = explorer();
    let ran = run(
        &daemon,
        "explore fox -n 5 --seed 10 --finish 2,4-5 --sheet all.png",
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, "all.png\nfox-11.png\nfox-13.png\nfox-14.png\n");
    {
        let submissions = daemon.seen.submissions.lock().unwrap();
        assert_eq!(submissions[0].hold_after_steps, 5);
        assert_eq!(
            submissions[0].generate.as_ref().unwrap().num_images,
            Some(5)
        );
    }
    assert_eq!(calls(&daemon, "resume").len(), 1);
    assert!(calls(&daemon, "resume")[0].starts_with("resume[1, 3, 4]"));
    let sheet = image::open(daemon.folder.path().join("all.png")).unwrap();
    assert_eq!(
        (sheet.width(), sheet.height()),
        (3 * 204 + 12, 2 * 238 + 12)
    );
    // It is no picture of the request: nothing is overwritten.
    let ran = run(&daemon, "explore fox -n 1 --finish 1 --sheet all.png");
    assert_eq!(ran.code, 73);
}

#[test]
fn without_a_choice_the_pictures_wait() {
    let daemon = explorer();
    let ran = run(&daemon, "explore fox --steps 8");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, "sheet-abcd00000000.png\n");
    assert!(
        ran.stderr.starts_with("note: 16 pictures wait: finish some with `imgctl explore --continue abcd00000000 --finish 1,4`"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        daemon.seen.submissions.lock().unwrap()[0].hold_after_steps,
        3
    );
    let ran = run(&daemon, "explore --continue abcd0000 --finish 17");
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("there is no picture 17 on the sheet"),
        "{}",
        ran.stderr
    );
    let ran = run(
        &daemon,
        "explore --continue abcd0000 --finish 16 -o last.png --json",
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let objects: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        objects[0]["pictures"][15],
        json!({ "number": 16, "seed": 22 })
    );
    assert_eq!(
        (&objects[1]["image_index"], &objects[1]["event"]),
        (&15.into(), &"image".into())
    );
}

#[test]
fn what_cannot_be_explored_is_refused() {
    let daemon = explorer();
    for (line, words) in [
        (
            "explore fox --steps 1",
            "cannot be chosen before it is finished",
        ),
        (
            "explore fox --steps 8 --hold-after-steps 8",
            "not before the last of 8 steps",
        ),
        ("explore fox -n 401", "a sheet has room for 400"),
        ("explore fox --finish 0", "--finish"),
        ("explore fox -o -", "standard output"),
        ("explore", "<PROMPT>"),
        ("explore --continue xyz", "no id of a job"),
        ("explore fox --continue abcd", "--continue"),
    ] {
        let ran = run(&daemon, line);
        assert!(
            ran.code == 2 && ran.stderr.contains(words),
            "{line}: {} {}",
            ran.code,
            ran.stderr
        );
    }
    assert!(daemon.seen.submissions.lock().unwrap().is_empty());
    assert!(
        daemon
            .seen
            .jobs
            .lock()
            .unwrap()
            .iter()
            .all(|job| job.job.state() != JobState::Queued)
    );
}

/// A picture of 8 x 8 pixels of one grey with a record in it.
fn made(grey: u8, record: Option<Value>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
    if let Some(record) = record {
        encoder
            .add_text_chunk("imgd".into(), record.to_string())
            .unwrap();
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[grey; 64]).unwrap();
    writer.finish().unwrap();
    bytes
}

fn record(numerics: &str) -> Value {
    json!({
        "version": 1, "imgd": "0.1.0", "numerics": numerics, "model": "starter", "model_hash": "feed",
        "prompt": "a red apple", "negative_prompt": null, "seed": 7, "noise_generator": "torch",
        "sampler": "dpmpp_2m", "schedule": "normal", "prediction": "v_prediction", "num_inference_steps": 14,
        "guidance_scale": 3.5, "width_px": 8, "height_px": 8, "clip_skip": 1, "precision": "f32",
    })
}

/// Replays a file where the daemon makes `new`.
fn replay(old: &[u8], new: &[u8], flags: &str) -> (Ran, FakeDaemon) {
    let daemon = FakeDaemon::with(Script {
        acts: picture(7, new),
        ..Script::default()
    });
    fs::write(daemon.folder.path().join("old.png"), old).unwrap();
    (run(&daemon, &format!("replay old.png{flags}")), daemon)
}

#[test]
fn the_same_picture_is_identical() {
    let file = made(9, Some(record("1")));
    let (ran, daemon) = replay(&file, &file, "");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout.starts_with("identical: old.png, "),
        "{}",
        ran.stdout
    );
    let requests = daemon.seen.requests.lock().unwrap();
    let request = &requests[0];
    assert_eq!(
        (request.prompt.as_str(), request.seed),
        ("a red apple", Some(7))
    );
    assert_eq!((request.width_px, request.clip_skip), (Some(8), Some(1)));
    assert_eq!(
        (request.private, request.negative_prompt.as_ref()),
        (Some(true), None)
    );
    assert_eq!(request.format(), v1::ImageFormat::Png);
}

#[test]
fn the_first_thing_that_differs_is_named() {
    let (ran, _) = replay(&made(9, Some(record("1"))), &made(9, Some(record("2"))), "");
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (
            0,
            "same pixels, other file: old.png: the version of the numerics was `1` and is `2`\n"
        )
    );
    let (ran, daemon) = replay(
        &made(9, Some(record("1"))),
        &made(12, Some(record("2"))),
        " -o new.png",
    );
    assert_eq!(
        ran.stdout,
        "different: old.png: the version of the numerics was `1` and is `2`\n\
         the first pixel that differs is at 0,0: 9 9 9 and now 12 12 12\n\
         64 of 64 pixels differ, by 3 of 255 at most and 3.000 on average\n\
         the new picture is new.png\n"
    );
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr
            .starts_with("error: `old.png` was not made again as it was\nhint: "),
        "{}",
        ran.stderr
    );
    assert!(daemon.folder.path().join("new.png").exists());
    let (ran, _) = replay(
        &made(9, Some(record("1"))),
        &made(12, Some(record("1"))),
        " --json",
    );
    let object: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&object["outcome"], &object["setting"]),
        (&"different".into(), &Value::Null)
    );
    assert_eq!(object["pixels"]["max_difference"], 3);
}

#[test]
fn what_says_nothing_is_not_replayed() {
    let daemon = FakeDaemon::start();
    for (bytes, words) in [
        (made(9, None), "there are no settings in it"),
        (b"hello".to_vec(), "is no PNG, JPEG or WebP picture"),
        (made(9, Some(json!({ "version": 1 }))), "has no `prompt`"),
        (
            {
                let mut record = record("1");
                record["width_px"] = json!(12);
                made(9, Some(record))
            },
            "it must be a multiple of 8",
        ),
    ] {
        fs::write(daemon.folder.path().join("old.png"), bytes).unwrap();
        let ran = run(&daemon, "replay old.png");
        assert!(
            ran.code == 2 && ran.stderr.contains(words),
            "{words}: {}",
            ran.stderr
        );
    }
    assert_eq!(run(&daemon, "replay missing.png").code, 2);
    assert!(Path::new("old.png").is_relative() && daemon.seen.requests.lock().unwrap().is_empty());
}

#[test]
fn a_plan_says_what_would_happen() {
    let time =
        |millis| Some(prost_types::Duration::try_from(Duration::from_millis(millis)).unwrap());
    let plan = v1::PlanJobResponse {
        image_count: 2,
        evaluation_count: 14,
        device: "cpu".into(),
        weights_bytes: 118_000_000,
        working_bytes: 210_000_000,
        available_bytes: 6_000_000_000,
        fits: true,
        evictions: vec!["xl".into()],
        position: 1,
        batch_size: 2,
        loading: time(400),
        evaluation: time(120),
        total: time(5_000),
        basis: "32 evaluations of this size".into(),
        ..v1::PlanJobResponse::default()
    };
    let daemon = FakeDaemon::with(Script {
        plan,
        ..Script::default()
    });
    let ran = run(&daemon, "plan fox -n 2 --steps 14 --priority batch");
    assert_eq!(
        ran.stdout,
        "model     starter, on disk\n\
         device    cpu\n\
         pictures  2 of 256x256, 1 steps of dpmpp_2m normal, guidance 3.5, seed 7\n\
         memory    118 MB for the weights and 210 MB for a picture; 6.0 GB available: fits\n\
         unloads   xl\n\
         queue     1 job before it\n\
         together  2 pictures at a time\n\
         loading   0.4 s\n\
         drawing   1.7 s a picture: 14 evaluations of 120 ms\n\
         decoding  not measured yet\n\
         in all    5.0 s, waiting not included\n\
         basis     32 evaluations of this size\n"
    );
    let requests = daemon.seen.requests.lock().unwrap();
    assert_eq!(
        (requests[0].num_images, requests[0].num_inference_steps),
        (Some(2), Some(14))
    );
    assert_eq!(requests[0].priority(), v1::Priority::Batch);
    drop(requests);
    let ran = run(&daemon, "plan fox --json");
    let object: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&object["event"], &object["decoding_secs"]),
        (&"plan".into(), &Value::Null)
    );
    assert_eq!(object["evaluation_secs"], 0.12);
}
