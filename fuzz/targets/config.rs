//! Configuration files of every family, the sampler's among them: one is the input, the rest of the model is as it should be.
//! What opens has to draw a picture or say why not.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use imgd_engine::{Model, OpenOptions, Precision, Request, Result, checkpoint::Source, plan};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

/// A model of a family on disk, and its JSON files.
struct Files {
    root: PathBuf,
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// One of each pipeline class of the engine's tests.
static MODELS: LazyLock<Vec<Files>> = LazyLock::new(|| {
    let tests = imgd_fuzz::repository().join("engine/tests/oracle");
    let mut models = BTreeMap::new();
    for list in ["cases.json", "more_cases.json"] {
        let list: Value = read_json(&tests.join(list));
        for case in list["cases"].as_array().expect("a list of cases") {
            let class = case["model_index"]["_class_name"].to_string();
            models.entry(class).or_insert_with(|| case.clone());
        }
    }
    let model = |(number, case): (usize, &Value)| made(number, case, &tests);
    models.values().enumerate().map(model).collect()
});

fn read_json(path: &Path) -> Value {
    let bytes = fs::read(path).expect("the engine's tests are there");
    serde_json::from_slice(&bytes).expect("they are JSON")
}

fn made(number: usize, case: &Value, tests: &Path) -> Files {
    let root = imgd_fuzz::folder().join(number.to_string());
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
                imgd_fuzz::write(&to.with_file_name(file), &safetensors(&weights));
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
        imgd_fuzz::write(path, bytes);
    }
    files.retain(|(_, bytes)| bytes.len() < 8192);
    files.push((root.join("imgd.json"), b"{}".to_vec()));
    Files { root, files }
}

/// The tensors of `weights.json`, with small numbers of either sign.
fn safetensors(weights: &Value) -> Vec<u8> {
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

fn draw(files: &Files) -> Result<()> {
    let source = Source::Directory(files.root.clone());
    plan(&source, "model", Precision::F32, &Request::new("a cat", 1))?;
    let options = OpenOptions {
        name: "model".to_owned(),
        precision: Precision::F32,
        progress: None,
    };
    let model = Model::open(&source, &options)?;
    // The smallest picture: what is looked for is not in its pixels.
    let side_px = model.info().size_multiple_px;
    let request = Request {
        width_px: Some(side_px),
        height_px: Some(side_px),
        num_inference_steps: Some(1),
        ..Request::new("a cat", 1)
    };
    let mut generation = model.start(&request)?;
    while !generation.is_done() {
        for result in model.step(&mut [&mut generation]) {
            result?;
        }
    }
    model.finish(&mut generation).map(drop)
}

// The first byte says which model, the second which of its files.
fuzz_target!(|input: &[u8]| {
    let [family, file, bytes @ ..] = input else {
        return;
    };
    let model = &MODELS[usize::from(*family) % MODELS.len()];
    let (path, original) = &model.files[usize::from(*file) % model.files.len()];
    imgd_fuzz::write(path, bytes);
    let _ = draw(model);
    imgd_fuzz::write(path, original);
});
