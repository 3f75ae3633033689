//! A ControlNet steers the pictures that ask for it, by name and by path, also after the daemon has gone down, and is told.

use std::{collections::BTreeMap, path::Path};

use imgd_e2e::{Daemon, repository};
use serde_json::{Value, json};

/// Channels of the convolutions that see the picture, the last those of the starter's first layer.
const HINTS: [(usize, usize); 8] = [
    (3, 4),
    (4, 4),
    (4, 8),
    (8, 8),
    (8, 8),
    (8, 8),
    (8, 16),
    (16, 96),
];
/// Channels of the starter's results on the way down.
const RESULTS: [usize; 6] = [96, 96, 96, 192, 192, 256];

/// The tensors of a safetensors file of f16: shape and bytes.
fn read(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(path).expect("the starter's weights");
    let (length, rest) = bytes.split_first_chunk::<8>().expect("a header");
    let (header, data) =
        rest.split_at(usize::try_from(u64::from_le_bytes(*length)).expect("a header"));
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).expect("a header");
    let tensors = header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__");
    tensors
        .map(|(name, entry)| {
            let list = |key: &str| -> Vec<usize> {
                serde_json::from_value(entry[key].clone()).expect("numbers")
            };
            let range = list("data_offsets");
            (name, (list("shape"), data[range[0]..range[1]].to_vec()))
        })
        .collect()
}

/// Numbers of f16 between -0.5 and 0.5.
fn numbers(count: usize) -> Vec<u8> {
    let sign_and_size = |i: usize| {
        let exponent = 0x2c00 + (i * 37 % 7) * 0x200;
        u16::try_from(exponent + (i * 29 % 2) * 0x8000).expect("sixteen bits")
    };
    (0..count)
        .flat_map(|i| sign_and_size(i).to_le_bytes())
        .collect()
}

/// Writes a ControlNet for the starter: a copy of half of its network, as they all begin, and convolutions of its own.
fn write_control_net(path: &Path) {
    let unet = repository().join("models/starter/unet/diffusion_pytorch_model.safetensors");
    let mut tensors = read(&unet);
    let copied = ["conv_in.", "time_embedding.", "down_blocks.", "mid_block."];
    tensors.retain(|name, _| copied.iter().any(|prefix| name.starts_with(prefix)));
    let mut add = |name: String, rows: usize, columns: usize, kernel: usize| {
        let shape = vec![rows, columns, kernel, kernel];
        let count = rows * columns * kernel * kernel;
        tensors.insert(format!("{name}.weight"), (shape, numbers(count)));
        tensors.insert(format!("{name}.bias"), (vec![rows], vec![0; 2 * rows]));
    };
    for (at, (from, to)) in HINTS.into_iter().enumerate() {
        let name = match at {
            0 => "conv_in".to_owned(),
            7 => "conv_out".to_owned(),
            _ => format!("blocks.{}", at - 1),
        };
        add(format!("controlnet_cond_embedding.{name}"), to, from, 3);
    }
    for (at, channels) in RESULTS.into_iter().enumerate() {
        add(
            format!("controlnet_down_blocks.{at}"),
            channels,
            channels,
            1,
        );
    }
    add("controlnet_mid_block".to_owned(), 256, 256, 1);
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, (shape, bytes)) in &tensors {
        let from = data.len();
        data.extend_from_slice(bytes);
        let entry = json!({"dtype": "F16", "shape": shape, "data_offsets": [from, data.len()]});
        header.insert(name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let file = [&length[..], header.as_bytes(), &data].concat();
    std::fs::write(path, file).expect("a ControlNet");
}

#[test]
fn control_nets_steer_are_told_and_outlive_the_daemon() {
    let mut daemon = Daemon::start();
    let file = daemon
        .home()
        .data()
        .join("controlnets/own/edges.safetensors");
    write_control_net(&file);
    let common = ["a red apple", "--seed", "3", "--steps", "4"];
    let draw = |daemon: &Daemon, more: &[&str], to: &str| {
        let run = ["generate"].into_iter().chain(common);
        let run = daemon
            .run(run.chain(more.iter().copied()).chain(["-o", to]))
            .ok();
        let bytes = std::fs::read(daemon.work().join(to)).expect("the picture");
        (run.stdout, bytes)
    };
    let (_, plain) = draw(&daemon, &["--size", "64x96"], "plain.png");
    let by_name = "edges=plain.png,canny=50:150,weight=0.9,end=0.75";
    let (told, named) = draw(&daemon, &["--control", by_name, "--json"], "named.png");
    assert!(named != plain, "it steers");
    let images: Vec<Value> = told
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["event"] == "image")
        .collect();
    let settings = &images[0]["settings"];
    assert_eq!(
        (&settings["width_px"], &settings["height_px"]),
        (&json!(64), &json!(96)),
        "the size is the map's"
    );
    let used = &settings["controls"][0];
    for (key, value) in [
        ("name", json!("edges")),
        ("weight", json!(0.9)),
        ("end", json!(0.75)),
        ("preprocess", json!("canny")),
        ("canny_low", json!(50)),
    ] {
        assert_eq!(used[key], value, "{used}");
    }
    let text = String::from_utf8_lossy(&named);
    assert!(
        text.contains("ControlNet 0: \"Module: canny, Model: edges ["),
        "A1111's text names it"
    );
    let by_path = by_name.replace("edges", &file.display().to_string());
    let (_, from_path) = draw(&daemon, &["--control", &by_path], "path.png");
    assert!(from_path == named, "a path is the same as a name");
    let (_, again) = draw(&daemon, &["--size", "64x96"], "again.png");
    assert!(again == plain, "the model is what it was");

    for (control, part) in [
        ("edgs=plain.png", "no ControlNet `edgs`"),
        ("edges=nowhere.png", "cannot read the picture"),
        ("edges=plain.png,weight=11", "-10 to 10"),
        (
            "edges=plain.png,start=0.5,end=0.5",
            "--control: start is 0.5",
        ),
    ] {
        let run = ["generate"].into_iter().chain(common);
        let refused = daemon.run(run.chain(["--control", control]));
        assert_eq!(refused.code, 2, "{control}: {}", refused.stderr);
        assert!(
            refused.stderr.contains(part),
            "{control}: {}",
            refused.stderr
        );
    }

    // What waits when the daemon goes down is made with the same map.
    let submit = [
        "generate",
        "a red apple",
        "--seed",
        "3",
        "--steps",
        "4",
        "--detach",
    ];
    let job = daemon
        .run(submit.into_iter().chain(["--control", by_name]))
        .ok()
        .stdout;
    daemon.kill();
    daemon.start_again();
    let job = job.trim();
    daemon.run(["attach", job]).ok();
    daemon.run(["get", job, "-o", "kept.png"]).ok();
    let kept = std::fs::read(daemon.work().join("kept.png")).expect("the picture");
    assert!(kept == named, "the journal has the map");
    let replayed = daemon.run(["replay", "named.png"]);
    assert!(
        replayed.stderr.contains("ControlNet"),
        "{}",
        replayed.stderr
    );
}
