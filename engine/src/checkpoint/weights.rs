//! The tensors of one component, found in its files and not read yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Device;

use super::hash::{self, Sha256};
use super::header::{self, TensorInfo};
use super::loader::{Loader, Progress};
use super::source::{Blob, Source};
use super::{gguf, index, refused};
use crate::{Error, Precision, Result};

/// The tensors of one component. Cheap to clone; keeps its files open.
#[derive(Clone, Debug)]
pub struct Weights {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The files by name, in order of names.
    files: Vec<(String, Blob)>,
    tensors: BTreeMap<String, Stored>,
}

/// A tensor and the number of its file.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) file: usize,
    pub(super) info: TensorInfo,
}

impl Weights {
    /// Numbers in all tensors that can be read; whole-number buffers are no parameters.
    pub fn parameter_count(&self) -> u64 {
        self.read_tensors().map(|info| info.elements as u64).sum()
    }

    /// Bytes of those tensors in the files: what the progress of a load counts up to when every tensor is used.
    pub fn bytes(&self) -> u64 {
        self.read_tensors().map(|info| info.bytes).sum()
    }

    /// Bytes of memory that those tensors take once layers of `precision` have loaded them. Known from the headers alone.
    ///
    /// In bf16, matrices have two bytes a number, vectors and tables of embeddings four; one in 64 is added for what layers
    /// fill up or keep in another shape. Matrices in blocks stay as they are.
    pub fn loaded_bytes(&self, precision: Precision) -> u64 {
        let is_bf16 = precision.resolved() == Precision::Bf16;
        let tensors = self.inner.tensors.iter();
        let bytes: u64 = tensors
            .filter(|(_, stored)| stored.info.dtype.is_read())
            .map(|(name, Stored { info, .. })| {
                let is_matrix = info.shape.len() >= 2 && !name.ends_with("embedding.weight");
                if is_matrix && info.is_block_matrix() {
                    return info.bytes;
                }
                info.elements as u64 * if is_matrix && is_bf16 { 2 } else { 4 }
            })
            .sum();
        if is_bf16 { bytes + bytes / 64 } else { bytes }
    }

    /// The type most of the bytes have: `f32`, `f16` or `bf16`.
    pub fn dtype_name(&self) -> &'static str {
        let mut totals: BTreeMap<&'static str, u64> = BTreeMap::new();
        for info in self.read_tensors() {
            *totals.entry(info.dtype.name()).or_default() += info.bytes;
        }
        totals
            .into_iter()
            .max_by_key(|&(_, bytes)| bytes)
            .map_or("f32", |(name, _)| name)
    }

    /// Names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.inner.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let stored = self.inner.tensors.get(name)?;
        Some(&stored.info.shape)
    }

    /// A dimension of a tensor; 0 when there is none.
    pub fn size(&self, name: &str, dimension: usize) -> usize {
        let shape = self.shape(name);
        shape
            .and_then(|shape| shape.get(dimension))
            .copied()
            .unwrap_or(0)
    }

    /// How many blocks, counted from 0, have a tensor: `blocks.N.tensor`.
    pub fn count(&self, blocks: &str, tensor: &str) -> usize {
        let has = |block: &usize| self.has(&format!("{blocks}.{block}.{tensor}"));
        (0..).take_while(has).count()
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.inner.tensors.contains_key(name)
    }

    pub(super) fn stored(&self, name: &str) -> Option<&Stored> {
        self.inner.tensors.get(name)
    }

    /// Other tensors of the same files.
    pub(super) fn with_tensors(&self, tensors: BTreeMap<String, Stored>) -> Self {
        Self {
            inner: Arc::new(Inner {
                files: self.inner.files.clone(),
                tensors,
            }),
        }
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.inner.tensors.is_empty()
    }

    /// The texts in the headers of the files.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for (_, blob) in &self.inner.files {
            if gguf::is_gguf(blob)? {
                all.extend(gguf::read(blob)?.texts);
            } else {
                all.extend(header::metadata(blob)?);
            }
        }
        Ok(all)
    }

    /// The identity of the files' bytes; see [`Sha256`]. Reads every file once.
    pub fn sha256(&self) -> Result<Sha256> {
        hash::files_sha256(&self.inner.files)
    }

    /// The top of the tensors' names, for reading onto `device`.
    ///
    /// `progress` is called after each tensor with the number of bytes just read, from the thread that reads.
    pub fn loader(&self, device: &Device, progress: Option<Progress>) -> Loader {
        Loader::new(self.clone(), device.clone(), progress)
    }

    /// A tensor's place: its file and what the header says of it.
    pub(super) fn find(&self, name: &str) -> Option<(&Blob, &TensorInfo)> {
        let stored = self.inner.tensors.get(name)?;
        Some((&self.inner.files[stored.file].1, &stored.info))
    }

    /// The names of the files, for messages.
    pub(super) fn file_names(&self) -> String {
        match self.inner.files.as_slice() {
            [(_, blob)] => format!("`{}`", blob.name),
            [(_, first), .., (_, last)] => format!("`{}` to `{}`", first.name, last.name),
            [] => String::new(),
        }
    }

    fn read_tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.inner
            .tensors
            .values()
            .map(|stored| &stored.info)
            .filter(|info| info.dtype.is_read())
    }
}

/// Finds and checks the weights of a component.
pub(super) fn open(source: &Source, component: &str) -> Result<Weights> {
    // transformers' components are called `model`, diffusers' `diffusion_pytorch_model`.
    let stems = match component {
        _ if component.starts_with("text_encoder") => ["model", "diffusion_pytorch_model"],
        _ => ["diffusion_pytorch_model", "model"],
    };
    for variant in ["", ".fp16"] {
        for stem in stems {
            let file = format!("{stem}{variant}.safetensors");
            if let Some(blob) = source.open(&format!("{component}/{file}"))? {
                return single(file, blob);
            }
            // Two orders of the words are in use for the index of a variant.
            for index in [
                format!("{file}.index.json"),
                format!("{stem}.safetensors.index{variant}.json"),
            ] {
                if source.open(&format!("{component}/{index}"))?.is_some() {
                    return sharded(source, component, &index);
                }
            }
        }
    }
    if let Some(file) = source.only_gguf(component)? {
        let blob = source
            .open(&format!("{component}/{file}"))?
            .ok_or_else(|| source.missing(&file))?;
        return single(file, blob);
    }
    Err(refused::no_weights(
        source,
        component,
        &format!("{component}/{}.safetensors", stems[0]),
    ))
}

/// The tensors of one file.
pub(super) fn of_file(file: String, blob: Blob) -> Result<Weights> {
    single(file, blob)
}

fn single(file: String, blob: Blob) -> Result<Weights> {
    let tensors = if gguf::is_gguf(&blob)? {
        gguf::read(&blob)?.tensors
    } else {
        header::read(&blob)?
    };
    let tensors = tensors
        .into_iter()
        .map(|(name, info)| (name, Stored { file: 0, info }))
        .collect();
    Ok(Weights {
        inner: Arc::new(Inner {
            files: vec![(file, blob)],
            tensors,
        }),
    })
}

fn sharded(source: &Source, component: &str, index_file: &str) -> Result<Weights> {
    let index_path = format!("{component}/{index_file}");
    let index = index::read(source, &index_path)?;
    let mut headers = BTreeMap::new();
    let mut files = Vec::with_capacity(index.shards.len());
    for shard in index.shards {
        let path = format!("{component}/{shard}");
        let blob = source.open(&path)?.ok_or_else(|| source.missing(&path))?;
        headers.insert(shard.clone(), (files.len(), header::read(&blob)?));
        files.push((shard, blob));
    }
    let mut tensors = BTreeMap::new();
    for (name, shard) in index.weight_map {
        let header = headers.get_mut(&shard);
        let found = header.and_then(|(file, header)| {
            Some(Stored {
                file: *file,
                info: header.remove(&name)?,
            })
        });
        let stored = found.ok_or_else(|| {
            let index = source.full_name(&index_path);
            Error::model(format!(
                "`{index}` says that `{shard}` holds the tensor `{name}`, and it does not"
            ))
        })?;
        tensors.insert(name, stored);
    }
    Ok(Weights {
        inner: Arc::new(Inner { files, tensors }),
    })
}
