//! Upscalers: what spandrel's networks make of pictures, the laws of tiles, and files and pictures that are refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot be made ready fails")]

#[expect(dead_code, reason = "files are written here, not read")]
#[path = "support/safetensors.rs"]
mod safetensors;

use std::fs;
use std::path::{Path, PathBuf};

use imgd_engine::image::{Format, Rgb8, read_metadata, read_rgb, size_of};
use imgd_engine::sampling::noise::Generator;
use imgd_engine::{
    ErrorKind, OpenOptions, Precision, UpscaleRequest, Upscaler, Upscaling, inspect_upscaler,
    plan_upscaling,
};
use safetensors::Tensors;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// A network, and the picture that the reference made with it.
#[derive(Deserialize)]
struct Case {
    name: String,
    weights: Weights,
    /// How much longer the network makes each side.
    own: u32,
    scale: Option<f64>,
}

/// How the program of the cases drew the weights of a network.
#[derive(Deserialize)]
struct Weights {
    seed: u64,
    sha256: String,
    tensors: Vec<(String, Vec<usize>)>,
    /// The last layer, by how much its weight is multiplied, and what is added to its bias.
    last: String,
    gain: f64,
    middle: f64,
    file: String,
}

fn oracle() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

fn cases() -> Vec<Case> {
    serde_json::from_slice(&fs::read(oracle().join("upscale_cases.json")).unwrap()).unwrap()
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

impl Weights {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "torch rounds the same way"
    )]
    fn draw(&self) -> Tensors {
        let mut generator = Generator::new("torch", self.seed).unwrap();
        let mut digest = Sha256::new();
        let mut all = Tensors::new();
        for (name, shape) in &self.tensors {
            let noise = generator.randn(shape.iter().product());
            let is_last = name
                .strip_prefix(&self.last)
                .is_some_and(|end| end.starts_with('.'));
            let (gain, middle) = if is_last {
                (self.gain, self.middle)
            } else {
                (1.0, 0.0)
            };
            let numbers: Vec<f32> = if shape.len() >= 2 {
                let fan_in: usize = shape[1..].iter().product();
                let scale = (1.5 * gain / (fan_in as f64).sqrt()) as f32;
                noise.iter().map(|value| value * scale).collect()
            } else if name.ends_with("bias") {
                noise
                    .iter()
                    .map(|value| value * 0.05 + middle as f32)
                    .collect()
            } else {
                noise.iter().map(|value| 0.5 + value * 0.25).collect()
            };
            for value in &numbers {
                digest.update(value.to_le_bytes());
            }
            all.insert(name.clone(), (shape.clone(), numbers));
        }
        let digest: String = digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            digest, self.sha256,
            "these are not the weights that the reference had"
        );
        all
    }

    fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join(&self.file);
        fs::write(&path, safetensors::write(&self.draw())).unwrap();
        path
    }
}

fn expected(file: &str) -> Rgb8 {
    let bytes = fs::read(oracle().join("expected").join(file)).unwrap();
    let size = size_of(&bytes, "image").unwrap();
    read_rgb(&bytes, size, "image").unwrap()
}

fn options(precision: Precision) -> OpenOptions {
    OpenOptions {
        name: "4x-Tiny".to_owned(),
        precision,
        progress: None,
    }
}

fn request(image: Vec<u8>, scale: Option<f64>) -> UpscaleRequest {
    UpscaleRequest {
        image: image.into(),
        scale,
    }
}

fn to_the_end(upscaler: &Upscaler, mut upscaling: Upscaling) -> Upscaling {
    while !upscaling.is_done() {
        upscaler.step(&mut upscaling).unwrap();
    }
    upscaling
}

fn made(upscaler: &Upscaler, request: &UpscaleRequest) -> Rgb8 {
    let upscaling = to_the_end(upscaler, upscaler.start(request).unwrap());
    upscaler.finish(upscaling).unwrap().image
}

/// Largest and mean difference of two pictures' numbers, of 255.
fn difference(a: &Rgb8, b: &Rgb8) -> (u8, f64) {
    assert_eq!((a.width_px, a.height_px), (b.width_px, b.height_px));
    let pairs = a.pixels.iter().zip(&b.pixels);
    let all: Vec<u8> = pairs.map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = all.iter().copied().map(f64::from).sum();
    (
        all.iter().copied().max().unwrap(),
        sum / f64::from(u32::try_from(all.len()).unwrap()),
    )
}

/// A picture of waves, as a file.
fn waves(width_px: u32, height_px: u32) -> Vec<u8> {
    let pixels = (0..height_px)
        .flat_map(|y| (0..width_px).flat_map(move |x| [x * y / 9, 4 * x, x + 3 * y]))
        .map(|value| u8::try_from(value % 256).unwrap())
        .collect();
    let picture = Rgb8 {
        width_px,
        height_px,
        pixels,
    };
    imgd_engine::image::encode(&picture, Format::Png, None).unwrap()
}

#[test]
fn pictures_equal_those_of_spandrels_networks() {
    let folder = tempfile::tempdir().unwrap();
    for case in cases() {
        let path = case.weights.write(folder.path());
        let before = oracle().join(format!("expected/upscale-{}-before.png", case.name));
        let request = request(fs::read(before).unwrap(), case.scale);
        let reference = expected(&format!("upscale-{}.png", case.name));
        let largest = |precision| {
            let upscaler = Upscaler::open(&path, &options(precision)).unwrap();
            assert_eq!(upscaler.info().scale, case.own, "{}", case.name);
            difference(&made(&upscaler, &request), &reference)
        };
        let (most, mean) = largest(Precision::F32);
        assert!(most <= 1 && mean < 0.01, "{}: {most}, {mean}", case.name);
        let (most, mean) = largest(Precision::Bf16);
        assert!(
            most <= 24 && mean < 1.5,
            "{} in bf16: {most}, {mean}",
            case.name
        );
    }
}

/// A tiny network of each kind.
const KINDS: &[&str] = &["sequence-x4", "unshuffle-x2", "compact-x4"];

/// What `law` says of a network of each kind and a picture of six tiles.
fn of_kinds(law: impl Fn(&str, &Upscaler, &UpscaleRequest)) {
    let folder = tempfile::tempdir().unwrap();
    for name in KINDS {
        let path = case(name).weights.write(folder.path());
        let upscaler = Upscaler::open(&path, &options(Precision::Bf16)).unwrap();
        let multiple = if *name == "unshuffle-x2" { 2 } else { 1 };
        let picture = waves(multiple * 515 + 1, multiple * 261 - 1);
        law(name, &upscaler, &request(picture, None));
    }
}

#[test]
fn an_enlargement_is_saved_and_restored_between_any_two_tiles() {
    of_kinds(|name, upscaler, request| {
        let straight = to_the_end(upscaler, upscaler.start(request).unwrap());
        let mut upscaling = upscaler.start(request).unwrap();
        assert_eq!(upscaling.tile_count(), 6, "{name}");
        loop {
            let saved = upscaling.save().unwrap();
            let restored = upscaler.restore(&saved).unwrap();
            assert_eq!(restored.restarted, None, "{name}");
            assert_eq!(
                restored.upscaling.tiles_done(),
                upscaling.tiles_done(),
                "{name}"
            );
            upscaling = restored.upscaling;
            if upscaling.is_done() {
                break;
            }
            upscaler.step(&mut upscaling).unwrap();
        }
        assert!(
            upscaling.save().unwrap() == straight.save().unwrap(),
            "{name}"
        );
        let [once, again] = [straight, upscaling].map(|done| upscaler.finish(done).unwrap());
        assert!(
            once.image == again.image && once.texts == again.texts,
            "{name}"
        );
        let size = size_of(&request.image, "image").unwrap();
        let scale = upscaler.info().scale;
        assert_eq!(
            (once.image.width_px, once.image.height_px),
            (size.0 * scale, size.1 * scale),
            "{name}"
        );
    });
}

#[test]
fn a_saved_enlargement_of_other_weights_begins_again_and_a_damaged_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let path = case(name).weights.write(folder.path());
        Upscaler::open(&path, &options(Precision::F32)).unwrap()
    };
    let (upscaler, other) = (open("sequence-x4"), open("body-x4"));
    let request = request(waves(300, 20), None);
    let mut upscaling = upscaler.start(&request).unwrap();
    upscaler.step(&mut upscaling).unwrap();
    let saved = upscaling.save().unwrap();
    let restored = other.restore(&saved).unwrap();
    assert_eq!(
        restored.restarted.as_deref(),
        Some("the model's weights have changed")
    );
    assert_eq!(restored.upscaling.tiles_done(), 0);
    for at in [0, 10, saved.len() / 2, saved.len() - 1] {
        let mut damaged = saved.clone();
        damaged[at] ^= 1;
        let error = upscaler.restore(&damaged).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ModelInvalid);
    }
    assert!(upscaler.restore(&saved[..20]).is_err());
}

#[test]
fn tiles_leave_no_seams() {
    let folder = tempfile::tempdir().unwrap();
    for name in KINDS {
        let path = case(name).weights.write(folder.path());
        let upscaler = Upscaler::open(&path, &options(Precision::F32)).unwrap();
        let (scale, multiple) = (
            upscaler.info().scale,
            if *name == "unshuffle-x2" { 2 } else { 1 },
        );
        // Two tiles; and what only the first one sees, which alone is one tile.
        let (width, height) = (multiple * 288, multiple * 24);
        let two = made(&upscaler, &request(waves(width, height), None));
        let alone = made(&upscaler, &request(waves(width * 8 / 9, height), None));
        // Tiny networks see less far than tiles overlap, so that not one number differs but by the order of sums.
        let kept = multiple * 144 * scale;
        let line = |picture: &Rgb8, y: u32| -> Vec<u8> {
            let at = 3 * (y * picture.width_px) as usize;
            picture.pixels[at..at + 3 * (kept as usize + 20)].to_vec()
        };
        for y in 0..height * scale {
            let pairs = line(&two, y).into_iter().zip(line(&alone, y));
            let most = pairs.map(|(a, b)| a.abs_diff(b)).max().unwrap();
            assert!(most <= 1, "{name}: row {y} differs by {most}");
        }
    }
}

#[test]
fn alpha_is_enlarged_and_what_the_file_said_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = case("body-x4").weights.write(folder.path());
    let upscaler = Upscaler::open(&path, &options(Precision::F32)).unwrap();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 8, 4);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let text = "an apple\nSteps: 4, Sampler: Euler, Seed: 1";
    encoder
        .add_text_chunk("parameters".to_owned(), text.to_owned())
        .unwrap();
    let mut writer = encoder.write_header().unwrap();
    let pixels: Vec<u8> = (0..32_u8)
        .flat_map(|i| [i * 8, 90, 255 - i * 8, if i % 8 < 4 { 0 } else { 255 }])
        .collect();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    let upscaling = upscaler.start(&request(file, Some(3.0))).unwrap();
    let upscaled = upscaler.finish(to_the_end(&upscaler, upscaling)).unwrap();
    let alpha = upscaled.alpha.clone().unwrap();
    assert_eq!(
        (upscaled.image.width_px, upscaled.image.height_px),
        (24, 12)
    );
    assert_eq!(alpha.len(), 24 * 12);
    for row in alpha.chunks(24) {
        // Lanczos swings a little.
        assert!(
            row[0] == 0 && row[5] < 8 && row[18] > 247 && row[23] == 255,
            "{row:?}"
        );
    }
    let bytes = upscaled.encode(Format::Png, true).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes))
        .read_info()
        .unwrap();
    assert_eq!(reader.info().color_type, png::ColorType::Rgba);
    let mut read = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut read).unwrap();
    assert!(
        read.iter()
            .skip(3)
            .step_by(4)
            .copied()
            .eq(alpha.iter().copied())
    );
    for format in [
        Format::Png,
        Format::WebpLossless,
        Format::Jpeg { quality: 90 },
    ] {
        let found = read_metadata(&upscaled.encode(format, true).unwrap()).unwrap();
        let said = found.parameters.unwrap();
        assert_eq!(said, format!("{text}, Upscale by: 3, Upscaler: 4x-Tiny"));
        let plain = read_metadata(&upscaled.encode(format, false).unwrap()).unwrap();
        assert_eq!(plain.parameters, None);
    }
}

#[test]
fn a_preview_shows_what_is_done_and_the_old_picture_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = case("compact-x4").weights.write(folder.path());
    let upscaler = Upscaler::open(&path, &options(Precision::F32)).unwrap();
    let mut upscaling = upscaler.start(&request(waves(600, 150), None)).unwrap();
    let before = upscaling.preview();
    assert_eq!((before.width_px, before.height_px), (256, 64));
    upscaler.step(&mut upscaling).unwrap();
    let first = upscaling.preview();
    let columns = |picture: &Rgb8, from: usize, to: usize| -> Vec<u8> {
        picture
            .pixels
            .chunks(3 * 256)
            .flat_map(|row| row[3 * from..3 * to].to_vec())
            .collect()
    };
    // Of three tiles the first is a third.
    assert_ne!(columns(&before, 0, 85), columns(&first, 0, 85));
    assert_eq!(columns(&before, 86, 256), columns(&first, 86, 256));
}

#[test]
fn settings_follow_from_the_request_without_loading() {
    let folder = tempfile::tempdir().unwrap();
    let path = case("unshuffle-x2").weights.write(folder.path());
    let info = inspect_upscaler(&path, Precision::F32).unwrap();
    assert_eq!((info.network, info.scale), ("RRDBNet", 2));
    let planned = |size: (u32, u32), scale| {
        let request = request(waves(size.0, size.1), scale);
        plan_upscaling(&path, "2x", Precision::F32, &request)
    };
    let (settings, tiles) = planned((1025, 33), None).unwrap();
    assert_eq!(
        (settings.width_px, settings.height_px, tiles),
        (2050, 66, 3)
    );
    assert_eq!(settings.scale, 2.0);
    let error = planned((8, 8), Some(0.1)).unwrap_err();
    assert_eq!(error.field(), Some("upscale_scale"));
    let error = planned((8192, 8), Some(4.0)).unwrap_err();
    assert_eq!(error.field(), Some("upscale_scale"));
    assert!(error.to_string().contains("16384"), "{error}");
}

#[test]
fn files_that_are_no_upscaler_are_refused_with_their_reason() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |file: &str, bytes: &[u8]| {
        let path = folder.path().join(file);
        fs::write(&path, bytes).unwrap();
        let error = Upscaler::open(&path, &options(Precision::F32))
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::ModelInvalid, "{file}");
        format!("{error} {}", error.hint().unwrap_or_default())
    };
    assert!(refused("a.pth", b"PK\x03\x04").contains("pickle"));
    assert!(refused("b.safetensors", b"PK\x03\x04zip").contains("pickle or zip"));
    let mut tensors = case("sequence-x4").weights.draw();
    let with = |tensors: &Tensors, name: &str, shape: &[usize]| {
        let mut tensors = tensors.clone();
        tensors.insert(
            name.to_owned(),
            (shape.to_vec(), vec![0.0; shape.iter().product()]),
        );
        safetensors::write(&tensors)
    };
    let plus = with(
        &tensors,
        "model.1.sub.0.RDB1.conv1x1.weight",
        &[32, 24, 1, 1],
    );
    assert!(refused("c.safetensors", &plus).contains("ESRGAN+"));
    let grey = with(&tensors, "model.0.weight", &[24, 1, 3, 3]);
    assert!(refused("d.safetensors", &grey).contains("RRDBNet of other sizes"));
    let lora = with(&Tensors::new(), "lora_unet_x.lora_up.weight", &[4, 4]);
    assert!(refused("e.safetensors", &lora).contains("a LoRA"));
    let none = with(&Tensors::new(), "weight", &[4, 4]);
    assert!(refused("f.safetensors", &none).contains("no upscaler of a known kind"));
    let shape = with(
        &tensors,
        "model.1.sub.1.RDB2.conv3.0.weight",
        &[32, 7, 3, 3],
    );
    assert!(refused("g.safetensors", &shape).contains("has the shape"));
    tensors.remove("model.1.sub.1.RDB3.conv5.0.bias");
    assert!(refused("h.safetensors", &safetensors::write(&tensors)).contains("missing"));
    let missing = folder.path().join("none.safetensors");
    let error = Upscaler::open(&missing, &options(Precision::F32))
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_network_that_gives_no_numbers_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = case("body-x4").weights.draw();
    let bias = tensors.get_mut("params_ema.conv_last.bias").unwrap();
    bias.1[1] = f32::NAN;
    let path = folder.path().join("nan.safetensors");
    fs::write(&path, safetensors::write(&tensors)).unwrap();
    let upscaler = Upscaler::open(&path, &options(Precision::F32)).unwrap();
    let mut upscaling = upscaler.start(&request(waves(8, 8), None)).unwrap();
    let error = upscaler.step(&mut upscaling).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Numerics);
}

#[test]
fn threads_change_no_byte() {
    of_kinds(|name, upscaler, request| {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| made(upscaler, request))
        };
        assert!(on(1) == on(3), "{name}");
    });
}
