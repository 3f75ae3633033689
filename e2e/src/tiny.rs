//! Tiny models of families that the program has none of inside: those of the engine's tests, with numbers of our own.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use crate::repository;

/// Writes the model of a case of the engine's tests, as diffusers would save it: `case` of the list `list`.
///
/// # Panics
///
/// When there is no such case, or a file cannot be written.
pub fn write_model(list: &str, case: &str, root: &Path) {
    let tests = repository().join("engine/tests/oracle");
    let all = read_json(&tests.join(list));
    let cases = all["cases"].as_array().expect("a list of cases");
    let case = cases
        .iter()
        .find(|known| known["name"] == case)
        .expect("a case of this name");
    let write = |path: &str, bytes: &[u8]| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    };
    write(
        "model_index.json",
        case["model_index"].to_string().as_bytes(),
    );
    let scheduler = case["scheduler_config"].as_str().expect("a text");
    write("scheduler/scheduler_config.json", scheduler.as_bytes());
    for (folder, part) in case["parts"].as_object().expect("parts by folder") {
        let part = tests.join("parts").join(part.as_str().expect("a name"));
        for entry in fs::read_dir(part).expect("a part is a folder") {
            let path = entry.expect("a file").path();
            let name = path.file_name().and_then(|name| name.to_str());
            match name.expect("a name") {
                "weights.json" => {
                    let weights = read_json(&path);
                    let file = weights["file"].as_str().expect("a name");
                    write(&format!("{folder}/{file}"), &safetensors(&weights));
                }
                name => write(
                    &format!("{folder}/{name}"),
                    &fs::read(&path).expect("a file"),
                ),
            }
        }
    }
}

fn read_json(path: &Path) -> Value {
    let bytes = fs::read(path).expect("the engine's tests are there");
    serde_json::from_slice(&bytes).expect("they are JSON")
}

/// The tensors of a `weights.json` as a file: small numbers of either sign, and about 1 where a layer's numbers are scaled.
fn safetensors(weights: &Value) -> Vec<u8> {
    let mut header = Map::new();
    let mut data = Vec::new();
    for tensor in weights["tensors"].as_array().expect("a list of tensors") {
        let shape: Vec<u64> = serde_json::from_value(tensor[1].clone()).expect("a shape");
        let name = tensor[0].as_str().expect("a name");
        let (middle, width) = match shape.as_slice() {
            [_] if name.ends_with("bias") => (0.0, 0.05),
            [_] => (1.0, 0.1),
            [_, inputs @ ..] => (0.0, 1.5 / f64::from(whole(inputs.iter().product())).sqrt()),
            [] => (0.0, 0.0),
        };
        let start = data.len();
        for at in 0..shape.iter().product() {
            let between = f64::from(whole(at * 7919 % 10_007)) / 5003.0 - 1.0;
            #[expect(clippy::cast_possible_truncation, reason = "single precision is meant")]
            let number = (middle + width * between) as f32;
            data.extend(number.to_le_bytes());
        }
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.to_owned(), entry);
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &data].concat()
}

fn whole(number: u64) -> u32 {
    u32::try_from(number).expect("tiny")
}
