//! A part of an image.

use std::ops::Range;

use candle_core::Tensor;

use crate::Result;

/// Some rows and columns of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Window {
    /// The same and so many pixels more on each side, as far as an image of `(height, width)` has them.
    pub(super) fn grown(&self, by: usize, (height, width): (usize, usize)) -> Self {
        let grown = |range: &Range<usize>, most: usize| {
            range.start.saturating_sub(by)..most.min(range.end + by)
        };
        Self {
            rows: grown(&self.rows, height),
            columns: grown(&self.columns, width),
        }
    }

    /// Where it is in the image that `outer` cuts out.
    pub(super) fn within(&self, outer: &Self) -> Self {
        let moved = |range: &Range<usize>, by: usize| range.start - by..range.end - by;
        Self {
            rows: moved(&self.rows, outer.rows.start),
            columns: moved(&self.columns, outer.columns.start),
        }
    }

    /// The same part of an image whose sides are `scale` times as long.
    pub(super) fn times(&self, scale: usize) -> Self {
        let times = |range: &Range<usize>| range.start * scale..range.end * scale;
        Self {
            rows: times(&self.rows),
            columns: times(&self.columns),
        }
    }

    /// The same part of an image whose sides are divided by `by`, which divides its ends.
    pub(super) fn over(&self, by: usize) -> Self {
        let over = |range: &Range<usize>| range.start / by..range.end / by;
        Self {
            rows: over(&self.rows),
            columns: over(&self.columns),
        }
    }

    /// The same in parts of so many rows.
    pub(super) fn strips(&self, rows: usize) -> impl Iterator<Item = Self> {
        let Range { start, end } = self.rows;
        (start..end).step_by(rows).map(move |from| Self {
            rows: from..end.min(from + rows),
            columns: self.columns.clone(),
        })
    }

    /// That part of `(1, h, w, c)`.
    pub(super) fn cut(&self, image: &Tensor) -> Result<Tensor> {
        let rows = image.narrow(1, self.rows.start, self.rows.len())?;
        let part = rows.narrow(2, self.columns.start, self.columns.len())?;
        Ok(part.contiguous()?)
    }
}
