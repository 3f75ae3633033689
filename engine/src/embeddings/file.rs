//! One embedding's file: vectors for one text encoder (A1111's `emb_params`, diffusers' `<token>`), or for SDXL's two (`clip_l`,
//! `clip_g`).

use std::path::Path;

use candle_core::Device;

use crate::checkpoint::{Source, Weights};
use crate::{Error, Result};

/// Most vectors of a file, and most numbers of one; far above what there is.
const MOST_VECTORS: usize = 1024;
const MOST_NUMBERS: usize = 16_384;
/// The names of a file for two text encoders.
const OF_TWO: [&str; 2] = ["clip_l", "clip_g"];

/// An embedding's file, read.
#[derive(Debug)]
pub(super) struct EmbeddingFile {
    /// One, or one for each name in [`OF_TWO`].
    pub(super) sets: Vec<Set>,
    /// SHA-256 of the file, hex.
    pub(super) sha256: String,
}

/// The vectors for one text encoder.
#[derive(Debug)]
pub(super) struct Set {
    /// The tensor's name.
    pub(super) key: String,
    /// Numbers of a vector.
    pub(super) width: usize,
    /// `(count, width)`, all finite.
    numbers: Vec<f32>,
}

impl Set {
    pub(super) fn count(&self) -> usize {
        self.numbers.len() / self.width
    }

    pub(super) fn row(&self, row: usize) -> Option<&[f32]> {
        self.numbers.chunks_exact(self.width).nth(row)
    }
}

/// Reads the file at `path`.
///
/// Fails naming the file when it is missing or damaged, a pickle, or no embedding; field `prompt`.
pub(super) fn open(path: &Path) -> Result<EmbeddingFile> {
    let named = |error: Error| error.with_field("prompt");
    let weights = Source::single_file(path, None, &[])
        .and_then(|source| source.open_single())
        .map_err(named)?
        .ok_or_else(|| Error::internal("a file that is no file"))?;
    let none = |what: String| {
        let message = format!("`{}` is no embedding: {what}", path.display());
        named(Error::model(message))
    };
    let names: Vec<&str> = if OF_TWO.iter().all(|name| weights.has(name)) {
        OF_TWO.to_vec()
    } else {
        let all: Vec<_> = weights.names().collect();
        if all.len() != 1 {
            let count = all.len();
            return Err(none(format!(
                "it has {count} tensors, neither one nor `clip_l` and `clip_g`"
            )));
        }
        all
    };
    let sets = names
        .into_iter()
        .map(|name| set(&weights, name).and_then(|set| set.map_err(&none)))
        .collect::<Result<Vec<_>>>()?;
    if sets.iter().any(|set| set.count() != sets[0].count()) {
        return Err(none(
            "its tensors have different numbers of vectors".to_owned(),
        ));
    }
    Ok(EmbeddingFile {
        sets,
        sha256: weights.sha256().map_err(named)?.to_string(),
    })
}

/// The vectors in the tensor `name`, or what is wrong with them.
fn set(weights: &Weights, name: &str) -> Result<std::result::Result<Set, String>> {
    let shape = weights.shape(name).unwrap_or_default().to_vec();
    let (count, width) = match shape.as_slice() {
        [width] => (1, *width),
        [count, width] => (*count, *width),
        _ => return Ok(Err(format!("`{name}` has the shape {shape:?}"))),
    };
    if !(1..=MOST_VECTORS).contains(&count) || !(1..=MOST_NUMBERS).contains(&width) {
        return Ok(Err(format!(
            "`{name}` has {count} vectors of {width} numbers"
        )));
    }
    let loader = weights.loader(&Device::Cpu, None);
    let numbers = loader
        .get(&shape, name)
        .map_err(|error| error.with_field("prompt"))?;
    let numbers = numbers.flatten_all()?.to_vec1::<f32>()?;
    if !numbers.iter().all(|number| number.is_finite()) {
        return Ok(Err(format!("`{name}` has numbers that are not finite")));
    }
    Ok(Ok(Set {
        key: name.to_owned(),
        width,
        numbers,
    }))
}
