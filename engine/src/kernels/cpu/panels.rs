//! The right-hand matrix of a product, stored once in the order in which the kernels read it.

/// Columns in a panel: two vectors of AVX-512.
pub(super) const PANEL: usize = 32;

/// A `(depth, columns)` matrix cut into panels of 32 columns; each panel holds its rows one after the other, and the
/// last one is filled up with zero columns.
#[derive(Debug, Clone)]
pub struct Panels {
    numbers: Vec<f32>,
    depth: usize,
    columns: usize,
}

impl Panels {
    /// From a weight as torch keeps it for `Linear`: `(columns, depth)`, row-major.
    ///
    /// Panics when `weight` does not have `columns * depth` numbers.
    pub fn from_linear(weight: &[f32], columns: usize, depth: usize) -> Self {
        assert_eq!(weight.len(), columns * depth, "weight of a linear layer");
        Self::from_fn(depth, columns, |k, n| weight[n * depth + k])
    }

    /// From a weight as torch keeps it for `Conv2d`: `(columns, channels, kernel, kernel)`. The inner dimension
    /// becomes `(kernel row, kernel column, channel)`, the order in which a channels-last input is read.
    ///
    /// Panics when `weight` does not have that many numbers.
    pub fn from_conv2d(weight: &[f32], columns: usize, channels: usize, kernel: usize) -> Self {
        let taps = kernel * kernel;
        assert_eq!(
            weight.len(),
            columns * channels * taps,
            "weight of a convolution"
        );
        Self::from_fn(channels * taps, columns, |k, n| {
            let (tap, channel) = (k / channels, k % channels);
            weight[(n * channels + channel) * taps + tap]
        })
    }

    /// From a gated linear weight `(2 * columns, depth)`: panels of the first half and of the second half alternate.
    pub fn from_gated_linear(weight: &[f32], columns: usize, depth: usize) -> Self {
        assert_eq!(
            weight.len(),
            2 * columns * depth,
            "weight of a gated linear layer"
        );
        let padded = columns.div_ceil(PANEL) * PANEL;
        Self::from_fn(depth, 2 * padded, |k, n| {
            let (pair, within) = (n / (2 * PANEL), n % (2 * PANEL));
            let (half, column) = (within / PANEL, pair * PANEL + within % PANEL);
            if column < columns {
                weight[(half * columns + column) * depth + k]
            } else {
                0.0
            }
        })
    }

    fn from_fn(depth: usize, columns: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let count = columns.div_ceil(PANEL);
        let mut numbers = vec![0.0; count * depth * PANEL];
        if depth > 0 {
            for (p, panel) in numbers.chunks_exact_mut(depth * PANEL).enumerate() {
                let width = PANEL.min(columns - p * PANEL);
                // Column by column: that is the order of torch's weights in memory.
                for j in 0..width {
                    for k in 0..depth {
                        panel[k * PANEL + j] = at(k, p * PANEL + j);
                    }
                }
            }
        }
        Self {
            numbers,
            depth,
            columns,
        }
    }

    /// Inner dimension.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Columns of the result.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of panels.
    pub(super) fn count(&self) -> usize {
        self.columns.div_ceil(PANEL)
    }

    /// Panel `index`: `depth` rows of 32.
    pub(super) fn panel(&self, index: usize) -> &[f32] {
        &self.numbers[index * self.depth * PANEL..][..self.depth * PANEL]
    }
}
