//! How the authors of models name the weights in single files, from `tests/oracle/single_files.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::safetensors::{Tensors, read};
use crate::support::oracle::directory;

/// A tensor of a file: its name, what is done, the part and the tensors it is made of.
pub(crate) type Recipe = Vec<(String, String, String, Vec<String>)>;

#[derive(Deserialize)]
struct Recipes {
    models: BTreeMap<String, Recipe>,
}

/// How the models of the cases are written, by the case's name.
pub(crate) fn models() -> BTreeMap<String, Recipe> {
    let bytes = fs::read(directory().join("single_files.json")).unwrap();
    serde_json::from_slice::<Recipes>(&bytes).unwrap().models
}

/// The one safetensors file of a part.
pub(crate) fn weights_of(part: &Path) -> std::path::PathBuf {
    let mut files = fs::read_dir(part)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .find(|path| path.extension().is_some_and(|end| end == "safetensors"))
        .unwrap()
}

/// The model in `root` as one file has it; its parts keep their configuration and lose the weights that are in the file.
pub(crate) fn single(root: &Path, recipe: &Recipe) -> Tensors {
    let mut parts: BTreeMap<String, Tensors> = BTreeMap::new();
    let mut single = Tensors::new();
    for (name, how, part, tensors) in recipe {
        let from = parts
            .entry(part.clone())
            .or_insert_with(|| read(&fs::read(weights_of(&root.join(part))).unwrap()));
        let found: Vec<_> = tensors.iter().map(|name| from[name].clone()).collect();
        let (mut shape, mut numbers) = found[0].clone();
        match how.as_str() {
            "as" => {}
            "pixel" => shape.extend([1, 1]),
            "rows" => {
                shape[0] = found.iter().map(|(shape, _)| shape[0]).sum();
                numbers = found
                    .iter()
                    .flat_map(|(_, numbers)| numbers.clone())
                    .collect();
            }
            "swapped" => {
                let half = numbers.len() / 2;
                numbers.rotate_left(half);
            }
            "transposed" => {
                let (rows, columns) = (shape[0], shape[1]);
                numbers = (0..rows * columns)
                    .map(|at| numbers[at % rows * columns + at / rows])
                    .collect();
                shape.reverse();
            }
            other => panic!("{other} is nothing that is done"),
        }
        single.insert(name.clone(), (shape, numbers));
    }
    for part in parts.keys() {
        fs::remove_file(weights_of(&root.join(part))).unwrap();
    }
    single
}
