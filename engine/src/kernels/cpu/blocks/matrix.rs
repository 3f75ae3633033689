//! A matrix as a file of blocks has it.

use std::ops::Range;

use super::BlockFormat;

/// A `(rows, columns)` matrix, each row a whole number of blocks.
#[derive(Clone)]
pub struct BlockMatrix {
    format: BlockFormat,
    columns: usize,
    bytes: Vec<u8>,
}

impl BlockMatrix {
    /// Of the rows' bytes, one row after the other.
    ///
    /// Panics when they are not whole rows of whole blocks.
    pub fn new(format: BlockFormat, columns: usize, bytes: Vec<u8>) -> Self {
        assert!(
            columns > 0 && columns.is_multiple_of(format.numbers()),
            "rows are whole blocks"
        );
        assert!(
            bytes.len().is_multiple_of(format.row_bytes(columns)),
            "a matrix is whole rows"
        );
        Self {
            format,
            columns,
            bytes,
        }
    }

    /// How its numbers are stored.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.bytes.len() / self.format.row_bytes(self.columns)
    }

    /// Numbers in a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Some numbers of each row; `None` when they do not begin and end with a block.
    pub fn with_columns(&self, columns: Range<usize>) -> Option<Self> {
        let block = self.format.numbers();
        if !columns.start.is_multiple_of(block)
            || !columns.len().is_multiple_of(block)
            || columns.is_empty()
        {
            return None;
        }
        let within = self.format.row_bytes(columns.start)..self.format.row_bytes(columns.end);
        let rows = self.bytes.chunks_exact(self.format.row_bytes(self.columns));
        let bytes = rows.flat_map(|row| &row[within.clone()]).copied().collect();
        Some(Self::new(self.format, columns.len(), bytes))
    }

    /// This matrix with the rows of `other` below. `None` when they are stored differently.
    pub fn with_rows(mut self, other: &Self) -> Option<Self> {
        if (self.format, self.columns) != (other.format, other.columns) {
            return None;
        }
        self.bytes.extend_from_slice(&other.bytes);
        Some(self)
    }

    /// All numbers.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut numbers = vec![0.0; self.rows() * self.columns];
        self.format.decode(&self.bytes, &mut numbers);
        numbers
    }

    /// The bytes of a row.
    pub(super) fn row(&self, row: usize) -> &[u8] {
        let len = self.format.row_bytes(self.columns);
        &self.bytes[row * len..][..len]
    }
}

impl std::fmt::Debug for BlockMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rows, columns) = (self.rows(), self.columns);
        write!(f, "{} ({rows}, {columns})", self.format.name())
    }
}
