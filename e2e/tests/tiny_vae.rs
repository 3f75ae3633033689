//! Tiny autoencoders through the real programs: previews by the one in the daemon's folder, and pictures with `--vae`.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::{fs, path::Path};

use imgd_e2e::{
    Daemon, Home,
    line::{self, Line},
};
use imgd_proto::v1::{GenerateRequest, ModelPart, generate_response::Event};
use serde_json::json;

/// Channels of the feature maps.
const WIDTH: usize = 16;

/// The starter's directory: the model inside the program takes no parts from files.
fn starter() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter");
    path.canonicalize().unwrap().display().to_string()
}

/// A decoder of 4 channels that makes 8 pixels of a latent, of numbers that look random, as ComfyUI's
/// `taesd_decoder.safetensors` names its layers: 0 is the clamp, 2 a ReLU, 4, 7 and 10 enlarge.
fn decoder() -> Vec<u8> {
    let mut state = 1u32;
    let (mut header, mut data) = (serde_json::Map::new(), Vec::<u8>::new());
    let mut put = |name: String, shape: &[usize], scale: f32, shift: f32| {
        let start = data.len();
        for _ in 0..shape.iter().product::<usize>() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0;
            data.extend((number * scale + shift).to_le_bytes());
        }
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name, entry);
    };
    put("1.weight".into(), &[WIDTH, 4, 3, 3], 0.3, 0.0);
    put("1.bias".into(), &[WIDTH], 0.05, 0.0);
    for block in [3, 6, 9, 12] {
        for conv in [0, 2, 4] {
            let weight = format!("{block}.conv.{conv}.weight");
            put(weight, &[WIDTH, WIDTH, 3, 3], 0.12, 0.0);
            put(format!("{block}.conv.{conv}.bias"), &[WIDTH], 0.05, 0.0);
        }
    }
    for conv in [5, 8, 11] {
        put(format!("{conv}.weight"), &[WIDTH, WIDTH, 3, 3], 0.12, 0.0);
    }
    put("13.weight".into(), &[3, WIDTH, 3, 3], 0.1, 0.0);
    put("13.bias".into(), &[3], 0.05, 0.5);
    let header = serde_json::Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &data].concat()
}

struct Drawn {
    /// Of each evaluation.
    previews: Vec<image::RgbImage>,
    picture: image::RgbImage,
}

fn draw(daemon: &Daemon, vae: Option<&Path>) -> Drawn {
    let part = |file: &Path| ModelPart {
        part: "vae".into(),
        file: file.display().to_string(),
    };
    let request = GenerateRequest {
        prompt: "a red apple".into(),
        model: starter(),
        model_parts: vae.map(part).into_iter().collect(),
        width_px: Some(64),
        height_px: Some(48),
        num_inference_steps: Some(3),
        sampler: "euler".into(),
        seed: Some(3),
        preview_every_n_steps: 1,
        ..GenerateRequest::default()
    };
    let read = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().to_rgb8();
    line::runtime().block_on(async {
        let line = Line::to(daemon.socket());
        let mut stream = line.images().generate(request).await.unwrap().into_inner();
        let (mut previews, mut bytes) = (Vec::new(), Vec::new());
        while let Some(response) = stream.message().await.unwrap() {
            match response.event {
                Some(Event::Step(step)) => previews.push(read(&step.preview.unwrap().png)),
                Some(Event::Image(chunk)) => bytes.extend_from_slice(&chunk.data),
                _ => {}
            }
        }
        Drawn {
            previews,
            picture: read(&bytes),
        }
    })
}

fn warnings(daemon: &Daemon) -> usize {
    daemon.log().matches("without a tiny autoencoder").count()
}

#[test]
fn a_folder_s_tiny_autoencoder_makes_previews_and_a_broken_one_spoils_nothing() {
    let daemon = Daemon::start();
    let linear = draw(&daemon, None);
    assert_eq!(linear.previews.len(), 3);
    assert_eq!(linear.previews[2].dimensions(), (8, 6));

    let folder = daemon.home().data().join("vae_approx");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("taesd_decoder.safetensors");
    fs::write(&file, b"broken").unwrap();
    let broken = draw(&daemon, None);
    assert!(broken.previews == linear.previews && broken.picture == linear.picture);
    assert_eq!(warnings(&daemon), 1, "{}", daemon.log());

    fs::write(&file, decoder()).unwrap();
    let tiny = draw(&daemon, None);
    assert!(tiny.picture == linear.picture, "previews change no picture");
    assert_eq!(tiny.previews.len(), 3);
    assert_eq!(tiny.previews[0].dimensions(), (64, 48));
    assert_eq!(warnings(&daemon), 1);

    // The last preview is the picture that the same file draws.
    let drawn = draw(&daemon, Some(&file)).picture;
    assert!(drawn != linear.picture);
    let pairs = drawn.as_raw().iter().zip(tiny.previews[2].as_raw());
    let difference = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(difference <= 1, "{difference}");
}

#[test]
fn a_decoder_draws_with_vae_and_says_what_it_cannot() {
    let home = Home::new();
    let approx = home.path().join("approx");
    fs::create_dir_all(&approx).unwrap();
    let daemon = Daemon::start_in(home, {
        let approx = approx.clone();
        move |command| {
            command.arg("--vae-approx-dir").arg(&approx);
        }
    });
    let file = approx.join("taesd_decoder.safetensors");
    fs::write(&file, decoder()).unwrap();
    let (model, vae) = (starter(), file.display().to_string());
    let run = |more: &[&str]| {
        let common = ["generate", "a red apple", "-m", &model, "--vae", &vae];
        let common = common
            .into_iter()
            .chain(["--steps", "3", "--size", "64x48"]);
        daemon.run(common.chain(more.iter().copied()))
    };
    run(&["--seed", "3", "--sampler", "euler", "-o", "tiny.png"]).ok();
    let path = daemon.work().join("tiny.png");
    let drawn = image::open(&path).unwrap().to_rgb8();
    let by_stream = draw(&daemon, Some(&file));
    assert!(drawn == by_stream.picture);
    // The folder of the flag.
    assert_eq!(by_stream.previews[0].dimensions(), (64, 48));

    let refused = run(&["--init-image", "tiny.png", "-o", "never.png"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("no encoder"), "{}", refused.stderr);
    assert!(refused.stderr.contains("both halves"), "{}", refused.stderr);
    assert!(!daemon.work().join("never.png").exists());
}
