//! From a path to a network: a diffusers directory, or a single file under diffusers' names or the author's.

use std::path::Path;

use candle_core::Device;
use serde_json::{Map, Value};

use super::{ControlNet, fit};
use crate::checkpoint::{Source, Weights};
use crate::denoise::controlnet::{Config, ControlNetModel};
use crate::denoise::unet_2d_condition;
use crate::keys;
use crate::request::Control;
use crate::{Error, Precision, Result};

/// The class that a diffusers directory names.
const CLASS: &str = "ControlNetModel";

/// Tensors of files that look like a ControlNet's and are something else.
const OTHERS: &[(&str, &str)] = &[
    ("difference", "only how a ControlNet differs from a model"),
    ("lora_controlnet", "a LoRA of a ControlNet"),
    ("task_embedding", "several ControlNets in one"),
];

/// Reads a ControlNet for a model whose network is `unet`.
///
/// Fails naming the field when the file is missing, damaged, a pickle, no ControlNet, or one of another kind of model.
pub(super) fn open(
    control: &Control,
    unet: &unet_2d_condition::Config,
    precision: Precision,
) -> Result<ControlNet> {
    let (weights, config) =
        read(&control.path, unet).map_err(|error| error.with_field("controls"))?;
    fit::check(&control.name(), &weights, &config, unet)?;
    let loader = weights.loader(&Device::Cpu, None).with_precision(precision);
    let (network, sha256) = rayon::join(
        || ControlNetModel::load(&loader, &config),
        || weights.sha256(),
    );
    crate::kernels::cpu::release();
    Ok(ControlNet {
        bytes: weights.loaded_bytes(precision),
        network: network.map_err(|error| error.with_field("controls"))?,
        sha256: sha256
            .map_err(|error| error.with_field("controls"))?
            .to_string(),
    })
}

/// The tensors under diffusers' names, headers checked, and the configuration.
fn read(path: &Path, unet: &unet_2d_condition::Config) -> Result<(Weights, Config)> {
    if path.is_dir() {
        return read_directory(path, unet);
    }
    let weights = Source::single_file(path, None, &[])?
        .open_single()?
        .ok_or_else(|| Error::internal("a file that is no file"))?;
    let renamed = keys::controlnet::rename(&weights).ok_or_else(|| {
        let message = format!("`{}` holds no ControlNet", path.display());
        Error::model(message)
            .with_hint("a LoRA, a T2I adapter or a model is none; a ControlNet has a picture's own convolutions")
    })?;
    if let Some((_, what)) = OTHERS.iter().find(|(tensor, _)| weights.has(tensor)) {
        let message = format!("`{}` holds {what}, which is not supported", path.display());
        return Err(Error::model(message).with_hint("get a whole ControlNet of one kind of map"));
    }
    let config = fit::config(&renamed, unet);
    Ok((renamed, config))
}

fn read_directory(path: &Path, unet: &unet_2d_condition::Config) -> Result<(Weights, Config)> {
    let cannot = |error: std::io::Error| {
        Error::model(format!("cannot look at `{}`", path.display())).with_source(error)
    };
    // A directory is a part of the one above it, as a model's parts are.
    let path = std::fs::canonicalize(path).map_err(cannot)?;
    let (Some(above), Some(name)) = (
        path.parent(),
        path.file_name().and_then(|name| name.to_str()),
    ) else {
        let message = format!("`{}` has no name of UTF-8", path.display());
        return Err(Error::model(message));
    };
    let source = Source::Directory(above.to_owned());
    let config = format!("{name}/config.json");
    if !source.contains(&config) {
        let weights = source.open_weights(name)?;
        let config = fit::config(&weights, unet);
        return Ok((weights, config));
    }
    let fields: Map<String, Value> = source.read_json(&config)?;
    if let Some(class) = fields.get("_class_name").filter(|class| *class != CLASS) {
        let message = format!(
            "`{}` holds a {}, not a {CLASS}",
            path.display(),
            class.as_str().unwrap_or("network of no name")
        );
        return Err(Error::model(message));
    }
    Ok((source.open_weights(name)?, source.read_json(&config)?))
}
