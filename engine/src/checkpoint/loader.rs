//! Reading tensors by name, with the shape the network expects.

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::header::{DType, Order, TensorInfo};
use super::source::Blob;
use super::{Layers, Part, Rows, Weights, convert};
use crate::{Error, Precision, Result};

/// Told after each tensor how many bytes were just read.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// A place in a component's tensors: a prefix of their names, and the device they are read to. Cheap to clone.
#[derive(Clone)]
pub struct Loader {
    weights: Weights,
    device: Device,
    progress: Option<Progress>,
    precision: Precision,
    prefix: String,
    /// Where layers are noted, and the name of the part that they belong to.
    layers: Option<(Layers, Arc<str>)>,
}

impl Loader {
    pub(super) fn new(weights: Weights, device: Device, progress: Option<Progress>) -> Self {
        Self {
            weights,
            device,
            progress,
            precision: Precision::F32,
            prefix: String::new(),
            layers: None,
        }
    }

    /// The place below `name`: `loader.pp("down_blocks").pp(0)` reads tensors called `down_blocks.0.…`.
    #[must_use]
    pub fn pp(&self, name: impl Display) -> Self {
        Self {
            prefix: self.full_name(name),
            ..self.clone()
        }
    }

    /// The same place, for layers that compute with `precision`; without this, in single precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The same place, whose layers are noted in `layers` as those of `part`.
    #[must_use]
    pub fn with_layers(self, layers: &Layers, part: &str) -> Self {
        let layers = Some((layers.clone(), part.into()));
        Self { layers, ..self }
    }

    /// Where layers are noted, if anywhere.
    pub fn layers(&self) -> Option<&Layers> {
        self.layers.as_ref().map(|(layers, _)| layers)
    }

    /// The layer at this place, whose weight has `shape`: some rows and some numbers of each.
    pub fn part(
        &self,
        shape: (usize, usize),
        rows: Range<usize>,
        columns: Range<usize>,
        at: usize,
    ) -> Part {
        let part = self.layers.as_ref().map_or("", |(_, part)| part);
        Part {
            name: format!("{part}.{}", self.prefix),
            shape,
            rows,
            columns,
            at,
        }
    }

    /// What the layers that are loaded compute with.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Reads a tensor as f32.
    ///
    /// Fails when it is missing, has another shape than `shape` (the message gives both), or is not f32, f16 or bf16.
    pub fn get(&self, shape: &[usize], name: &str) -> Result<Tensor> {
        let (blob, info) = self.find(shape, name)?;
        let mut values = convert::to_f32(blob, info)?;
        self.scale(info, name, &mut values)?;
        let tensor = Tensor::from_vec(values, shape, &self.device)?;
        self.tell(info);
        Ok(tensor)
    }

    /// Some rows of a matrix `(rows, columns)`, as f32. Fails as [`Self::get`] does.
    pub fn get_rows(&self, shape: [usize; 2], name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        let (blob, info) = self.find(&shape, name)?;
        let [count, columns] = shape;
        if rows.start > rows.end || rows.end > count {
            return Err(Error::internal("rows that a matrix does not have"));
        }
        if info.order != Order::Plain {
            let all = self.get(&shape, name)?.flatten_all()?.to_vec1::<f32>()?;
            return Ok(all[rows.start * columns..rows.end * columns].to_vec());
        }
        let mut values =
            convert::part_to_f32(blob, info, rows.start * columns, rows.len() * columns)?;
        self.scale(info, name, &mut values)?;
        self.tell_part(info, rows.len(), count);
        Ok(values)
    }

    /// A table `(count, dim)` whose rows are read from the file when they are asked for. Fails as [`Self::get`] does.
    pub fn rows(&self, count: usize, dim: usize, name: &str) -> Result<Rows> {
        let (_, info) = self.find(&[count, dim], name)?;
        self.tell(info);
        Ok(Rows::new(
            self.weights.clone(),
            self.full_name(name),
            count,
            dim,
        ))
    }

    /// Multiplies the numbers of a weight in eight bits by the scale that stands beside it, if one does.
    fn scale(&self, info: &TensorInfo, name: &str, values: &mut [f32]) -> Result<()> {
        if info.dtype != DType::F8E4M3 {
            return Ok(());
        }
        let scale = name
            .strip_suffix("weight")
            .map(|layer| self.full_name(format!("{layer}scale_weight")));
        let Some((blob, info)) = scale.and_then(|scale| self.weights.find(&scale)) else {
            return Ok(());
        };
        if info.elements == 1 && info.dtype.is_read() {
            let scale = convert::to_f32(blob, info)?[0];
            values.iter_mut().for_each(|value| *value *= scale);
        }
        Ok(())
    }

    /// Tells of `rows` rows of `count`.
    pub(super) fn tell_part(&self, info: &TensorInfo, rows: usize, count: usize) {
        if let Some(progress) = &self.progress {
            progress(info.bytes / count.max(1) as u64 * rows as u64);
        }
    }

    fn tell(&self, info: &TensorInfo) {
        if let Some(progress) = &self.progress {
            progress(info.bytes);
        }
    }

    /// The tensor's place, if it is what the network expects.
    pub(super) fn find(&self, shape: &[usize], name: &str) -> Result<(&Blob, &TensorInfo)> {
        let name = self.full_name(name);
        let (blob, info) = self.weights.find(&name).ok_or_else(|| {
            Error::model(format!(
                "the tensor `{name}` is missing: {} does not have it",
                self.weights.file_names()
            ))
        })?;
        // GGUF has no dimensions of one before the others.
        if without_ones(&info.shape) != without_ones(shape) {
            return Err(Error::model(format!(
                "`{}`: the tensor `{name}` has the shape {:?}, and the configuration asks for {shape:?}",
                blob.name, info.shape
            )));
        }
        if !info.dtype.is_read() {
            return Err(Error::model(format!(
                "`{}`: the tensor `{name}` is {}; f32, f16, bf16, fp8 and GGUF's blocks are supported",
                blob.name,
                info.dtype.name()
            )));
        }
        Ok((blob, info))
    }

    /// Whether there is such a tensor.
    pub fn contains(&self, name: &str) -> bool {
        self.weights.find(&self.full_name(name)).is_some()
    }

    /// The shape of a tensor as the file has it.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.weights
            .find(&self.full_name(name))
            .map(|(_, info)| info.shape.clone())
    }

    /// The device that tensors are read to.
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn full_name(&self, name: impl Display) -> String {
        match self.prefix.as_str() {
            "" => name.to_string(),
            prefix => format!("{prefix}.{name}"),
        }
    }
}

/// A shape without the dimensions of one that it begins with.
fn without_ones(shape: &[usize]) -> &[usize] {
    let first = shape.iter().position(|dimension| *dimension != 1);
    &shape[first.unwrap_or(shape.len())..]
}
