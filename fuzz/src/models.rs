//! Tiny models of the engine's tests on disk, with weights that are small numbers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imgd_engine::{Model, OpenOptions, Precision, Request, Result, checkpoint::Source, plan};
use serde_json::{Map, Value, json};

use crate::{folder, repository, write};

/// A model of a family on disk, and its JSON files.
pub struct Files {
    /// The directory.
    pub root: PathBuf,
    /// Path and contents of each.
    pub files: Vec<(PathBuf, Vec<u8>)>,
}

/// One of each pipeline class of the engine's tests, by the class.
pub fn one_of_each() -> BTreeMap<String, Files> {
    let tests = tests();
    let mut models = BTreeMap::new();
    for list in ["cases.json", "more_cases.json", "qwen_image_cases.json"] {
        let list: Value = read_json(&tests.join(list));
        for case in list["cases"].as_array().expect("a list of cases") {
            let class = case["model_index"]["_class_name"].as_str().expect("a name");
            models
                .entry(class.to_owned())
                .or_insert_with(|| made(&folder().join(class), case, &tests));
        }
    }
    models
}

/// The files of the engine's tests.
pub fn tests() -> PathBuf {
    repository().join("engine/tests/oracle")
}

/// Reads a file of the engine's tests.
pub fn read_json(path: &Path) -> Value {
    let bytes = fs::read(path).expect("the engine's tests are there");
    serde_json::from_slice(&bytes).expect("they are JSON")
}

fn made(root: &Path, case: &Value, tests: &Path) -> Files {
    let text = case["scheduler_config"].as_str().expect("a text");
    let mut files = vec![
        (
            root.join("model_index.json"),
            case["model_index"].to_string().into_bytes(),
        ),
        (
            root.join("scheduler/scheduler_config.json"),
            text.as_bytes().to_vec(),
        ),
    ];
    for (folder, part) in case["parts"].as_object().expect("parts by folder") {
        let part = tests.join("parts").join(part.as_str().expect("a name"));
        for entry in fs::read_dir(part).expect("a part is a folder") {
            let path = entry.expect("a file").path();
            let name = path.file_name().expect("a name").to_owned();
            let to = root.join(folder).join(&name);
            if name == "weights.json" {
                let weights = read_json(&path);
                let file = weights["file"].as_str().expect("a name");
                write(&to.with_file_name(file), &safetensors(&weights));
            } else {
                files.push((to, fs::read(&path).expect("a file")));
            }
        }
    }
    files.retain(|(path, _)| {
        path.extension().is_some_and(|ending| ending == "json") || path.ends_with("merges.txt")
    });
    files.sort();
    for (path, bytes) in &files {
        write(path, bytes);
    }
    files.retain(|(_, bytes)| bytes.len() < 8192);
    files.push((root.join("imgd.json"), b"{}".to_vec()));
    Files {
        root: root.to_owned(),
        files,
    }
}

/// The tensors of `weights.json`, with small numbers of either sign.
pub fn safetensors(weights: &Value) -> Vec<u8> {
    let mut header = Map::new();
    let mut data = Vec::new();
    for tensor in weights["tensors"].as_array().expect("a list of tensors") {
        let shape: Vec<u64> = serde_json::from_value(tensor[1].clone()).expect("a shape");
        let start = data.len();
        for number in 0..shape.iter().product() {
            let number = (number * 37 % 101) as f32 / 500.0 - 0.1;
            data.extend(number.to_le_bytes());
        }
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(tensor[0].as_str().expect("a name").to_owned(), entry);
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &data].concat()
}

/// Opens a model and draws the smallest picture, with `request` for the rest: what is looked for is not in its pixels.
pub fn draw(root: &Path, request: Request) -> Result<()> {
    let source = Source::Directory(root.to_owned());
    plan(&source, "model", Precision::F32, &request)?;
    draw_with(&open(root)?, request)
}

/// Opens a model.
pub fn open(root: &Path) -> Result<Model> {
    let options = OpenOptions {
        name: "model".to_owned(),
        precision: Precision::F32,
        progress: None,
    };
    Model::open(&Source::Directory(root.to_owned()), &options)
}

/// Draws the smallest picture with a model that is open.
pub fn draw_with(model: &Model, request: Request) -> Result<()> {
    let side_px = model.info().size_multiple_px;
    let request = Request {
        width_px: Some(side_px),
        height_px: Some(side_px),
        num_inference_steps: Some(1),
        ..request
    };
    let mut generation = model.start(&request)?;
    while !generation.is_done() {
        for result in model.step(&mut [&mut generation]) {
            result?;
        }
    }
    model.finish(&mut generation).map(drop)
}
