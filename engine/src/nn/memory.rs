//! Between candle's tensors and the kernels' slices.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Device, Layout, Storage, Tensor};

use crate::kernels::cpu::{Buffer, Numbers};
use crate::{Error, ErrorKind, Result};

/// Borrows the numbers of a contiguous `f32` tensor in main memory.
///
/// Fails for other devices, other types and tensors that are not contiguous.
pub(super) fn numbers(tensor: &Tensor) -> Result<impl Deref<Target = [f32]> + '_> {
    let (storage, layout) = tensor.storage_and_layout();
    if !matches!(&*storage, Storage::Cpu(CpuStorage::F32(_))) {
        return Err(unsupported(tensor));
    }
    let range = contiguous(layout)?;
    Ok(Borrowed { storage, range })
}

/// Borrows the numbers of a contiguous tensor in main memory that products are made of: `f32` or `bf16`.
///
/// Fails for other devices, other types and tensors that are not contiguous.
pub(super) fn operands(tensor: &Tensor) -> Result<Borrowed<impl Deref<Target = Storage> + '_>> {
    let (storage, layout) = tensor.storage_and_layout();
    if !matches!(
        &*storage,
        Storage::Cpu(CpuStorage::F32(_) | CpuStorage::BF16(_))
    ) {
        return Err(unsupported(tensor));
    }
    let range = contiguous(layout)?;
    Ok(Borrowed { storage, range })
}

fn contiguous(layout: &Layout) -> Result<Range<usize>> {
    let (from, to) = layout
        .contiguous_offsets()
        .ok_or_else(|| internal("a layer was given a tensor that is not contiguous"))?;
    Ok(from..to)
}

/// A guard of a tensor's storage, and which part of it is the tensor.
pub(super) struct Borrowed<G> {
    storage: G,
    range: Range<usize>,
}

impl<G: Deref<Target = Storage>> Borrowed<G> {
    pub(super) fn numbers(&self) -> Numbers<'_> {
        match &*self.storage {
            Storage::Cpu(CpuStorage::BF16(all)) => Numbers::Bf16(&all[self.range.clone()]),
            _ => Numbers::F32(self),
        }
    }
}

impl<G: Deref<Target = Storage>> Deref for Borrowed<G> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(all)) => &all[self.range.clone()],
            // `numbers` makes no others.
            _ => &[],
        }
    }
}

/// A tensor in main memory from the numbers that a kernel made.
pub(super) fn tensor(numbers: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?)
}

/// The same, in the format that the kernel wrote.
pub(super) fn tensor_of(buffer: Buffer, shape: &[usize]) -> Result<Tensor> {
    Ok(match buffer {
        Buffer::F32(numbers) => Tensor::from_vec(numbers, shape, &Device::Cpu)?,
        Buffer::Bf16(numbers) => Tensor::from_vec(numbers, shape, &Device::Cpu)?,
    })
}

/// A weight, as a plain vector.
pub(super) fn weight(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(numbers(&tensor.contiguous()?)?.to_vec())
}

/// Fails unless the last dimension of `tensor` is `channels`; `layer` names who asks.
pub(super) fn check_channels(tensor: &Tensor, channels: usize, layer: &str) -> Result<()> {
    match tensor.dims().last() {
        Some(found) if *found == channels => Ok(()),
        found => Err(internal(format!(
            "a {layer} of {channels} channels was given {}",
            found.unwrap_or(&0)
        ))),
    }
}

/// Batch, and how many rows of the last dimension each element has.
pub(super) fn batch_and_rows(tensor: &Tensor) -> (usize, usize) {
    match tensor.dims() {
        [] | [_] => (1, 1),
        [batch, middle @ .., _] => (*batch, middle.iter().product()),
    }
}

/// Height and width of a batch of images.
pub(super) fn image_dims(tensor: &Tensor) -> Result<(usize, usize, usize, usize)> {
    Ok(tensor.dims4()?)
}

pub(super) fn internal(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Internal, message)
}

fn unsupported(tensor: &Tensor) -> Error {
    internal(format!(
        "layers compute {} on {:?}, which is not supported yet",
        tensor.dtype().as_str(),
        tensor.device().location()
    ))
}
