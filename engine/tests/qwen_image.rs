//! Qwen-Image: pictures closer to diffusers' than what a prompt changes in a tiny model, files under other names, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot be made ready fails")]

#[path = "support/gguf.rs"]
mod gguf;
#[path = "support/safetensors.rs"]
mod safetensors;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gguf::Stored;
use imgd_engine::checkpoint::Source;
use imgd_engine::{Error, ErrorKind, Generation, Model, OpenOptions, Precision, Request};
use safetensors::{Tensors, read, write};
use serde_json::{Value, json};
use support::oracle::{Case, cases, directory};

/// The greatest difference of a channel, of 255.
const MAX_DIFFERENCE: u8 = 1;
/// The greatest mean difference, of 255. Another prompt changes 0.06 and more, other positions likewise.
const MEAN_DIFFERENCE: f64 = 0.01;
/// The least signal of eight bits beside what they lose, in decibels.
const LEAST_PSNR: f64 = 35.0;

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

fn try_open(source: &Source) -> imgd_engine::Result<Model> {
    let options = OpenOptions {
        name: "model".to_owned(),
        precision: Precision::F32,
        progress: None,
    };
    Model::open(source, &options)
}

fn open(root: &Path) -> Model {
    try_open(&Source::directory(root).unwrap()).unwrap()
}

fn finished(model: &Model, request: &Request) -> Generation {
    let mut generation = model.start(request).unwrap();
    while !generation.is_done() {
        for result in model.step(&mut [&mut generation]) {
            result.unwrap();
        }
    }
    generation
}

fn draw(model: &Model, request: &Request) -> Vec<u8> {
    let mut generation = finished(model, request);
    model.finish(&mut generation).unwrap().image.pixels
}

#[expect(clippy::cast_precision_loss, reason = "small pictures")]
fn difference(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let each = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = each.clone().map(u64::from).sum();
    (each.max().unwrap_or(0), sum as f64 / a.len() as f64)
}

#[test]
fn pictures_are_nearer_to_diffusers_than_what_a_prompt_changes() {
    let cases: Vec<Case> = cases()
        .into_iter()
        .filter(|case| case.name.contains("qwen-image"))
        .collect();
    assert!(cases.len() >= 13);
    for case in &cases {
        let root = tempfile::tempdir().unwrap();
        case.write_model(root.path());
        let model = open(root.path());
        let request = case.request.to_engine(root.path(), 0);
        let drawn = draw(&model, &request);
        let (max, mean) = difference(&drawn, &case.expected_pixels(0));
        println!("{}: max {max}, mean {mean:.5}", case.name);
        assert!(
            max <= MAX_DIFFERENCE && mean <= MEAN_DIFFERENCE,
            "{}: max {max}, mean {mean}",
            case.name
        );
        let other = draw(
            &model,
            &Request {
                prompt: "3d render of a glass teapot".to_owned(),
                ..request
            },
        );
        let (_, changed) = difference(&drawn, &other);
        assert!(changed > 2.0 * MEAN_DIFFERENCE, "{}: {changed}", case.name);
    }
}

#[test]
fn previews_have_the_colours_of_the_autoencoder() {
    let case = case("qwen-image");
    let root = tempfile::tempdir().unwrap();
    case.write_model(root.path());
    let model = open(root.path());
    let generation = finished(&model, &case.request.to_engine(root.path(), 0));
    let preview = model.preview(&generation, None).unwrap().image;
    assert_eq!((preview.width_px, preview.height_px), (8, 8));
    let first = &preview.pixels[..3];
    assert!(preview.pixels.chunks_exact(3).any(|pixel| pixel != first));
}

#[test]
fn a_prompt_that_is_too_long_is_told() {
    let case = case("qwen-image-long");
    let root = tempfile::tempdir().unwrap();
    case.write_model(root.path());
    let model = open(root.path());
    let request = case.request.to_engine(root.path(), 0);
    let fields = |request: &Request| -> Vec<String> {
        let generation = model.start(request).unwrap();
        let notices = generation.notices().iter();
        let cut = notices.filter(|notice| notice.reason == "prompt_truncated");
        cut.map(|notice| notice.field.clone()).collect()
    };
    assert_eq!(fields(&request), ["prompt", "negative_prompt"]);
    let whole = Request {
        max_sequence_length: Some(1024),
        ..request.clone()
    };
    assert!(fields(&whole).is_empty());
    let beyond = Request {
        max_sequence_length: Some(1025),
        ..request
    };
    let error = model.start(&beyond).err().unwrap();
    assert_eq!(error.field(), Some("max_sequence_length"));
}

/// The one safetensors file of a part.
fn weights_of(part: &Path) -> PathBuf {
    let files = fs::read_dir(part)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "safetensors"))
        .unwrap()
}

/// The tensors of a part, whose file is no more.
fn taken(root: &Path, part: &str) -> Tensors {
    let path = weights_of(&root.join(part));
    let tensors = read(&fs::read(&path).unwrap());
    fs::remove_file(path).unwrap();
    tensors
}

fn renamed(tensors: Tensors, rename: impl Fn(&str) -> String) -> Tensors {
    tensors
        .into_iter()
        .map(|(name, tensor)| (rename(&name), tensor))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "small pictures")]
fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
        .sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / squares).log10()
}

#[test]
fn a_transformer_in_a_file_draws_what_its_directory_draws() {
    let case = case("qwen-image-guided");
    for prefix in ["", "model.diffusion_model."] {
        let root = tempfile::tempdir().unwrap();
        case.write_model(root.path());
        let request = case.request.to_engine(root.path(), 0);
        let expected = draw(&open(root.path()), &request);
        let tensors = taken(root.path(), "transformer");
        let tensors = renamed(tensors, |name| format!("{prefix}{name}"));
        // Its name says nothing.
        let file = root.path().join("whatever");
        let from_file = || {
            let config = Some(root.path().to_owned());
            let model = try_open(&Source::single_file(&file, config, &[]).unwrap()).unwrap();
            assert_eq!(model.info().family, "qwen_image");
            draw(&model, &request)
        };
        fs::write(&file, write(&tensors)).unwrap();
        assert!(from_file() == expected, "{prefix}");
        fs::write(&file, gguf::write(&tensors, Stored::F32)).unwrap();
        assert!(from_file() == expected, "{prefix}");
        fs::write(&file, gguf::write(&tensors, Stored::Q8)).unwrap();
        let drawn = from_file();
        let psnr = psnr(&drawn, &expected);
        assert!(drawn != expected && psnr >= LEAST_PSNR, "{prefix}: {psnr}");
        // Alone it says what is missing.
        let bare = Source::single_file(&file, None, &[]).unwrap();
        let error = try_open(&bare).err().unwrap();
        assert!(error.hint().unwrap().contains("--config"), "{error}");
    }
}

/// transformers' names, and llama.cpp's.
const LLAMA: [(&str, &str); 12] = [
    ("model.", ""),
    ("embed_tokens.", "token_embd."),
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("layers.", "blk."),
];

#[test]
fn parts_have_the_names_of_whoever_made_their_files() {
    let case = case("qwen-image-img2img");
    let root = tempfile::tempdir().unwrap();
    case.write_model(root.path());
    let request = case.request.to_engine(root.path(), 0);
    let expected = draw(&open(root.path()), &request);
    let text: Tensors = taken(root.path(), "text_encoder")
        .into_iter()
        .filter(|(name, _)| !name.starts_with("visual."))
        .collect();
    // Newer files of transformers.
    let newer = renamed(text.clone(), |name| {
        name.replace("model.", "model.language_model.")
    });
    let file = root.path().join("text_encoder/model.safetensors");
    fs::write(&file, write(&newer)).unwrap();
    assert!(draw(&open(root.path()), &request) == expected);
    fs::remove_file(file).unwrap();
    let llama = renamed(text, |name| {
        let of = |name: String, (old, new): &(&str, &str)| name.replace(old, new);
        match LLAMA.iter().fold(name.to_owned(), of).as_str() {
            "norm.weight" => "output_norm.weight".to_owned(),
            "lm_head.weight" => "output.weight".to_owned(),
            name => name.to_owned(),
        }
    });
    let file = root.path().join("text_encoder/x.gguf");
    fs::write(file, gguf::write(&llama, Stored::F32)).unwrap();
    assert!(draw(&open(root.path()), &request) == expected);
    let names: BTreeMap<String, String> =
        serde_json::from_slice(&fs::read(directory().join("qwen_image_names.json")).unwrap())
            .unwrap();
    let own = taken(root.path(), "vae");
    let theirs: Tensors = names
        .into_iter()
        .map(|(theirs, name)| (theirs, own[&name].clone()))
        .collect();
    let file = root.path().join("whatever.safetensors");
    fs::write(&file, write(&theirs)).unwrap();
    let parts = BTreeMap::from([("vae".to_owned(), file)]);
    let source = Source::directory(root.path()).unwrap();
    let model = try_open(&source.with_parts(parts).unwrap()).unwrap();
    assert!(draw(&model, &request) == expected);
}

/// What sees pictures and what writes on is neither loaded nor counted.
#[test]
fn the_text_encoder_counts_as_what_is_loaded_of_it() {
    let case = case("qwen-image");
    let root = tempfile::tempdir().unwrap();
    case.write_model(root.path());
    let model = open(root.path());
    let parts = &model.info().components;
    let counted = parts.iter().find(|part| part.name == "text_encoder");
    let tensors = taken(root.path(), "text_encoder");
    let read = tensors.iter().filter(|(name, _)| {
        assert!(
            ["model.", "visual.", "lm_head."]
                .iter()
                .any(|known| name.starts_with(known))
        );
        name.starts_with("model.")
    });
    let expected: usize = read.map(|(_, (_, numbers))| numbers.len()).sum();
    assert_eq!(counted.unwrap().parameter_count, expected as u64);
}

/// How opening the model fails once a key of a part's configuration is another.
fn refused(root: &Path, file: &str, key: &str, value: Value) -> Error {
    let path = root.join(file);
    let text = fs::read(&path).unwrap();
    let mut config: Value = serde_json::from_slice(&text).unwrap();
    config[key] = value;
    fs::write(&path, config.to_string()).unwrap();
    let error = try_open(&Source::directory(root).unwrap()).err().unwrap();
    fs::write(&path, text).unwrap();
    error
}

#[test]
fn configurations_that_cannot_be_honoured_are_refused_by_key() {
    let case = case("qwen-image");
    let root = tempfile::tempdir().unwrap();
    case.write_model(root.path());
    let transformer = "transformer/config.json";
    for (file, key, value) in [
        (transformer, "guidance_embeds", json!(true)),
        (transformer, "use_layer3d_rope", json!(true)),
        (transformer, "use_additional_t_cond", json!(true)),
        (transformer, "in_channels", json!(32)),
        (transformer, "out_channels", json!(8)),
        (transformer, "num_layers", json!(u64::MAX)),
        (transformer, "num_attention_heads", json!(0)),
        (transformer, "axes_dims_rope", json!([4, 6])),
        (transformer, "axes_dims_rope", json!([4, 6, 8])),
        ("vae/config.json", "z_dim", json!(257)),
        ("vae/config.json", "z_dim", json!(0)),
        ("vae/config.json", "dim_mult", json!(vec![1; 9])),
        ("vae/config.json", "attn_scales", json!([0.5])),
        ("text_encoder/config.json", "text_config", json!({})),
    ] {
        let error = refused(root.path(), file, key, value.clone());
        assert_eq!(
            error.kind(),
            ErrorKind::ModelInvalid,
            "{key} {value}: {error}"
        );
        let named = match key {
            "text_config" => "vocab_size",
            key => key,
        };
        assert!(error.to_string().contains(named), "{key} {value}: {error}");
    }
    // It opens as it was.
    open(root.path());
}
