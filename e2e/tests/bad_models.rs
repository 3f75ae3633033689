//! Damaged and hostile models: each a clear error that names the file, and a daemon that still answers.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use imgd_e2e::{
    Daemon,
    refusal::{FAILED, USAGE, check, report, still_answers},
    repository,
};

/// The starter model's directory with every file a link, below `home`.
fn model(home: &Path, name: &str) -> PathBuf {
    let starter = repository().join("models/starter");
    let target = home.join("models").join(name);
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(target.join(&folder)).unwrap();
        for entry in fs::read_dir(starter.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                symlink(entry.path(), target.join(path)).unwrap();
            }
        }
    }
    target
}

/// Puts `bytes` in the place of a link.
fn replace(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Changes one word of a text file.
fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    replace(path, text.replacen(from, to, 1));
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

#[test]
fn damaged_and_hostile_models_are_refused_in_clear_words() {
    let daemon = Daemon::start();
    type Damage = fn(&Path);
    let cases: &[(&str, Damage, &[&str])] = &[
        (
            "no_index",
            |m| fs::remove_file(m.join("model_index.json")).unwrap(),
            &["model_index.json"],
        ),
        (
            "bad_json",
            |m| replace(&m.join("unet/config.json"), "{\"a\": 1,"),
            &["unet/config.json", "line"],
        ),
        (
            "no_weights",
            |m| fs::remove_file(m.join(UNET)).unwrap(),
            &["unet", "safetensors"],
        ),
        (
            "pickle",
            |m| {
                fs::remove_file(m.join(UNET)).unwrap();
                fs::write(m.join("unet/diffusion_pytorch_model.bin"), b"PK\x03\x04").unwrap();
            },
            &["pickle", "safetensors", "diffusion_pytorch_model.bin"],
        ),
        (
            "renamed_pickle",
            |m| replace(&m.join(UNET), [b"PK\x03\x04".as_slice(), &[0; 64]].concat()),
            &["diffusion_pytorch_model.safetensors"],
        ),
        (
            "truncated",
            |m| {
                let bytes = fs::read(m.join(UNET)).unwrap();
                replace(&m.join(UNET), &bytes[..bytes.len() / 2]);
            },
            &["diffusion_pytorch_model.safetensors"],
        ),
        (
            "empty",
            |m| replace(&m.join(UNET), b""),
            &["diffusion_pytorch_model.safetensors"],
        ),
        (
            "header_bomb",
            |m| {
                replace(
                    &m.join(UNET),
                    [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat(),
                )
            },
            &["diffusion_pytorch_model.safetensors"],
        ),
        (
            "shapes",
            |m| {
                edit(
                    &m.join("unet/config.json"),
                    "\"cross_attention_dim\": 256",
                    "\"cross_attention_dim\": 255",
                )
            },
            &["attn2.to_k.weight", "255", "256"],
        ),
        (
            "huge_config",
            |m| {
                edit(
                    &m.join("unet/config.json"),
                    "\"cross_attention_dim\": 256",
                    "\"cross_attention_dim\": 9007199254740993",
                )
            },
            &["unet"],
        ),
        (
            "class",
            |m| {
                edit(
                    &m.join("model_index.json"),
                    "\"StableDiffusionPipeline\"",
                    "\"FluxPipeline\"",
                )
            },
            &["FluxPipeline"],
        ),
        (
            "no_vocabulary",
            |m| fs::remove_file(m.join("tokenizer/vocab.json")).unwrap(),
            &["tokenizer"],
        ),
        (
            "fifo",
            |m| {
                fs::remove_file(m.join(UNET)).unwrap();
                let made = std::process::Command::new("mkfifo")
                    .arg(m.join(UNET))
                    .status()
                    .unwrap();
                assert!(made.success());
            },
            &["diffusion_pytorch_model.safetensors"],
        ),
    ];
    report(cases.iter().map(|(name, damage, words)| {
        let model = model(daemon.home().path(), name);
        damage(&model);
        let path = model.to_str().unwrap();
        check(&daemon, &["--model", path], &[FAILED, USAGE], words)
            .map_err(|error| format!("{name}: {error}"))
    }));
    still_answers(&daemon);
}
