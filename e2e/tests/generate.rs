//! What a new user does: one command, a picture.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{fs, path::Path};

use image::GenericImageView as _;
use imgd_e2e::{Daemon, Home};

const APPLE: [&str; 6] = ["generate", "a red apple", "--steps", "4", "--seed", "1"];

/// The text chunks of a PNG, as pairs of keyword and bytes after it.
fn text_chunks(png: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut chunks = Vec::new();
    let mut rest = &png[8..];
    while let [a, b, c, d, tail @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (kind, data) = (&tail[..4], &tail[4..4 + length]);
        if [b"tEXt", b"iTXt", b"zTXt"]
            .iter()
            .any(|text| text.as_slice() == kind)
        {
            let end = data.iter().position(|byte| *byte == 0).unwrap();
            let keyword = String::from_utf8_lossy(&data[..end]).into_owned();
            chunks.push((keyword, data[end + 1..].to_vec()));
        }
        rest = &tail[4 + length + 4..];
    }
    chunks
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

/// The only line of standard output: a path, made absolute.
fn printed_path(home: &Home, stdout: &str) -> std::path::PathBuf {
    assert_eq!(stdout.lines().count(), 1, "{stdout:?}");
    home.work().join(stdout.trim_end())
}

#[test]
fn the_first_command_starts_the_daemon_and_draws() {
    let home = Home::new();
    assert_eq!(home.daemon_pid(), None);
    let run = home.run(APPLE).ok();
    let path = printed_path(&home, &run.stdout);
    assert_eq!(path.file_name().unwrap(), "a-red-apple-1.png");
    let picture = image::open(&path).unwrap();
    assert_eq!(picture.dimensions(), (256, 256));
    let first = home.daemon_pid().expect("the daemon stays");

    // the second draws the same, with the same daemon, and overwrites nothing
    let before = fs::read(&path).unwrap();
    let run = home.run(APPLE).ok();
    let second = printed_path(&home, &run.stdout);
    assert_ne!(second, path);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(
        fs::read(&second).unwrap() == before,
        "a seed gives the same bytes"
    );
    assert_eq!(home.daemon_pid(), Some(first));

    // it is not in the way: no terminal, no folder of ours, a session of its own
    let folder = fs::read_link(format!("/proc/{first}/cwd")).unwrap();
    assert_eq!(folder, Path::new("/"));
    let stat = fs::read_to_string(format!("/proc/{first}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    assert_eq!(fields[3], first.to_string(), "leads its own session");
    assert_eq!(fields[4], "0", "has no terminal");
}

#[test]
fn the_picture_looks_like_a_red_apple() {
    let daemon = Daemon::start();
    let run = daemon
        .run(["generate", "a red apple", "--seed", "3", "-o", "apple.png"])
        .ok();
    assert!(
        run.stdout.trim_end().ends_with("apple.png"),
        "{}",
        run.stdout
    );
    let picture = image::open(daemon.work().join("apple.png"))
        .unwrap()
        .to_rgb8();
    // coarse, but noise and grey fail it: much of the middle is red
    let middle = picture.view(64, 64, 128, 128).to_image();
    let red = middle.pixels().filter(|pixel| {
        let [r, g, b] = pixel.0.map(i32::from);
        r > 110 && r - g > 50 && r - b > 50
    });
    let share = red.count() as f64 / (128.0 * 128.0);
    assert!(share > 0.3, "{share:.2} of the middle is red");
}

#[test]
fn metadata_says_how_to_make_it_again_unless_left_out() {
    let daemon = Daemon::start();
    let path = daemon.work().join("with.png");
    daemon.run([&APPLE[..], &["-o", "with.png"]].concat()).ok();
    let with = fs::read(&path).unwrap();
    let chunks = text_chunks(&with);
    let (_, parameters) = chunks
        .iter()
        .find(|(keyword, _)| keyword == "parameters")
        .expect("A1111's text");
    for part in [
        "a red apple",
        "Steps: 4",
        "Seed: 1",
        "Size: 256x256",
        "CFG scale: 3.5",
    ] {
        assert!(
            contains(parameters, part),
            "{part} in {}",
            String::from_utf8_lossy(parameters)
        );
    }
    assert!(
        chunks.iter().any(|(keyword, _)| keyword != "parameters"),
        "a JSON record besides"
    );
    let place = daemon.home().path().to_str().unwrap();
    assert!(!contains(&with, place), "no path of this machine");

    daemon
        .run([&APPLE[..], &["--no-metadata", "-o", "without.png"]].concat())
        .ok();
    let without = fs::read(daemon.work().join("without.png")).unwrap();
    assert!(text_chunks(&without).is_empty());
    assert!(!contains(&without, "apple"));
    let pixels = |path| image::open(daemon.work().join(path)).unwrap().to_rgb8();
    assert!(
        pixels("with.png") == pixels("without.png"),
        "metadata changes no pixel"
    );
}

#[test]
fn every_format_carries_the_text() {
    let daemon = Daemon::start();
    daemon.run([&APPLE[..], &["-o", "a.png"]].concat()).ok();
    let png = image::open(daemon.work().join("a.png")).unwrap().to_rgb8();
    for (format, name) in [("webp", "a.webp"), ("jpeg", "a.jpg")] {
        daemon
            .run([&APPLE[..], &["--format", format, "-o", name]].concat())
            .ok();
        let bytes = fs::read(daemon.work().join(name)).unwrap();
        let picture = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), (256, 256));
        if format == "webp" {
            assert!(picture == png, "WebP is lossless");
        }
        // Exif's UserComment: UTF-16, as A1111 writes it
        let utf16 = |order: fn(u16) -> [u8; 2]| {
            "Seed: 1"
                .encode_utf16()
                .flat_map(order)
                .collect::<Vec<u8>>()
        };
        let found = [utf16(u16::to_be_bytes), utf16(u16::to_le_bytes)]
            .iter()
            .any(|text| bytes.windows(text.len()).any(|window| window == text));
        assert!(
            found || contains(&bytes, "Seed: 1"),
            "{format} has the parameters"
        );
    }
}

#[test]
fn several_pictures_of_one_request_use_the_following_seeds() {
    let daemon = Daemon::start();
    let run = daemon.run([&APPLE[..], &["-n", "2"]].concat()).ok();
    let paths: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(paths.len(), 2, "{}", run.stdout);
    let both: Vec<_> = paths
        .iter()
        .map(|path| fs::read(daemon.work().join(path)).unwrap())
        .collect();
    assert!(both[0] != both[1]);
    let second = [
        "generate",
        "a red apple",
        "--steps",
        "4",
        "--seed",
        "2",
        "-o",
        "second.png",
    ];
    daemon.run(second).ok();
    assert!(both[1] == fs::read(daemon.work().join("second.png")).unwrap());
}

#[test]
fn json_is_one_object_a_line_and_progress_stays_off_stdout() {
    let daemon = Daemon::start();
    let run = daemon.run([&APPLE[..], &["--json"]].concat()).ok();
    let lines = run.json();
    assert!(lines.iter().all(serde_json::Value::is_object));
    let last = lines.last().unwrap();
    assert!(
        lines
            .iter()
            .any(|line| line.to_string().contains("a-red-apple-1.png")),
        "{}",
        run.stdout
    );
    assert!(last.is_object());

    let run = daemon.run([&APPLE[..], &["--quiet"]].concat()).ok();
    assert_eq!(run.stderr, "");
}

#[test]
fn the_prompt_may_come_from_standard_input_or_a_file() {
    let daemon = Daemon::start();
    daemon
        .run([&APPLE[..], &["-o", "argument.png"]].concat())
        .ok();
    fs::write(daemon.work().join("prompt.txt"), "a red apple\n").unwrap();
    let rest = ["--steps", "4", "--seed", "1", "-o"];
    daemon
        .run([&["generate", "@prompt.txt"], &rest[..], &["file.png"]].concat())
        .ok();
    let mut command = daemon.imgctl();
    command.args(["generate", "-"]).args(rest).arg("stdin.png");
    imgd_e2e::run::Run::with_input(&mut command, b"a red apple\n").ok();
    let read = |name| fs::read(daemon.work().join(name)).unwrap();
    assert!(read("argument.png") == read("file.png"));
    assert!(read("argument.png") == read("stdin.png"));
}

#[test]
fn the_starter_inside_the_program_is_the_one_in_the_repository() {
    let daemon = Daemon::start();
    let directory = imgd_e2e::repository().join("models/starter");
    let show = |model: &str| {
        daemon
            .run(["models", "show", model, "--json"])
            .ok()
            .json()
            .remove(0)
    };
    let (inside, beside) = (show("starter"), show(directory.to_str().unwrap()));
    for key in [
        "parameter_count",
        "weights_bytes",
        "size_multiple_px",
        "prompt_positions",
    ] {
        assert_eq!(inside[key], beside[key], "{key}");
    }
    let defaults = &inside["defaults"];
    assert_eq!(defaults["num_inference_steps"], 14);
    assert_eq!(defaults["guidance_scale"], 3.5);
    assert_eq!(
        (&defaults["width_px"], &defaults["height_px"]),
        (&256.into(), &256.into())
    );

    let pixels = |model: &str, name: &str| {
        daemon
            .run([&APPLE[..], &["--model", model, "-o", name]].concat())
            .ok();
        image::open(daemon.work().join(name)).unwrap().to_rgb8()
    };
    let same = pixels("starter", "inside.png") == pixels(directory.to_str().unwrap(), "beside.png");
    assert!(same, "the same weights draw the same picture");
}
