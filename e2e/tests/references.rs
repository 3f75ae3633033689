//! Pictures to look at: they change what is drawn, are told, and outlive the daemon; what does not work is told before anything is
//! drawn.

use image::{Rgb, RgbImage};
use imgd_e2e::{Daemon, refusal::USAGE, tiny};
use serde_json::Value;

#[test]
fn pictures_to_look_at_change_what_is_drawn_and_outlive_the_daemon() {
    let mut daemon = Daemon::start();
    let work = daemon.work().to_owned();
    tiny::write_model("reference_cases.json", "reference-one", &work.join("klein"));
    let photo = |name: &str, (width, height), tint: u8| {
        let byte = |value: u32| u8::try_from(value % 256).expect("a byte");
        RgbImage::from_fn(width, height, |x, y| Rgb([byte(x * 2), byte(y * 3), tint]))
            .save(work.join(name))
            .expect("a file");
    };
    photo("a.png", (96, 64), 20);
    photo("b.png", (64, 128), 230);
    let common = ["a fox", "-m", "klein", "--seed", "3", "--steps", "3"];
    let draw = |daemon: &Daemon, more: &[&str], to: &str| {
        let run = ["generate"].into_iter().chain(common);
        let run = run.chain(more.iter().copied());
        let told = daemon.run(run.chain(["--json", "-o", to])).ok().stdout;
        let made = told
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .find(|line: &Value| line["event"] == "image");
        let bytes = std::fs::read(work.join(to)).expect("the picture");
        (made.expect("a picture")["settings"].clone(), bytes)
    };
    let both = ["--ref-image", "a.png", "--ref-image", "b.png"];
    let (told, of_two) = draw(&daemon, &both, "two.png");
    assert_eq!(
        (&told["width_px"], &told["height_px"]),
        (&96.into(), &64.into()),
        "the size is the first one's"
    );
    let sums = told["ref_image_sha256"].as_array().expect("their hashes");
    assert_eq!(sums.len(), 2, "{told}");
    let (_, of_one) = draw(&daemon, &both[..2], "one.png");
    let (_, of_none) = draw(&daemon, &["--size", "96x64"], "none.png");
    assert!(of_two != of_one && of_one != of_none && of_two != of_none);

    // What waits when the daemon goes down is drawn with the same pictures.
    let submit = ["generate"].into_iter().chain(common).chain(both);
    let submit = submit.chain(["--detach"]);
    let job = daemon.run(submit).ok().stdout;
    daemon.kill();
    daemon.start_again();
    let job = job.trim();
    daemon.run(["attach", job]).ok();
    daemon.run(["get", job, "-o", "later.png"]).ok();
    let later = std::fs::read(work.join("later.png")).expect("the picture");
    assert!(later == of_two, "after the daemon was away");
}

#[test]
fn what_cannot_be_looked_at_is_told_by_its_flag() {
    let daemon = Daemon::start();
    daemon
        .run([
            "generate",
            "a red apple",
            "--seed",
            "3",
            "--steps",
            "2",
            "-o",
            "seen.png",
        ])
        .ok();
    let refused = |arguments: &[&str], parts: &[&str]| {
        let run = ["generate", "a red apple", "-o", "-"].into_iter();
        let run = daemon.run(run.chain(arguments.iter().copied()));
        assert_eq!(run.code, USAGE, "{arguments:?}: {}", run.stderr);
        for part in parts {
            assert!(run.stderr.contains(part), "{arguments:?}: {}", run.stderr);
        }
    };
    let seen = ["--ref-image", "seen.png"];
    refused(
        &seen,
        &[
            "--ref-image is set, but this model looks at no pictures",
            "flux2_klein",
        ],
    );
    refused(
        &[&seen[..], &seen, &seen, &seen, &seen].concat(),
        &["--ref-image", "0 to 4"],
    );
    refused(
        &["--ref-image", "nowhere.png"],
        &["--ref-image", "cannot read"],
    );
    std::fs::write(daemon.work().join("text.png"), "text").expect("a file");
    refused(&["--ref-image", "text.png"], &["--ref-image", "no PNG"]);
    refused(
        &[&seen[..], &["--init-image", "seen.png"]].concat(),
        &["--ref-image", "--init-image"],
    );

    let lines = "{\"prompt\": \"a red apple\", \"ref_images\": \"seen.png;nowhere.png\"}\n";
    std::fs::write(daemon.work().join("lines.jsonl"), lines).expect("a batch");
    std::fs::create_dir(daemon.work().join("made")).expect("a folder");
    let batch = daemon.run(["batch", "lines.jsonl", "-o", "made/"]);
    assert_eq!(batch.code, USAGE, "{}", batch.stderr);
    assert!(
        batch.stderr.contains("nowhere.png: cannot read"),
        "{}",
        batch.stderr
    );

    daemon
        .run([
            "generate",
            "a red apple",
            "--seed",
            "3",
            "--steps",
            "2",
            "-o",
            "again.png",
        ])
        .ok();
    let file = |name: &str| std::fs::read(daemon.work().join(name)).expect("a picture");
    assert!(file("seen.png") == file("again.png"));
}
