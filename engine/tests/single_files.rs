//! Single files draw what the directories of the same weights draw, byte for byte. How the authors of the models name the
//! weights is in `tests/oracle/single_files.json`, which was checked against diffusers.

#![expect(clippy::unwrap_used, reason = "a test that cannot be made ready fails")]

#[path = "support/recipes.rs"]
mod recipes;
#[path = "support/safetensors.rs"]
mod safetensors;
mod support;

use std::collections::BTreeMap;
use std::fs;

use imgd_engine::checkpoint::{EmbeddedFile, Source};
use imgd_engine::recognise::recognise;
use imgd_engine::{ErrorKind, Model, OpenOptions, Precision, Request};
use recipes::{Recipe, models, single};
use safetensors::{Tensors, write};
use serde::Deserialize;
use serde_json::json;
use support::oracle::{cases, directory, write_part};

#[derive(Deserialize)]
struct Conventional {
    parts: BTreeMap<String, String>,
    tensors: Recipe,
}

/// Models with the constants of their kind, by the family's name.
fn conventional() -> BTreeMap<String, Conventional> {
    #[derive(Deserialize)]
    struct File {
        conventional: BTreeMap<String, Conventional>,
    }
    let bytes = fs::read(directory().join("single_files.json")).unwrap();
    serde_json::from_slice::<File>(&bytes).unwrap().conventional
}

fn open(source: &Source) -> Model {
    let options = OpenOptions {
        name: "model".into(),
        precision: Precision::F32,
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

#[test]
fn a_file_draws_what_its_directory_draws() {
    let all = cases();
    for (name, recipe) in models() {
        let case = all.iter().find(|case| case.name == name).unwrap();
        let root = tempfile::tempdir().unwrap();
        case.write_model(root.path());
        let request = case.request.to_engine(root.path(), 0);
        let expected = draw(&open(&Source::directory(root.path()).unwrap()), &request);
        assert_eq!(expected.len(), case.expected_pixels(0).len());
        // Its name says nothing.
        let file = root.path().join("whatever.bin.safetensors");
        fs::write(&file, write(&single(root.path(), &recipe))).unwrap();
        let config = Some(root.path().to_owned());
        let source = Source::single_file(&file, config, &[]).unwrap();
        let model = open(&source);
        assert!(draw(&model, &request) == expected, "{name}");
        for path in [file.as_path(), root.path()] {
            let recognised = recognise(path).unwrap().unwrap();
            assert_eq!(recognised.family, model.info().family, "{name}");
        }
    }
}

/// The tokenizer inside the program.
const ASSETS: &[EmbeddedFile] = &[
    EmbeddedFile {
        path: "tokenizer/vocab.json",
        bytes: include_bytes!("../../models/starter/tokenizer/vocab.json"),
    },
    EmbeddedFile {
        path: "tokenizer/merges.txt",
        bytes: include_bytes!("../../models/starter/tokenizer/merges.txt"),
    },
    EmbeddedFile {
        path: "tokenizer/tokenizer_config.json",
        bytes: include_bytes!("../../models/starter/tokenizer/tokenizer_config.json"),
    },
];

#[test]
fn a_file_with_conventional_constants_needs_nothing_beside_it() {
    for (kind, conventional) in conventional() {
        let root = tempfile::tempdir().unwrap();
        let is_xl = kind == "sdxl";
        let mut index = json!({
            "_class_name": if is_xl { "StableDiffusionXLPipeline" } else { "StableDiffusionPipeline" },
        });
        for (role, part) in &conventional.parts {
            write_part(part, &root.path().join(role));
            index[role] = json!(["", "X"]);
        }
        for tokenizer in ["tokenizer", "tokenizer_2"] {
            fs::create_dir(root.path().join(tokenizer)).unwrap();
            for asset in ASSETS {
                let name = asset.path.strip_prefix("tokenizer/").unwrap();
                let mut bytes = asset.bytes.to_vec();
                if name == "tokenizer_config.json" {
                    let padding = if tokenizer == "tokenizer_2" {
                        "!"
                    } else {
                        "<|endoftext|>"
                    };
                    bytes = json!({"model_max_length": 77, "pad_token": padding})
                        .to_string()
                        .into_bytes();
                }
                fs::write(root.path().join(tokenizer).join(name), bytes).unwrap();
            }
        }
        fs::write(root.path().join("model_index.json"), index.to_string()).unwrap();
        fs::create_dir(root.path().join("scheduler")).unwrap();
        fs::write(
            root.path().join("scheduler/scheduler_config.json"),
            json!({
                "_class_name": "EulerDiscreteScheduler",
                "beta_start": 0.00085,
                "beta_end": 0.012,
                "beta_schedule": "scaled_linear",
                "timestep_spacing": if is_xl { "leading" } else { "linspace" },
                "steps_offset": 1,
            })
            .to_string(),
        )
        .unwrap();
        let request = Request {
            negative_prompt: Some("blurry".into()),
            width_px: Some(48),
            height_px: Some(64),
            num_inference_steps: Some(3),
            guidance_scale: Some(4.0),
            sampler: Some("euler".into()),
            schedule: Some("karras".into()),
            ..Request::new("a red apple on a wooden table", 5)
        };
        let expected = draw(&open(&Source::directory(root.path()).unwrap()), &request);
        let file = root.path().join("model.safetensors");
        fs::write(&file, write(&single(root.path(), &conventional.tensors))).unwrap();
        let model = open(&Source::single_file(&file, None, ASSETS).unwrap());
        assert_eq!(model.info().family, kind);
        assert!(draw(&model, &request) == expected, "{kind}");
        let recognised = recognise(&file).unwrap().unwrap();
        assert_eq!(
            (recognised.family, recognised.lacks),
            (kind.as_str(), vec![])
        );
        // Without the built-in tokenizer it says what is missing.
        let bare = Source::single_file(&file, None, &[]).unwrap();
        let error = imgd_engine::inspect(&bare, "bare", Precision::F32).unwrap_err();
        assert!(error.hint().unwrap().contains("--config"), "{error}");
    }
}

#[test]
fn files_that_are_no_model_are_refused_with_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("lora.safetensors");
    let tensors = Tensors::from([(
        "lora_unet_down.lora_up.weight".to_owned(),
        (vec![2, 2], vec![0.0; 4]),
    )]);
    fs::write(&path, write(&tensors)).unwrap();
    let source = Source::single_file(&path, None, &[]).unwrap();
    let error = imgd_engine::inspect(&source, "lora", Precision::F32).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelInvalid);
    assert!(error.hint().unwrap().contains("LoRA"), "{error}");
    assert_eq!(recognise(&path).unwrap(), None);
    let missing = Source::single_file(root.path().join("none.safetensors"), None, &[]);
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    let pickle = root.path().join("model.ckpt");
    fs::write(&pickle, b"PK\x03\x04").unwrap();
    let error = Source::single_file(&pickle, None, &[]).unwrap_err();
    assert!(error.to_string().contains("pickle"), "{error}");
}

/// Sides of a patch whose product leaves 64 bits, of a tensor without numbers.
#[test]
fn sizes_that_only_an_empty_tensor_can_have_are_no_sizes() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("sd3.safetensors");
    let mut tensors = Tensors::from([(
        "model.diffusion_model.x_embedder.proj.weight".to_owned(),
        (vec![0, 1, 1 << 32], Vec::new()),
    )]);
    for name in [
        "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",
        "text_encoders.clip_l.transformer.text_model.a.weight",
        "text_encoders.clip_g.transformer.text_model.a.weight",
        "first_stage_model.decoder.conv_in.weight",
    ] {
        tensors.insert(name.to_owned(), (vec![3], vec![0.0; 3]));
    }
    fs::write(&path, write(&tensors)).unwrap();
    let source = Source::single_file(&path, None, &[]).unwrap();
    let error = imgd_engine::inspect(&source, "sd3", Precision::F32).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelInvalid, "{error}");
}
