//! Adapters: small files that change what a model draws, read for a request and put aside after it.
//!
//! A file ([`file`]) holds a change for each of some layers, whose names ([`names`]) follow one of several conventions; what a
//! change adds to a layer's weight is worked out from its tensors ([`change`]). The layers add it while they compute
//! ([`crate::nn::Adapters`]): the model's weights stay as they are, and requests with and without share them.

mod cache;
mod change;
mod file;
mod names;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use self::cache::Cache;
pub(crate) use self::names::Original;
use crate::checkpoint::Held;
use crate::nn::{Adapters, Placed};
use crate::request::{Lora, UsedLora};
use crate::{Error, Notice, Result};

/// The adapters of a request, ready for its model.
pub(crate) struct Opened {
    /// What the layers add.
    pub(crate) adapters: Arc<Adapters>,
    /// What was used, for settings and metadata.
    pub(crate) used: Vec<UsedLora>,
    /// What the user should know.
    pub(crate) notices: Vec<Notice>,
}

/// What single files call the layers of a model's network; `named` gets the network's own names.
pub(crate) fn originals(layers: &[Held], named: fn(&[&str]) -> Vec<Original>) -> Vec<Original> {
    let names: Vec<&str> = layers
        .iter()
        .flat_map(|held| &held.parts)
        .filter_map(|part| part.name.split_once('.'))
        .filter(|(part, _)| names::is_network(part))
        .map(|(_, name)| name)
        .collect();
    named(&names)
}

/// Reads the adapters of a request for a model of `layers`.
///
/// Fails naming the file when it is missing or damaged, when it is of a kind that is not supported, and when nothing in it
/// belongs to a layer of the model.
fn open(loras: &[Lora], layers: &[Held], originals: &[Original]) -> Result<Opened> {
    let names = names::Names::new(layers, originals);
    let mut changes: HashMap<String, Vec<Placed>> = HashMap::new();
    let (mut used, mut notices) = (Vec::new(), Vec::new());
    for lora in loras {
        let file = file::open(&lora.path)?;
        let (mut applied, mut missing) = (0_usize, Vec::new());
        for (key, pieces) in &file.changes {
            let Some(target) = names.find(key) else {
                missing.push(key.as_str());
                continue;
            };
            let shape = (target.rows(), target.row_numbers());
            let change = file
                .read(key, pieces, shape)
                .map_err(|error| error.with_field("loras"))?;
            let change = Arc::new(change);
            #[expect(
                clippy::cast_possible_truncation,
                reason = "weights are single precision"
            )]
            let strength = lora.weight as f32;
            for (name, from_row) in target.layers() {
                changes.entry(name.to_owned()).or_default().push(Placed {
                    change: Arc::clone(&change),
                    from_row,
                    strength,
                });
            }
            applied += 1;
        }
        let keys = file.changes.len();
        if applied == 0 {
            return Err(nothing_applied(lora, keys, missing.first()));
        }
        notices.push(told(lora, applied, keys, missing.first()));
        used.push(UsedLora {
            name: lora.name(),
            weight: lora.weight,
            sha256: file.sha256,
        });
    }
    Ok(Opened {
        adapters: Arc::new(Adapters::pack(layers, &changes)),
        used,
        notices,
    })
}

fn nothing_applied(lora: &Lora, keys: usize, first: Option<&&str>) -> Error {
    let message = match first {
        Some(first) => format!(
            "LoRA `{}`: 0 of {keys} keys applied: the model has no layer `{first}`",
            lora.name()
        ),
        None => format!("`{}` holds no LoRA", lora.path.display()),
    };
    Error::invalid("loras", message)
        .with_hint("a LoRA works with the kind of model that it was trained for, and with no other")
}

fn told(lora: &Lora, applied: usize, keys: usize, missing: Option<&&str>) -> Notice {
    let name = lora.name();
    match missing {
        None => Notice::new(
            "lora_applied",
            "loras",
            format!("LoRA `{name}`: {applied} of {keys} keys applied"),
        ),
        Some(missing) => Notice::new(
            "lora_partly_applied",
            "loras",
            format!(
                "LoRA `{name}`: {applied} of {keys} keys applied: the model has no layer `{missing}`, for one"
            ),
        ),
    }
}

/// Reads every change of a file, whether it fits or not.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_all(path: &std::path::Path, shape: (usize, usize)) -> Result<()> {
    let file = file::open(path)?;
    for (key, pieces) in &file.changes {
        drop(file.read(key, pieces, shape));
    }
    Ok(())
}
