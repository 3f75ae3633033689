//! The files of one model: what `model_index.json` says, the parts' configurations, the opened weights.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Convention, FamilyEntry, part_file, single_file};
use crate::{
    Error, ErrorKind, Precision, Result,
    checkpoint::{self, Layers, Loader, Source, Weights},
    sampling::SchedulerConfig,
    text::tokenizer::Tokenizer,
};

/// Where a diffusers directory keeps the configuration of its sampler.
const SCHEDULER_CONFIG: &str = "scheduler/scheduler_config.json";

/// Told the share of the work that is done, 0 to 1, from any thread.
pub type Progress = Arc<dyn Fn(f64) + Send + Sync>;

/// A model's files, headers checked, weights not read yet.
pub(crate) struct ModelFiles {
    source: Source,
    index: Map<String, Value>,
    /// Part name to its weights.
    weights: BTreeMap<&'static str, Weights>,
    /// What a single file without a directory goes by.
    convention: Option<Convention>,
    /// A single file as it is.
    single: Option<Weights>,
    /// The name that the caller uses for the model.
    name: String,
    progress: Option<Progress>,
    /// Bytes of weights read so far, of all parts.
    bytes_read: Arc<AtomicU64>,
    /// What was loaded.
    layers: Layers,
}

/// What a part is, for people.
pub(crate) struct PartInfo {
    pub(crate) name: &'static str,
    pub(crate) class: String,
    pub(crate) parameter_count: u64,
    pub(crate) dtype: &'static str,
}

impl ModelFiles {
    /// Reads `model_index.json`, finds the family and opens the headers of its parts.
    pub(crate) fn open(
        source: &Source,
        name: &str,
        progress: Option<Progress>,
    ) -> Result<(Self, &'static FamilyEntry)> {
        source.check()?;
        if let Some(file) = source.open_single()? {
            let opened = single_file::open(source, file)?;
            let family = opened.family;
            check_own_parts(source, family)?;
            let files = Self {
                source: source.clone(),
                index: opened.index,
                weights: opened.weights,
                convention: opened.convention,
                single: Some(opened.file),
                name: name.to_owned(),
                progress,
                bytes_read: Arc::default(),
                layers: Layers::default(),
            };
            return Ok((files, family));
        }
        let index: Map<String, Value> = source.read_json("model_index.json")?;
        let class = index
            .get("_class_name")
            .and_then(Value::as_str)
            .ok_or_else(|| {
                Error::model("model_index.json: `_class_name` is missing")
                    .with_hint("a diffusers directory names its pipeline class there")
            })?;
        let family = super::find(class)?;
        check_own_parts(source, family)?;
        let mut weights = BTreeMap::new();
        for part in family.weighted_parts {
            let is_own = source.own_parts().any(|own| own == *part);
            if part_class(&index, part).is_none() && !is_own {
                if family.optional_parts.contains(part) {
                    continue;
                }
                return Err(Error::model(format!(
                    "model_index.json: the model has no `{part}`, which a {class} needs"
                )));
            }
            let opened = source.open_weights(part)?;
            weights.insert(*part, part_file::renamed(family, part, opened)?);
        }
        let files = Self {
            source: source.clone(),
            index,
            weights,
            convention: None,
            single: None,
            name: name.to_owned(),
            progress,
            bytes_read: Arc::default(),
            layers: Layers::default(),
        };
        Ok((files, family))
    }

    /// The pipeline class.
    pub(crate) fn pipeline_class(&self) -> &str {
        self.index
            .get("_class_name")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The name that the caller uses for the model.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where the files are.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// A key of `model_index.json`.
    pub(crate) fn index_value(&self, key: &str) -> Option<&Value> {
        self.index.get(key)
    }

    /// A part's `config.json`.
    pub(crate) fn config<T: DeserializeOwned>(&self, part: &str) -> Result<T> {
        if let Some(convention) = &self.convention {
            let config = convention.configs.get(part).cloned().ok_or_else(|| {
                Error::new(
                    ErrorKind::NotFound,
                    format!("the configuration of `{part}` does not follow from the file"),
                )
                .with_hint("give a diffusers directory of the same kind of model with `--config`")
            })?;
            return serde_json::from_value(config)
                .map_err(|error| Error::model(format!("{part}: {error}")).with_source(error));
        }
        self.source.read_json(&format!("{part}/config.json"))
    }

    /// The scheduler configuration as written.
    pub(crate) fn scheduler_config(&self) -> Result<SchedulerConfig> {
        if let Some(convention) = &self.convention {
            return SchedulerConfig::from_json(convention.scheduler.to_string().as_bytes());
        }
        let bytes = self.source.read(SCHEDULER_CONFIG)?.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("the model has no `{SCHEDULER_CONFIG}`"),
            )
            .with_hint("it names the sampler and the noise levels that the model was trained with")
        })?;
        SchedulerConfig::from_json(&bytes)
    }

    /// CLIP's tokenizer in `part`. A single file without a directory has the built-in vocabulary.
    pub(crate) fn clip_tokenizer(&self, part: &str) -> Result<Tokenizer> {
        let Some(convention) = &self.convention else {
            return Tokenizer::open(&self.source, part, None);
        };
        let assets = self.source.assets().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the file has no tokenizer")
                .with_hint("give a diffusers directory of the same kind of model with `--config`")
        })?;
        // The built-in model reads shorter prompts than others do.
        let padding = convention.padding.get(part).copied();
        Ok(Tokenizer::open(&assets, "tokenizer", padding)?.without_length())
    }

    /// Reads a part's weights as they are asked for, for layers that compute with `precision`.
    pub(crate) fn loader(
        &self,
        part: &str,
        device: &candle_core::Device,
        precision: Precision,
    ) -> Result<Loader> {
        let weights = self
            .weights
            .get(part)
            .ok_or_else(|| Error::model(format!("the model has no `{part}`")))?;
        let loader = weights.loader(device, self.bytes_progress());
        let loader = loader.with_layers(&self.layers, part);
        Ok(loader.with_precision(precision))
    }

    /// A part's tensors, if the model has the part.
    pub(crate) fn weights(&self, part: &str) -> Option<&Weights> {
        self.weights.get(part)
    }

    /// The layers that were loaded so far.
    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Whether the model has the part.
    pub(crate) fn has(&self, part: &str) -> bool {
        self.weights.contains_key(part)
    }

    /// Size of all weights on disk in bytes.
    pub(crate) fn weights_bytes(&self) -> u64 {
        self.weights.values().map(Weights::bytes).sum()
    }

    /// Memory that all weights take once layers of `precision` have loaded them, in bytes.
    pub(crate) fn loaded_bytes(&self, precision: Precision) -> u64 {
        self.weights
            .values()
            .map(|weights| weights.loaded_bytes(precision))
            .sum()
    }

    /// Number of parameters of all parts.
    pub(crate) fn parameter_count(&self) -> u64 {
        self.weights.values().map(Weights::parameter_count).sum()
    }

    /// The parts in the family's order of names.
    pub(crate) fn parts(&self) -> Vec<PartInfo> {
        self.weights
            .iter()
            .map(|(name, weights)| PartInfo {
                name,
                class: part_class(&self.index, name).unwrap_or_default().to_owned(),
                parameter_count: weights.parameter_count(),
                dtype: weights.dtype_name(),
            })
            .collect()
    }

    /// SHA-256 over all weights, hex; see [`checkpoint::model_sha256`].
    pub(crate) fn hash(&self) -> Result<String> {
        if let Some(single) = &self.single
            && self.source.own_parts().next().is_none()
        {
            // As hubs and galleries name the file.
            return Ok(single.sha256()?.to_string());
        }
        let components: Vec<(&str, &Weights)> = self
            .weights
            .iter()
            .map(|(name, weights)| (*name, weights))
            .collect();
        Ok(checkpoint::model_sha256(&components)?.to_string())
    }

    fn bytes_progress(&self) -> Option<checkpoint::Progress> {
        let progress = self.progress.clone()?;
        let total = self.weights_bytes().max(1);
        let bytes_read = Arc::clone(&self.bytes_read);
        Some(Arc::new(move |bytes| {
            let done = bytes_read.fetch_add(bytes, Ordering::Relaxed) + bytes;
            #[expect(clippy::cast_precision_loss, reason = "a share for a progress bar")]
            progress((done as f64 / total as f64).min(1.0));
        }))
    }
}

/// Fails when a file was given for a part that models of the family do not have.
fn check_own_parts(source: &Source, family: &FamilyEntry) -> Result<()> {
    let known = family.weighted_parts;
    match source.own_parts().find(|part| !known.contains(part)) {
        Some(part) => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("a file was given for `{part}`, and the model has no such part"),
        )
        .with_field("model_parts")
        .with_hint(format!("its parts are {}", known.join(", ")))),
        None => Ok(()),
    }
}

/// The class of a part in `model_index.json`; `None` where it is absent or null.
fn part_class<'a>(index: &'a Map<String, Value>, part: &str) -> Option<&'a str> {
    index.get(part)?.as_array()?.get(1)?.as_str()
}
