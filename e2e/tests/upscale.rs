//! Upscaling through the real programs: the picture, alone and with others, kills in the middle, lists, and what is refused.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::{fs, time::Duration};

use image::{Rgb, RgbImage, Rgba, RgbaImage};
use imgd_e2e::{Daemon, Home, processes, run::Run};
use serde_json::{Map, Value, json};

/// A safetensors file of an SRVGGNetCompact with weights by `weight`, but for the last layer's, which are 0: it repeats each pixel.
/// With `adds`, the last layer adds something too.
fn compact(features: usize, convs: usize, scale: usize, adds: bool) -> Vec<u8> {
    let mut state = 7_u32;
    let mut noise = |by: f32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0) * by
    };
    let (mut header, mut data) = (Map::new(), Vec::<u8>::new());
    let mut tensor = |name: String, shape: Vec<usize>, by: f32| {
        let start = data.len();
        for _ in 0..shape.iter().product() {
            data.extend(noise(by).to_le_bytes());
        }
        header.insert(
            name,
            json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}),
        );
    };
    let mut inputs = 3;
    for number in 0..=convs {
        tensor(
            format!("body.{}.weight", 2 * number),
            vec![features, inputs, 3, 3],
            0.2,
        );
        tensor(format!("body.{}.bias", 2 * number), vec![features], 0.1);
        tensor(
            format!("body.{}.weight", 2 * number + 1),
            vec![features],
            0.5,
        );
        inputs = features;
    }
    let (last, by) = (2 * (convs + 1), if adds { 0.01 } else { 0.0 });
    let outputs = 3 * scale * scale;
    tensor(
        format!("body.{last}.weight"),
        vec![outputs, features, 3, 3],
        by,
    );
    tensor(format!("body.{last}.bias"), vec![outputs], by);
    let header = Value::Object(header).to_string();
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &data,
    ]
    .concat()
}

fn put(daemon: &Daemon, name: &str, bytes: &[u8]) {
    let folder = daemon.home().data().join("upscalers");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([7 * x, 5 * y, 3 * x + 11 * y].map(|value| u8::try_from(value % 256).unwrap()))
    })
}

fn open(daemon: &Daemon, path: &str) -> RgbImage {
    image::open(daemon.work().join(path)).unwrap().into_rgb8()
}

fn run(daemon: &Daemon, arguments: &str) -> Run {
    daemon.run(arguments.split(' '))
}

#[test]
fn pictures_are_enlarged_by_the_upscaler_that_is_named() {
    let daemon = Daemon::start();
    assert!(run(&daemon, "upscale --list --json").ok().stdout.is_empty());
    put(&daemon, "2x-Twice.safetensors", &compact(8, 1, 2, false));
    picture(300, 21).save(daemon.work().join("a.png")).unwrap();
    picture(9, 40).save(daemon.work().join("b.png")).unwrap();

    // The only one there is, in two tiles; the network repeats each pixel.
    let events = run(&daemon, "upscale a.png --json").ok().json();
    let of = |kind: &str| {
        events
            .iter()
            .find(|object| object["event"] == kind)
            .unwrap()
    };
    assert_eq!(of("started")["evaluation_count"], 2);
    let settings = &of("image")["settings"];
    assert_eq!(
        (&settings["width_px"], &settings["height_px"]),
        (&600.into(), &42.into())
    );
    assert_eq!(settings["upscale"]["upscaler"], "2x-Twice");
    assert_eq!(settings["upscale"]["scale"], 2.0);
    let text = of("image")["parameters"].as_str().unwrap();
    assert!(
        text.starts_with("Upscale by: 2, Upscaler: 2x-Twice"),
        "{text}"
    );
    let doubled = |before: &RgbImage| {
        RgbImage::from_fn(2 * before.width(), 2 * before.height(), |x, y| {
            *before.get_pixel(x / 2, y / 2)
        })
    };
    assert!(open(&daemon, "a-2x-twice.png") == doubled(&picture(300, 21)));

    // Several, into a folder, by a name in other letters.
    fs::create_dir(daemon.work().join("out")).unwrap();
    let written = run(&daemon, "upscale a.png b.png -m 2X-twice -o out/").ok();
    assert_eq!(written.stdout, "out/a-2x-twice.png\nout/b-2x-twice.png\n");
    assert!(open(&daemon, "out/b-2x-twice.png") == doubled(&picture(9, 40)));

    // Another factor.
    run(&daemon, "upscale b.png --scale 1 -o same.png").ok();
    assert_eq!(open(&daemon, "same.png").dimensions(), (9, 40));

    // Alpha.
    let see_through = RgbaImage::from_pixel(6, 4, Rgba([200, 100, 50, 99]));
    see_through.save(daemon.work().join("alpha.png")).unwrap();
    run(&daemon, "upscale alpha.png -o more.webp").ok();
    let more = image::open(daemon.work().join("more.webp"))
        .unwrap()
        .into_rgba8();
    assert_eq!(more.dimensions(), (12, 8));
    assert!(more.pixels().all(|pixel| pixel.0 == [200, 100, 50, 99]));

    // What the picture said is kept, and replay knows what it was.
    run(
        &daemon,
        "generate apple --seed 3 --size 64x48 --steps 2 -o drawn.png",
    )
    .ok();
    let events = run(&daemon, "upscale drawn.png -o larger.png --json")
        .ok()
        .json();
    let image = events
        .iter()
        .find(|object| object["event"] == "image")
        .unwrap();
    let text = image["parameters"].as_str().unwrap();
    assert!(text.starts_with("apple\nSteps: 2, "), "{text}");
    assert!(
        text.ends_with(", Upscale by: 2, Upscaler: 2x-Twice"),
        "{text}"
    );
    let replayed = run(&daemon, "replay larger.png -o again.png");
    assert!(
        replayed.stderr.contains("enlarged by `2x-Twice`"),
        "{}",
        replayed.stderr
    );
    assert!(open(&daemon, "again.png") == open(&daemon, "drawn.png"));

    // Listed, and freed like a model.
    let listed = run(&daemon, "upscale --list --json").ok().json();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["is_loaded"]),
        (&"2x-Twice".into(), &true.into())
    );
    assert!(run(&daemon, "ps").ok().stdout.contains("2x-Twice"));
    run(&daemon, "unload 2x-Twice").ok();
    assert!(!run(&daemon, "ps").ok().stdout.contains("2x-Twice"));
    let history = run(&daemon, "history").ok().stdout;
    assert!(
        history.contains("(a picture enlarged by 2X-twice)"),
        "{history}"
    );
}

#[test]
fn a_killed_daemon_goes_on_with_the_same_bytes() {
    let home = Home::with_config("save_interval = \"0\"\n");
    let mut daemon = Daemon::start_in(home, |_| {});
    put(&daemon, "slow.safetensors", &compact(64, 16, 2, true));
    picture(1500, 700)
        .save(daemon.work().join("large.png"))
        .unwrap();
    let id = run(&daemon, "upscale large.png --detach").ok().stdout;
    let id = id.trim();
    let show = format!("jobs show {id} --json");
    let saved = |daemon: &Daemon| {
        let shown = run(daemon, &show).json();
        let in_flight = &shown.first()?["in_flight"][0];
        let number = |name: &str| in_flight[name].as_u64();
        Some((number("evaluations_saved")?, number("evaluation_count")?))
    };
    let is_begun = || saved(&daemon).is_some_and(|(saved, _)| saved >= 2);
    assert!(
        processes::within(Duration::from_secs(120), is_begun),
        "{}",
        daemon.log()
    );
    let (_, count) = saved(&daemon).unwrap();
    assert_eq!(count, 18, "three rows of six tiles");
    daemon.kill();
    daemon.start_again();
    daemon.wait_until_it_listens();
    run(&daemon, &format!("attach {id} -o interrupted.png")).ok();
    run(&daemon, "upscale large.png -o straight.png").ok();
    let [interrupted, straight] =
        ["interrupted.png", "straight.png"].map(|name| fs::read(daemon.work().join(name)).unwrap());
    assert!(interrupted == straight, "{}", daemon.log());
    assert_eq!(open(&daemon, "straight.png").dimensions(), (3000, 1400));
}

#[test]
fn what_cannot_be_enlarged_is_told() {
    let daemon = Daemon::start();
    picture(8, 8).save(daemon.work().join("a.png")).unwrap();
    picture(5000, 4)
        .save(daemon.work().join("wide.png"))
        .unwrap();
    fs::write(daemon.work().join("b.txt"), "text").unwrap();
    let refused = |arguments: &str, code: i32, said: &str| {
        let run = run(&daemon, arguments);
        assert!(
            run.code == code && run.stderr.contains(said),
            "{arguments}: {} {}",
            run.code,
            run.stderr
        );
    };
    refused("upscale a.png", 2, "there is no upscaler in");
    put(&daemon, "4x-Tiny.safetensors", &compact(8, 1, 4, true));
    put(&daemon, "pickle.safetensors", b"PK\x03\x04archive");
    put(&daemon, "none.safetensors", &no_upscaler());
    refused("upscale a.png", 2, "several upscalers");
    refused("upscale a.png -m 5x-Tiny", 2, "`4x-Tiny`");
    refused(
        "upscale a.png -m a//b",
        2,
        "neither a name nor an absolute path",
    );
    refused("upscale b.txt -m 4x-Tiny", 2, "`b.txt`: it is no PNG");
    refused("upscale c.png -m 4x-Tiny", 2, "`c.png`: cannot read");
    refused("upscale a.png -m 4x-Tiny --scale 17", 2, "0.25 to 16");
    refused("upscale wide.png -m 4x-Tiny", 2, "at most 16384 on a side");
    refused(
        "upscale a.png wide.png -m 4x-Tiny -o one.png",
        2,
        "-o names one file",
    );
    refused("upscale a.png a.png -m 4x-Tiny -o -", 2, "standard output");
    let model = model_code(&daemon);
    refused("upscale a.png -m pickle", model, "pickle or zip file");
    refused(
        "upscale a.png -m none",
        model,
        "no upscaler of a known kind",
    );
    // The daemon lives, and its worker too.
    run(&daemon, "upscale a.png -m 4x-Tiny -o a4.png").ok();
    assert_eq!(open(&daemon, "a4.png").dimensions(), (32, 32));
}

fn no_upscaler() -> Vec<u8> {
    let header = json!({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}});
    let header = header.to_string();
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &[0; 4],
    ]
    .concat()
}

/// The exit code of a model whose file is wrong.
fn model_code(daemon: &Daemon) -> i32 {
    fs::write(daemon.work().join("wrong.safetensors"), no_upscaler()).unwrap();
    run(daemon, "generate apple -m wrong.safetensors -o wrong.png").code
}
