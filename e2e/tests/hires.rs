//! A second pass through the real programs: the picture's size and settings, several pictures and lines of a batch at once, and
//! the same picture made again from its file.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use imgd_e2e::Daemon;
use serde_json::Value;

/// Width, height and pixels of a picture.
fn picture(daemon: &Daemon, path: &str) -> (u32, u32, Vec<u8>) {
    let picture = image::open(daemon.work().join(path)).unwrap().into_rgb8();
    (picture.width(), picture.height(), picture.into_raw())
}

#[test]
fn a_second_pass_makes_the_picture_larger_and_is_made_again() {
    let daemon = Daemon::start();
    let draw = |more: &[&str]| -> Vec<Value> {
        let common = ["generate", "a red apple", "--seed", "3", "--size", "64x48"];
        let common = common
            .into_iter()
            .chain(["--sampler", "euler_a", "--steps", "4", "--json"]);
        daemon.run(common.chain(more.iter().copied())).ok().json()
    };
    let hires = ["--hires-scale", "1.3", "--hires-strength", "0.6"];
    let events = draw(&[&hires[..], &["--hires-steps", "5", "-n", "2"]].concat());
    let of = |kind: &'static str| events.iter().filter(move |object| object["event"] == kind);
    for started in of("started") {
        assert_eq!(started["evaluation_count"], 7, "four, and three of five");
    }
    let images: Vec<_> = of("image").collect();
    assert_eq!(images.len(), 2);
    for image in &images {
        let settings = &image["settings"];
        assert_eq!(
            (&settings["width_px"], &settings["height_px"]),
            (&64.into(), &48.into())
        );
        assert_eq!(
            settings["hires"],
            serde_json::json!({"scale": 1.3, "strength": 0.6, "num_inference_steps": 5, "width_px": 80, "height_px": 56})
        );
        let (width, height, _) = picture(&daemon, image["path"].as_str().unwrap());
        assert_eq!((width, height), (80, 56), "rounded down to eights");
        let text = image["parameters"].as_str().unwrap();
        let expected = "Hires upscale: 1.3, Hires steps: 5, Hires upscaler: Latent";
        assert!(
            text.contains(expected) && text.contains("Size: 64x48"),
            "{text}"
        );
        assert!(text.contains("Denoising strength: 0.6"), "{text}");
    }
    let path = images[1]["path"].as_str().unwrap();
    let replayed = daemon.run(["replay", path]).ok();
    assert!(replayed.stdout.contains("identical"), "{}", replayed.stdout);

    // A line of a batch is the same picture.
    let lines = r#"{"prompt":"a red apple","seed":4,"size":"64x48","steps":4,"sampler":"euler_a","hires_scale":1.3,"hires_strength":0.6,"hires_steps":5,"output":"line.png"}"#;
    std::fs::write(daemon.work().join("lines.jsonl"), lines).unwrap();
    daemon.run(["batch", "lines.jsonl"]).ok();
    assert!(picture(&daemon, "line.png") == picture(&daemon, path));

    // From a picture: its size is the first pass's.
    let from = draw(&[
        "--init-image",
        path,
        "--hires-scale",
        "1.5",
        "-o",
        "from.png",
    ]);
    assert!(from.iter().any(|object| object["event"] == "image"));
    let (width, height, _) = picture(&daemon, "from.png");
    assert_eq!((width, height), (96, 72));
}

#[test]
fn what_cannot_have_a_second_pass_is_told_by_its_flag() {
    let daemon = Daemon::start();
    for (flags, said) in [
        (&["--hires-scale", "5"][..], "1.1 to 4"),
        (&["--hires-strength", "0.5"], "--hires-scale"),
        (
            &["--size", "2048x64", "--hires-scale", "3"],
            "--hires-scale is 3: it makes 2048 pixels 6144",
        ),
        (
            &["--hires-scale", "2", "--hires-strength", "0"],
            "hires_strength` of 0 leaves no step",
        ),
    ] {
        let refused = daemon.run(["generate", "a red apple"].iter().chain(flags).copied());
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
}
