//! A part of a single file under the names that the networks know: whole tensors, rows of them, halves the other way round.
//!
//! Nothing is read or copied: a renamed tensor is another range of the same file.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Weights;
use super::header::{Order, TensorInfo};
use super::weights::Stored;
use crate::{Error, Result};

/// What a layer has: the scale is of a weight in eight bits.
const KINDS: [&str; 3] = ["weight", "bias", "scale_weight"];

/// Collects a part's tensors out of a file of several parts.
pub struct Renaming<'a> {
    from: &'a Weights,
    tensors: BTreeMap<String, Stored>,
}

impl<'a> Renaming<'a> {
    /// Of the tensors of `from`; nothing is taken yet.
    pub fn new(from: &'a Weights) -> Self {
        Self {
            from,
            tensors: BTreeMap::new(),
        }
    }

    /// Takes the tensor `from` as `to`, if it is there; whether it was.
    pub fn take(&mut self, from: &str, to: &str) -> bool {
        self.put(from, to, |_| {})
    }

    /// Takes `from.weight`, `from.bias` and the scale of a weight in eight bits, those that are there, as those of `to`.
    pub fn layer(&mut self, from: &str, to: &str) {
        for kind in KINDS {
            self.take(&format!("{from}.{kind}"), &format!("{to}.{kind}"));
        }
    }

    /// Takes layers of the block `from` as those of the block `to`, by a table of their names in both.
    pub fn layers(&mut self, from: &str, to: &str, table: &[(&str, &str)]) {
        for (theirs, ours) in table {
            self.layer(&format!("{from}.{theirs}"), &format!("{to}.{ours}"));
        }
    }

    /// The same for single tensors.
    pub fn tensors(&mut self, from: &str, to: &str, table: &[(&str, &str)]) {
        for (theirs, ours) in table {
            self.take(&format!("{from}.{theirs}"), &format!("{to}.{ours}"));
        }
    }

    /// The same for layers that are stored as one, in thirds of its rows. Fails when they have too few.
    pub fn fused(&mut self, from: &str, to: &str, table: &[(&str, [&str; 3])]) -> Result<()> {
        table
            .iter()
            .try_for_each(|(theirs, ours)| self.thirds(&format!("{from}.{theirs}"), to, ours))
    }

    /// Takes every tensor whose name begins with `from`, with `to` in its place.
    pub fn prefix(&mut self, from: &str, to: &str) {
        let names: Vec<String> = self
            .from
            .names()
            .filter(|name| name.starts_with(from))
            .map(str::to_owned)
            .collect();
        for name in names {
            self.take(&name, &format!("{to}{}", &name[from.len()..]));
        }
    }

    /// As [`Self::layer`], a convolution of one pixel as a fully connected layer.
    pub fn pixel_layer(&mut self, from: &str, to: &str) {
        self.put(&format!("{from}.weight"), &format!("{to}.weight"), |info| {
            while info.shape.len() > 2 && info.shape.last() == Some(&1) {
                info.shape.pop();
            }
        });
        self.take(&format!("{from}.bias"), &format!("{to}.bias"));
    }

    /// As [`Self::layer`], some rows of both. Fails when the file has fewer.
    pub fn rows(&mut self, from: &str, to: &str, rows: Range<usize>) -> Result<()> {
        for kind in KINDS {
            self.tensor_rows(
                &format!("{from}.{kind}"),
                &format!("{to}.{kind}"),
                rows.clone(),
            )?;
        }
        Ok(())
    }

    /// As [`Self::layer`], the thirds of its rows as three layers below `to`.
    fn thirds(&mut self, from: &str, to: &str, names: &[&str; 3]) -> Result<()> {
        let shape = self.from.shape(&format!("{from}.weight"));
        let rows = shape.and_then(|shape| shape.first()).copied().unwrap_or(0) / 3;
        for (index, name) in names.iter().enumerate() {
            self.rows(
                from,
                &format!("{to}.{name}"),
                index * rows..(index + 1) * rows,
            )?;
        }
        Ok(())
    }

    /// Some rows of one tensor, if it is there. Fails when it has fewer.
    pub fn tensor_rows(&mut self, from: &str, to: &str, rows: Range<usize>) -> Result<()> {
        let Some(shape) = self.from.shape(from) else {
            return Ok(());
        };
        if shape.iter().product::<usize>() == 1 {
            self.take(from, to);
            return Ok(());
        }
        let count = shape.first().copied().unwrap_or(0);
        if rows.end > count || rows.start > rows.end {
            return Err(Error::model(format!(
                "the tensor `{from}` has {count} rows, and {} are needed",
                rows.end
            )));
        }
        let is_cut = self.from.stored(from).is_some_and(|stored| {
            let row = stored.info.elements / count.max(1);
            !row.is_multiple_of(stored.info.dtype.block_numbers())
        });
        if is_cut {
            return Err(Error::model(format!(
                "the tensor `{from}` is stored in blocks that are longer than its rows"
            )));
        }
        self.put(from, to, |info| {
            let row_bytes = info.bytes / count.max(1) as u64;
            let row = info.elements / count.max(1);
            info.start += row_bytes * rows.start as u64;
            info.bytes = row_bytes * rows.len() as u64;
            info.elements = row * rows.len();
            info.shape[0] = rows.len();
        });
        Ok(())
    }

    /// As [`Self::layer`], with the halves of both the other way round.
    pub fn swapped_halves(&mut self, from: &str, to: &str) {
        for kind in ["weight", "bias"] {
            self.put(&format!("{from}.{kind}"), &format!("{to}.{kind}"), |info| {
                info.order = Order::HalvesSwapped;
            });
        }
    }

    /// The matrix `from` as `to`, its rows as columns.
    pub fn transposed(&mut self, from: &str, to: &str) {
        self.put(from, to, |info| {
            info.shape.reverse();
            info.order = Order::Transposed;
        });
    }

    /// What was taken.
    pub fn finish(self) -> Weights {
        self.from.with_tensors(self.tensors)
    }

    fn put(&mut self, from: &str, to: &str, change: impl FnOnce(&mut TensorInfo)) -> bool {
        let Some(stored) = self.from.stored(from) else {
            return false;
        };
        let mut stored = stored.clone();
        change(&mut stored.info);
        self.tensors.insert(to.to_owned(), stored);
        true
    }
}
