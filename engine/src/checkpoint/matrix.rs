//! The weight of a layer as it is read: numbers, or blocks of few bits that stay as they are.

use std::ops::Range;

use super::header::{DType, Order};
use super::loader::Loader;
use super::{convert, header::TensorInfo, source::Blob};
use crate::kernels::cpu::BlockMatrix;
use crate::{Error, Result};

/// A `(rows, columns)` matrix, row after row.
#[derive(Debug, Clone)]
pub enum Matrix {
    /// Single precision.
    Numbers(Vec<f32>),
    /// In blocks.
    Blocks(BlockMatrix),
}

impl Matrix {
    /// This matrix with the rows of `other`, which has as many columns, below.
    #[must_use]
    pub fn with_rows(self, other: Self) -> Self {
        match (self, other) {
            (Self::Blocks(above), Self::Blocks(below)) => match above.clone().with_rows(&below) {
                Some(both) => Self::Blocks(both),
                None => Self::Numbers([above.to_f32(), below.to_f32()].concat()),
            },
            (above, below) => Self::Numbers([above.into_f32(), below.into_f32()].concat()),
        }
    }

    /// Its numbers in single precision.
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::Numbers(numbers) => numbers,
            Self::Blocks(blocks) => blocks.to_f32(),
        }
    }
}

impl Loader {
    /// Some rows, and some numbers of each, of the weight `name` whose shape is `shape`: rows, and numbers in a row.
    ///
    /// Fails as [`Self::get`] does.
    pub fn matrix(
        &self,
        shape: &[usize],
        name: &str,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Result<Matrix> {
        let (blob, info) = self.find(shape, name)?;
        let (count, width) = (
            shape.first().copied().unwrap_or(1),
            shape.iter().skip(1).product(),
        );
        if rows.start > rows.end
            || rows.end > count
            || columns.start > columns.end
            || columns.end > width
        {
            return Err(Error::internal("a part of a matrix that it does not have"));
        }
        if let Some(blocks) = blocks(blob, info, &rows)? {
            self.tell_part(info, rows.len(), count);
            if columns.len() == width {
                return Ok(Matrix::Blocks(blocks));
            }
            return Ok(match blocks.with_columns(columns.clone()) {
                Some(part) => Matrix::Blocks(part),
                None => Matrix::Numbers(cut(&blocks.to_f32(), width, columns)),
            });
        }
        let numbers = if rows.len() == count {
            self.get(shape, name)?.flatten_all()?.to_vec1()?
        } else {
            self.get_rows([count, width], name, rows)?
        };
        Ok(Matrix::Numbers(if columns.len() == width {
            numbers
        } else {
            cut(&numbers, width, columns)
        }))
    }
}

/// The rows as they are, where they are whole blocks.
fn blocks(blob: &Blob, info: &TensorInfo, rows: &Range<usize>) -> Result<Option<BlockMatrix>> {
    let DType::Blocks(format) = info.dtype else {
        return Ok(None);
    };
    let (false, [count, width]) = (!info.is_block_matrix(), info.shape.as_slice()) else {
        return Ok(None);
    };
    let row = format.row_bytes(*width);
    // Halves that stand the other way round are read as they stand, each of them.
    let pieces = match info.order {
        Order::HalvesSwapped if rows.len() == *count => vec![count / 2..*count, 0..count / 2],
        Order::HalvesSwapped | Order::Transposed => return Ok(None),
        Order::Plain => vec![rows.clone()],
    };
    let mut all = Vec::new();
    for piece in pieces {
        let start = info.start + (piece.start * row) as u64;
        all.push(convert::bytes(blob, start, piece.len() * row)?);
    }
    let bytes = match <[Vec<u8>; 1]>::try_from(all) {
        Ok([bytes]) => bytes,
        Err(several) => several.concat(),
    };
    Ok(Some(BlockMatrix::new(format, *width, bytes)))
}

fn cut(numbers: &[f32], width: usize, columns: Range<usize>) -> Vec<f32> {
    numbers
        .chunks_exact(width.max(1))
        .flat_map(|row| &row[columns.clone()])
        .copied()
        .collect()
}
