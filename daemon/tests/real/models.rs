//! Model directories that are missing, damaged or hostile.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use imgd_proto::{Reason, v1};

use crate::{
    house::small,
    refusals::{Ask, Refusal},
};

pub(crate) const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// The starter model's own directory.
pub(crate) fn starter() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../models/starter")
        .canonicalize()
        .unwrap()
}

/// Puts a copy of the starter model at `target`; what is large is linked.
pub(crate) fn copy(target: &Path) {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(target.join(&folder)).unwrap();
        for entry in fs::read_dir(starter().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                symlink(entry.path(), target.join(path)).unwrap();
            }
        }
    }
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

/// A safetensors file with this header.
fn safetensors(header: &str) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

type Damage = fn(&Path);

/// What is done to a copy of the starter model.
const DAMAGES: &[(&str, Damage)] = &[
    ("no index", |m| {
        fs::remove_file(m.join("model_index.json")).unwrap()
    }),
    ("broken json", |m| {
        replace(&m.join("unet/config.json"), "{\"a\": 1,")
    }),
    ("deep json", |m| {
        replace(&m.join("unet/config.json"), "[".repeat(100_000))
    }),
    ("unknown class", |m| {
        edit(
            &m.join("model_index.json"),
            "\"StableDiffusionPipeline\"",
            "\"FluxPipeline\"",
        );
    }),
    ("no weights", |m| fs::remove_file(m.join(UNET)).unwrap()),
    ("only pickle", |m| {
        fs::remove_file(m.join(UNET)).unwrap();
        fs::write(m.join("unet/diffusion_pytorch_model.bin"), b"PK\x03\x04").unwrap();
    }),
    ("renamed pickle", |m| {
        replace(&m.join(UNET), [b"PK\x03\x04".as_slice(), &[0; 64]].concat());
    }),
    ("empty weights", |m| replace(&m.join(UNET), b"")),
    ("truncated weights", |m| {
        let bytes = fs::read(m.join(UNET)).unwrap();
        replace(&m.join(UNET), &bytes[..bytes.len() / 2]);
    }),
    ("header of 2^64 bytes", |m| {
        replace(
            &m.join(UNET),
            [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat(),
        );
    }),
    ("header of a million tensors", |m| {
        let tensors: Vec<_> = (0..1_000_000)
            .map(|index| {
                format!("\"{index}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}")
            })
            .collect();
        replace(
            &m.join(UNET),
            safetensors(&format!("{{{}}}", tensors.join(","))),
        );
    }),
    ("shape that overflows", |m| {
        let header =
            r#"{"a":{"dtype":"F32","shape":[4,4611686018427387905],"data_offsets":[0,16]}}"#;
        replace(&m.join(UNET), [safetensors(header), vec![0; 16]].concat());
    }),
    ("data beyond the end", |m| {
        let header = r#"{"a":{"dtype":"F32","shape":[1024],"data_offsets":[0,4096]}}"#;
        replace(&m.join(UNET), safetensors(header));
    }),
    ("shapes that do not match", |m| {
        let config = m.join("unet/config.json");
        edit(
            &config,
            "\"cross_attention_dim\": 256",
            "\"cross_attention_dim\": 255",
        );
    }),
    ("a dimension of 2^53", |m| {
        let config = m.join("unet/config.json");
        edit(
            &config,
            "\"cross_attention_dim\": 256",
            "\"cross_attention_dim\": 9007199254740993",
        );
    }),
    ("no vocabulary", |m| {
        fs::remove_file(m.join("tokenizer/vocab.json")).unwrap()
    }),
    ("a directory for weights", |m| {
        fs::remove_file(m.join(UNET)).unwrap();
        fs::create_dir(m.join(UNET)).unwrap();
    }),
    ("a device for weights", |m| {
        fs::remove_file(m.join(UNET)).unwrap();
        symlink("/dev/zero", m.join(UNET)).unwrap();
    }),
    ("a link to itself", |m| {
        fs::remove_file(m.join(UNET)).unwrap();
        symlink(m.join(UNET), m.join(UNET)).unwrap();
    }),
];

/// Each damaged model asked to be described, loaded and drawn with; and paths where no model is.
pub(crate) fn refusals(home: &Path) -> Vec<Refusal> {
    let damaged = DAMAGES.iter().flat_map(|(name, damage)| {
        let path = home.join("models").join(name.replace(' ', "_"));
        copy(&path);
        damage(&path);
        let reason = if name.starts_with("no ") {
            Reason::ModelNotFound
        } else {
            Reason::ModelInvalid
        };
        // What only loading shows cannot be told from headers.
        let shows_in_headers = !name.contains("shapes") && !name.contains("dimension");
        asks(name, path.to_str().unwrap(), reason, shows_in_headers)
    });
    let nowhere = [
        ("/nonexistent", Reason::ModelNotFound),
        ("/nonexistent/a/b", Reason::ModelNotFound),
        ("/etc/passwd/x", Reason::ModelNotFound),
        ("/etc", Reason::ModelNotFound),
        ("/", Reason::ModelNotFound),
        ("/etc/passwd", Reason::ModelInvalid),
        ("/dev/zero", Reason::ModelInvalid),
    ];
    let nowhere = nowhere
        .into_iter()
        .flat_map(|(path, reason)| asks(path, path, reason, true));
    damaged.chain(nowhere).collect()
}

fn asks(name: &str, path: &str, reason: Reason, shows_in_headers: bool) -> Vec<Refusal> {
    let model = path.to_owned();
    let generate = v1::GenerateRequest {
        model: model.clone(),
        ..small()
    };
    let load = v1::LoadModelRequest {
        model: model.clone(),
        ..v1::LoadModelRequest::default()
    };
    let mut asks = vec![
        ("draw with", Ask::Generate(Box::new(generate))),
        ("load", Ask::Load(load)),
    ];
    if shows_in_headers {
        asks.push(("describe", Ask::Describe(model)));
    }
    asks.into_iter()
        .map(|(verb, ask)| Refusal {
            name: format!("{verb} {name}"),
            ask,
            reason,
            field: "model",
        })
        .collect()
}
