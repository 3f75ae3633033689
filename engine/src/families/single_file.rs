//! Models in one file, under the names that their authors gave the weights.
//!
//! A file is recognised by its tensors, not by its name. What it lacks comes from a diffusers directory that is given with
//! it; without one, configurations follow from the weights and the constants that the family's models have.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{FamilyEntry, part_file};
use crate::{
    Error, Result,
    checkpoint::{Source, Weights},
};

/// Parts by name.
pub(crate) type Parts = Vec<(&'static str, Weights)>;

/// How a family's single files are read.
pub(crate) struct SingleFile {
    /// Whether a file with these tensors is one of the family's.
    pub(crate) recognises: fn(&Weights) -> bool,
    /// The parts that the file has, renamed; some may be without tensors.
    pub(crate) parts: fn(&Weights) -> Result<Parts>,
    /// What a diffusers directory of such a model would say.
    pub(crate) convention: fn(&Weights, &BTreeMap<&'static str, Weights>) -> Convention,
}

/// What a diffusers directory would say of a model.
pub(crate) struct Convention {
    /// The pipeline's class.
    pub(crate) pipeline_class: &'static str,
    /// Further keys of `model_index.json`.
    pub(crate) index: Value,
    /// `config.json` of each part.
    pub(crate) configs: BTreeMap<&'static str, Value>,
    /// `scheduler_config.json`.
    pub(crate) scheduler: Value,
    /// The token that fills up prompts, for tokenizers that differ from the built-in one.
    pub(crate) padding: BTreeMap<&'static str, &'static str>,
}

/// A single file, taken apart.
pub(crate) struct Opened {
    pub(crate) family: &'static FamilyEntry,
    /// `model_index.json`.
    pub(crate) index: Map<String, Value>,
    pub(crate) weights: BTreeMap<&'static str, Weights>,
    /// What is not in files; `None` when a diffusers directory was given.
    pub(crate) convention: Option<Convention>,
    /// The file as it is.
    pub(crate) file: Weights,
}

/// Takes `file` apart; parts that it lacks are looked for in the directory that was given with it.
pub(crate) fn open(source: &Source, file: Weights) -> Result<Opened> {
    let (family, single) = super::FAMILIES
        .iter()
        .find_map(|entry| {
            let single = entry.single_file.as_ref()?;
            (single.recognises)(&file).then_some((entry, single))
        })
        .ok_or_else(unknown)?;
    let mut weights: BTreeMap<&'static str, Weights> = (single.parts)(&file)?
        .into_iter()
        .filter(|(_, weights)| !weights.is_empty())
        .collect();
    let config = source.config();
    for part in family.weighted_parts {
        if let Some(own) = source.open_own(part)? {
            weights.insert(*part, part_file::renamed(family, part, own)?);
        }
        if weights.contains_key(part) {
            continue;
        }
        let from_config = config.as_ref().map(|config| config.open_weights(part));
        match from_config {
            Some(Ok(opened)) => {
                weights.insert(*part, part_file::renamed(family, part, opened)?);
            }
            _ if family.optional_parts.contains(part) => {}
            Some(Err(error)) => return Err(error),
            None => {
                return Err(Error::model(format!("the file has no `{part}`")).with_hint(
                    "give a diffusers directory of the same kind of model with `--config`: what the file lacks is taken from there",
                ));
            }
        }
    }
    let (index, convention) = match &config {
        Some(config) => (config.read_json("model_index.json")?, None),
        None => {
            let convention = (single.convention)(&file, &weights);
            (made_index(&convention, weights.keys()), Some(convention))
        }
    };
    Ok(Opened {
        family,
        index,
        weights,
        convention,
        file,
    })
}

/// `model_index.json` of a model whose parts are `parts`.
fn made_index<'a>(
    convention: &Convention,
    parts: impl Iterator<Item = &'a &'static str>,
) -> Map<String, Value> {
    let mut index = convention.index.as_object().cloned().unwrap_or_default();
    index.insert("_class_name".to_owned(), json!(convention.pipeline_class));
    for part in parts {
        let class = convention
            .configs
            .get(*part)
            .and_then(|config| config["_class_name"].as_str())
            .unwrap_or("CLIPTextModel");
        index.insert((*part).to_owned(), json!(["", class]));
    }
    index
}

fn unknown() -> Error {
    let known: Vec<&str> = super::FAMILIES
        .iter()
        .filter(|entry| entry.single_file.is_some())
        .map(|entry| entry.name)
        .collect();
    Error::model("the file's tensors are those of no model that is known").with_hint(format!(
        "single files of {} are read; a LoRA, a ControlNet or an embedding is no model by itself",
        known.join(", ")
    ))
}
