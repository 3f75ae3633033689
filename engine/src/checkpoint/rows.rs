//! Rows of a large table, read when they are asked for: the embeddings of a vocabulary, of which a prompt needs few.

use std::fmt;

use super::header::TensorInfo;
use super::source::Blob;
use super::{Weights, convert};
use crate::{Error, Result};

/// A table in a file, `(count, dim)`.
#[derive(Clone)]
pub struct Rows {
    weights: Weights,
    name: String,
    count: usize,
    dim: usize,
}

impl Rows {
    /// Of the tensor `name` of `weights`, whose shape was checked.
    pub(super) fn new(weights: Weights, name: String, count: usize, dim: usize) -> Self {
        Self {
            weights,
            name,
            count,
            dim,
        }
    }

    /// Rows of the table.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Reads row `index`, as f32; `None` when the table has no such row.
    pub fn row(&self, index: usize) -> Result<Option<Vec<f32>>> {
        if index >= self.count {
            return Ok(None);
        }
        let (blob, info): (&Blob, &TensorInfo) = self
            .weights
            .find(&self.name)
            .ok_or_else(|| Error::internal("a table that was found is gone"))?;
        convert::part_to_f32(blob, info, index * self.dim, self.dim).map(Some)
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}, {})", self.name, self.count, self.dim)
    }
}
