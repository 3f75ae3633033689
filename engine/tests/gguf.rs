//! GGUF files draw what the same weights draw in safetensors: the same bytes in single precision, nearly the same in blocks.

#![expect(clippy::unwrap_used, reason = "a test that cannot be made ready fails")]

#[path = "support/gguf.rs"]
mod gguf;
#[path = "support/recipes.rs"]
mod recipes;
#[path = "support/safetensors.rs"]
mod safetensors;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gguf::Stored;
use imgd_engine::checkpoint::Source;
use imgd_engine::{ErrorKind, Model, OpenOptions, Precision, Request};
use recipes::{models, single, weights_of};
use safetensors::{Tensors, read};
use support::oracle::{Case, cases};

/// The least signal of eight bits beside what they lose, in decibels.
const LEAST_PSNR: f64 = 35.0;

fn open(source: &Source, precision: Precision) -> Model {
    let options = OpenOptions {
        name: "model".into(),
        precision,
        progress: None,
    };
    Model::open(source, &options).unwrap()
}

fn draw(model: &Model, request: &Request) -> Vec<u8> {
    let mut generation = model.start(request).unwrap();
    while !generation.is_done() {
        for result in model.step(&mut [&mut generation]) {
            result.unwrap();
        }
    }
    model.finish(&mut generation).unwrap().image.pixels
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
        .sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / squares).log10()
}

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

fn directory_model(root: &Path) -> Model {
    open(&Source::directory(root).unwrap(), Precision::F32)
}

#[test]
fn a_single_file_draws_the_same_and_in_eight_bits_nearly_the_same() {
    for (name, recipe) in models() {
        let case = case(&name);
        let root = tempfile::tempdir().unwrap();
        case.write_model(root.path());
        let request = case.request.to_engine(root.path(), 0);
        let expected = draw(&directory_model(root.path()), &request);
        let tensors = single(root.path(), &recipe);
        let file = root.path().join("whatever");
        for stored in [Stored::F32, Stored::Q8] {
            fs::write(&file, gguf::write(&tensors, stored)).unwrap();
            let source = Source::single_file(&file, Some(root.path().into()), &[]).unwrap();
            let drawn = draw(&open(&source, Precision::F32), &request);
            match stored {
                Stored::F32 => assert!(drawn == expected, "{name}"),
                Stored::Q8 => {
                    let psnr = psnr(&drawn, &case.expected_pixels(0));
                    println!("{name}: {psnr:.1} dB");
                    assert!(drawn != expected && psnr >= LEAST_PSNR, "{name}: {psnr}");
                }
            }
        }
    }
}

/// transformers' names, and llama.cpp's.
const T5: [(&str, &str); 12] = [
    ("shared.", "token_embd."),
    ("encoder.final_layer_norm", "enc.output_norm"),
    ("encoder.block.", "enc.blk."),
    ("layer.0.layer_norm", "attn_norm"),
    (
        "layer.0.SelfAttention.relative_attention_bias",
        "attn_rel_b",
    ),
    ("layer.0.SelfAttention.", "attn_"),
    ("layer.1.layer_norm", "ffn_norm"),
    ("layer.1.DenseReluDense.wi_0", "ffn_gate"),
    ("layer.1.DenseReluDense.wi_1", "ffn_up"),
    ("layer.1.DenseReluDense.wo", "ffn_down"),
    ("encoder.embed_tokens.", "token_embd."),
    ("decoder.", "decoder."),
];
const QWEN3: [(&str, &str); 14] = [
    ("model.", ""),
    ("embed_tokens.", "token_embd."),
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("layers.", "blk."),
];

#[test]
fn text_encoders_have_llama_cpps_names_in_a_parts_directory() {
    for (name, part, names) in [
        ("flux-dev", "text_encoder_2", T5.as_slice()),
        ("z-image", "text_encoder", QWEN3.as_slice()),
    ] {
        let case = case(name);
        let root = tempfile::tempdir().unwrap();
        case.write_model(root.path());
        let request = case.request.to_engine(root.path(), 0);
        let expected = draw(&directory_model(root.path()), &request);
        let folder = root.path().join(part);
        let weights = weights_of(&folder);
        let renamed: Tensors = read(&fs::read(&weights).unwrap())
            .into_iter()
            .map(|(name, tensor)| {
                let mut name = names
                    .iter()
                    .fold(name, |name, (old, new)| name.replace(old, new));
                if name == "norm.weight" {
                    name = "output_norm.weight".into();
                }
                (name, tensor)
            })
            .collect();
        fs::remove_file(weights).unwrap();
        for stored in [Stored::F32, Stored::Q8] {
            fs::write(folder.join("x.gguf"), gguf::write(&renamed, stored)).unwrap();
            let drawn = draw(&directory_model(root.path()), &request);
            let psnr = psnr(&drawn, &expected);
            println!("{name} {part} {stored:?}: {psnr:.1} dB");
            assert!(stored == Stored::Q8 || drawn == expected, "{name}");
            assert!(psnr >= LEAST_PSNR, "{name}: {psnr}");
        }
        fs::write(folder.join("y.gguf"), b"").unwrap();
        let error = Source::directory(root.path()).unwrap().open_weights(part);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("several GGUF files"), "{error}");
    }
}

/// Blocks change nothing of the laws: a batch draws what its pictures draw alone, in both precisions.
#[test]
fn batched_pictures_in_blocks_equal_single_ones() {
    let recipe = &models()["flux-schnell"];
    let case = case("flux-schnell");
    let root = tempfile::tempdir().unwrap();
    case.write_model(root.path());
    let requests = [0, 1, 2].map(|number| case.request.to_engine(root.path(), number));
    let file = root.path().join("model.gguf");
    let tensors = single(root.path(), recipe);
    fs::write(&file, gguf::write(&tensors, Stored::Q8)).unwrap();
    let source = Source::single_file(&file, Some(root.path().into()), &[]).unwrap();
    for precision in [Precision::F32, Precision::Bf16] {
        let model = open(&source, precision);
        let alone = requests.each_ref().map(|request| draw(&model, request));
        let mut together = requests
            .each_ref()
            .map(|request| model.start(request).unwrap());
        while !together.iter().all(|generation| generation.is_done()) {
            let mut batch: Vec<_> = together.iter_mut().collect();
            for result in model.step(&mut batch) {
                result.unwrap();
            }
        }
        for (alone, generation) in alone.iter().zip(&mut together) {
            assert!(model.finish(generation).unwrap().image.pixels == *alone);
        }
    }
}

#[test]
fn parts_come_from_files_of_their_own() {
    let recipe = &models()["sd15-euler"];
    let case = case("sd15-euler");
    let root = tempfile::tempdir().unwrap();
    case.write_model(root.path());
    let request = case.request.to_engine(root.path(), 0);
    let expected = draw(&directory_model(root.path()), &request);
    let tensors = single(root.path(), recipe);
    // Every part as the authors name it, in a file of its own; none is left in the directory but the text encoder's name.
    let of = |prefix: &str, new: &str| -> Tensors {
        tensors
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, tensor)| (name.replace(prefix, new), tensor.clone()))
            .collect()
    };
    let parts = [
        ("vae", of("first_stage_model.", "")),
        (
            "unet",
            of("model.diffusion_model.", "model.diffusion_model."),
        ),
        ("text_encoder", of("cond_stage_model.transformer.", "")),
    ];
    let mut files = BTreeMap::new();
    for (part, tensors) in &parts {
        let file = root.path().join(format!("{part}.safetensors"));
        fs::write(&file, safetensors::write(tensors)).unwrap();
        files.insert((*part).to_owned(), file);
    }
    let base = || Source::directory(root.path()).unwrap();
    let source = base().with_parts(files.clone()).unwrap();
    assert!(draw(&open(&source, Precision::F32), &request) == expected);
    let mut unknown = files.clone();
    unknown.insert("vea".into(), files["vae"].clone());
    let source = base().with_parts(unknown).unwrap();
    let error = imgd_engine::inspect(&source, "model", Precision::F32).unwrap_err();
    assert!(error.hint().unwrap().contains("vae"), "{error}");
    let missing = BTreeMap::from([("vae".to_owned(), root.path().join("none.safetensors"))]);
    assert_eq!(
        base().with_parts(missing).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let pickle = BTreeMap::from([("vae".to_owned(), root.path().join("vae.pt"))]);
    let error = base().with_parts(pickle).unwrap_err().to_string();
    assert!(error.contains("pickle"), "{error}");
}
