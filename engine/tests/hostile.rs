//! Models that lie end in errors that say what is wrong: each family, one file spoilt at a time.

#![expect(clippy::unwrap_used, reason = "a test that cannot be made ready fails")]

#[expect(dead_code, reason = "models are made here, and no picture is compared")]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use imgd_engine::checkpoint::Source;
use imgd_engine::{ErrorKind, Model, OpenOptions, Precision, Result};
use serde_json::{Value, json};
use support::oracle::cases;

fn open(root: &Path) -> Result<Model> {
    let options = OpenOptions {
        name: "model".into(),
        precision: Precision::F32,
        progress: None,
    };
    Model::open(&Source::Directory(root.to_owned()), &options)
}

/// How a model of every kind that has `file` fails when `key` of it is `value`.
fn refused(file: &str, key: &str, value: &Value) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut messages = Vec::new();
    for case in cases() {
        let root = tempfile::tempdir().unwrap();
        case.write_model(root.path());
        let read = |file: &str| -> Option<Value> {
            serde_json::from_slice(&fs::read(root.path().join(file)).ok()?).ok()
        };
        let class = read("model_index.json").unwrap()["_class_name"].to_string();
        let Some(mut fields) = read(file) else {
            continue;
        };
        if !seen.insert(class) {
            continue;
        }
        fields[key] = value.clone();
        fs::write(root.path().join(file), fields.to_string()).unwrap();
        let Err(error) = open(root.path()) else {
            panic!("{}: {key} may be {value}", case.name);
        };
        assert_eq!(error.kind(), ErrorKind::ModelInvalid, "{error}");
        messages.push(error.to_string());
    }
    messages
}

#[test]
fn channels_of_latents_are_bounded_before_they_are_multiplied() {
    for channels in [0, 257, 1_u64 << 62, u64::MAX] {
        let messages = refused("vae/config.json", "latent_channels", &json!(channels));
        assert!(messages.len() > 4, "{messages:?}");
        for message in messages {
            assert!(message.contains("latent_channels"), "{message}");
        }
    }
}
