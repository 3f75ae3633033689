//! One adapter's file: its tensors, put together by the layer that they belong to.
//!
//! The endings of names are those of kohya's scripts, of PEFT and diffusers before it, and of LyCORIS.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use serde_json::Value;

use super::change;
use crate::checkpoint::{Loader, Source, Weights};
use crate::nn::Change;
use crate::{Error, Result};

/// What a tensor is to its change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    Down,
    Up,
    /// Between both, of a convolution's change.
    Mid,
    /// Divided by the rank, what the change is multiplied with.
    Alpha,
    Whole,
    HadaW1A,
    HadaW1B,
    HadaW2A,
    HadaW2B,
    HadaT1,
    HadaT2,
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    LokrT2,
    /// Known, and not supported.
    Magnitude,
    Bias,
}

/// What names end with.
const ENDINGS: &[(&str, Piece)] = &[
    (".lora_down.weight", Piece::Down),
    (".lora_up.weight", Piece::Up),
    (".lora_mid.weight", Piece::Mid),
    (".lora_A.weight", Piece::Down),
    (".lora_B.weight", Piece::Up),
    (".lora_A.default.weight", Piece::Down),
    (".lora_B.default.weight", Piece::Up),
    (".lora_linear_layer.down.weight", Piece::Down),
    (".lora_linear_layer.up.weight", Piece::Up),
    (".lora.down.weight", Piece::Down),
    (".lora.up.weight", Piece::Up),
    ("_lora.down.weight", Piece::Down),
    ("_lora.up.weight", Piece::Up),
    (".alpha", Piece::Alpha),
    (".diff", Piece::Whole),
    (".diff_b", Piece::Bias),
    (".hada_w1_a", Piece::HadaW1A),
    (".hada_w1_b", Piece::HadaW1B),
    (".hada_w2_a", Piece::HadaW2A),
    (".hada_w2_b", Piece::HadaW2B),
    (".hada_t1", Piece::HadaT1),
    (".hada_t2", Piece::HadaT2),
    (".lokr_w1", Piece::LokrW1),
    (".lokr_w1_a", Piece::LokrW1A),
    (".lokr_w1_b", Piece::LokrW1B),
    (".lokr_w2", Piece::LokrW2),
    (".lokr_w2_a", Piece::LokrW2A),
    (".lokr_w2_b", Piece::LokrW2B),
    (".lokr_t2", Piece::LokrT2),
    (".dora_scale", Piece::Magnitude),
    (".lora_magnitude_vector", Piece::Magnitude),
    (".lora_magnitude_vector.weight", Piece::Magnitude),
    (".lora_B.bias", Piece::Bias),
];

/// The tensors of one change: what each is, and its name.
pub(super) type Pieces = BTreeMap<Piece, String>;

/// An adapter's file.
pub(super) struct AdapterFile {
    name: String,
    loader: Loader,
    /// The changes by the name of their layer, as the file has it.
    pub(super) changes: BTreeMap<String, Pieces>,
    /// SHA-256 of the file, hex.
    pub(super) sha256: String,
    /// What PEFT says of how it was trained.
    config: serde_json::Map<String, Value>,
}

/// Reads the header of the file at `path`.
pub(super) fn open(path: &Path) -> Result<AdapterFile> {
    let named = |error: Error| error.with_field("loras");
    let weights = Source::single_file(path, None, &[])
        .and_then(|source| source.open_single())
        .map_err(named)?
        .ok_or_else(|| Error::internal("a file that is no file"))?;
    let changes = changes(&weights);
    Ok(AdapterFile {
        name: path.display().to_string(),
        changes,
        sha256: weights.sha256().map_err(named)?.to_string(),
        config: config(&weights)?,
        loader: weights.loader(&Device::Cpu, None),
    })
}

fn changes(weights: &Weights) -> BTreeMap<String, Pieces> {
    let mut changes: BTreeMap<String, Pieces> = BTreeMap::new();
    for name in weights.names() {
        let found = ENDINGS
            .iter()
            .find_map(|(ending, piece)| Some((name.strip_suffix(ending)?, *piece)));
        if let Some((layer, piece)) = found {
            let pieces = changes.entry(layer.to_owned()).or_default();
            pieces.insert(piece, name.to_owned());
        }
    }
    changes
}

fn config(weights: &Weights) -> Result<serde_json::Map<String, Value>> {
    let metadata = weights.metadata()?;
    let config = metadata.get("lora_adapter_metadata");
    Ok(config
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default())
}

impl AdapterFile {
    /// The change of the layer that the file calls `layer`, whose weight has `shape`: rows, and numbers in a row.
    pub(super) fn read(
        &self,
        layer: &str,
        pieces: &Pieces,
        shape: (usize, usize),
    ) -> Result<Change> {
        let wrong =
            |what: String| Error::invalid("loras", format!("`{}`: `{layer}`: {what}", self.name));
        for (piece, what) in [
            (Piece::Magnitude, "is of DoRA, which is not supported"),
            (Piece::Bias, "changes a bias, which is not supported"),
        ] {
            if pieces.contains_key(&piece) {
                return Err(wrong(what.to_owned()));
            }
        }
        let mut tensors = change::Tensors::new();
        for (piece, name) in pieces {
            let shape = self.loader.shape(name).unwrap_or_default();
            let numbers = self.loader.get(&shape, name)?;
            let numbers = numbers.flatten_all()?.to_vec1::<f32>()?;
            tensors.insert(*piece, (shape, numbers));
        }
        change::change(tensors, shape, self.trained_alpha(layer)).map_err(wrong)
    }

    /// What PEFT divided by the rank, if the file says so.
    fn trained_alpha(&self, layer: &str) -> Option<f32> {
        let (part, name) = layer.split_once('.')?;
        let setting = |name: &str| self.config.get(&format!("{part}.{name}"));
        let patterns = setting("alpha_pattern").and_then(Value::as_object);
        let of_layer = patterns.and_then(|patterns| {
            let mut fitting = patterns
                .iter()
                .filter(|(pattern, _)| name == *pattern || name.ends_with(&format!(".{pattern}")));
            fitting.next().map(|(_, alpha)| alpha)
        });
        #[expect(
            clippy::cast_possible_truncation,
            reason = "weights are single precision"
        )]
        of_layer
            .or_else(|| setting("lora_alpha"))
            .and_then(Value::as_f64)
            .map(|alpha| alpha as f32)
    }
}
