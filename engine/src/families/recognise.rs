//! What a file or a directory is a model of, from its header alone.

use std::path::Path;

use serde_json::{Map, Value};

use super::{FAMILIES, FamilyEntry};
use crate::{
    Error, Result,
    checkpoint::{Source, Weights},
};

/// What a path is, known without loading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognised {
    /// The family's short name.
    pub family: &'static str,
    /// The parts that have to come from elsewhere: the file lacks their weights, or what else they need.
    pub lacks: Vec<&'static str>,
}

/// Recognises the model at `path`: a diffusers directory by its class, a single file by its tensors. `None` where it is none that
/// is known: an adapter, an autoencoder, a model of another family.
///
/// Reads `model_index.json` or the header of the file. Fails where that cannot be read.
pub fn recognise(path: &Path) -> Result<Option<Recognised>> {
    if path.is_dir() {
        let index: Map<String, Value> =
            Source::Directory(path.into()).read_json("model_index.json")?;
        let class = index
            .get("_class_name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let mut known = FAMILIES.iter();
        let entry = known.find(|entry| entry.pipeline_classes.contains(&class));
        return Ok(entry.map(|entry| Recognised {
            family: entry.name,
            lacks: Vec::new(),
        }));
    }
    let file = Source::single_file(path, None, &[])?
        .open_single()?
        .ok_or_else(|| Error::internal("a file that is no file"))?;
    of_file(&file)
}

fn of_file(file: &Weights) -> Result<Option<Recognised>> {
    for entry in FAMILIES {
        if let Some(single) = &entry.single_file
            && (single.recognises)(file)
        {
            let parts = (single.parts)(file)?.into_iter();
            let parts = parts.filter(|(_, weights)| !weights.is_empty()).collect();
            let convention = (single.convention)(file, &parts);
            let is_lacking = |part: &&&'static str| match parts.contains_key(**part) {
                true => !convention.configs.contains_key(**part),
                false => !is_optional(entry, part),
            };
            let lacks = entry.weighted_parts.iter().filter(is_lacking).copied();
            return Ok(Some(Recognised {
                family: entry.name,
                lacks: lacks.collect(),
            }));
        }
    }
    Ok(None)
}

fn is_optional(entry: &FamilyEntry, part: &str) -> bool {
    entry.optional_parts.contains(&part)
}
