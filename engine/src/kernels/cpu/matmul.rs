//! Matrix products: rows of activations times a packed weight, with what follows done while the result is in cache.

use rayon::prelude::*;

use super::math;
use super::output::{Output, room, with_scratch};
use super::panels::{PANEL, Panels};
use super::simd::for_each_instruction_set;
use super::tile::{Rows, multiply};
use crate::kernels::Activation;

/// The left-hand side: `elements` independent matrices of `rows` rows, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatmulShape {
    /// Elements of the batch.
    pub elements: usize,
    /// Rows of each element.
    pub rows: usize,
}

/// What is done to each number of a product before it is written, in this order.
#[derive(Debug, Clone, Copy)]
pub struct Extras<'a> {
    /// Added to every row; `columns` numbers.
    pub bias: Option<&'a [f32]>,
    /// Added to every row of one element; `elements * columns` numbers.
    pub element_bias: Option<&'a [f32]>,
    /// Applied to each number.
    pub activation: Activation,
    /// Added at last; as large as the result.
    pub residual: Option<&'a [f32]>,
}

impl Extras<'_> {
    /// Nothing is done.
    pub const NONE: Self = Self {
        bias: None,
        element_bias: None,
        activation: Activation::Identity,
        residual: None,
    };

    pub(super) fn check(&self, elements: usize, columns: usize, result: usize) {
        assert!(
            self.bias.is_none_or(|b| b.len() == columns),
            "a bias has one number for each column"
        );
        assert!(
            self.element_bias
                .is_none_or(|b| b.len() == elements * columns),
            "one number for element and column"
        );
        assert!(
            self.residual.is_none_or(|r| r.len() == result),
            "a residual is as large as the result"
        );
    }

    /// Both biases of one element for the columns of one panel.
    pub(super) fn panel_bias(&self, element: usize, columns: usize, panel: usize) -> [f32; PANEL] {
        let mut sum = [0.0; PANEL];
        let (from, to) = (panel * PANEL, columns.min((panel + 1) * PANEL));
        let of_element = self
            .element_bias
            .map(|b| &b[element * columns..][..columns]);
        for bias in [self.bias, of_element].into_iter().flatten() {
            for (s, b) in sum.iter_mut().zip(&bias[from..to]) {
                *s += b;
            }
        }
        sum
    }
}

/// `x (elements, rows, depth) -> (elements, rows, columns)`.
///
/// Panics when `x` or an extra is not as large as the shapes say.
pub fn matmul(x: &[f32], shape: MatmulShape, weight: &Panels, extras: &Extras<'_>) -> Vec<f32> {
    let MatmulShape { elements, rows } = shape;
    let (depth, columns) = (weight.depth(), weight.columns());
    assert_eq!(
        x.len(),
        elements * rows * depth,
        "left-hand side of a product"
    );
    extras.check(elements, columns, elements * rows * columns);
    let blocks = Blocks::new(rows, depth, weight.count());
    // SAFETY: the blocks of an element cover its rows and panels once each, and every row is written in its columns.
    unsafe {
        Output::fill(elements * rows * columns, |output| {
            blocks.for_each(elements, |element, rows_of_block, panels| {
                let from = element * rows + rows_of_block.start;
                let rows = Rows {
                    numbers: &x[from * depth..][..rows_of_block.len() * depth],
                    stride: depth,
                    count: rows_of_block.len(),
                    taps: &[0],
                    depth,
                };
                with_scratch(|scratch| {
                    let sums = room(&mut scratch.sums, rows.count * PANEL);
                    for p in panels {
                        multiply(rows, weight.panel(p), sums, PANEL);
                        add_bias_and_activate(
                            sums,
                            &extras.panel_bias(element, columns, p),
                            extras.activation,
                        );
                        let width = PANEL.min(columns - p * PANEL);
                        for (r, sums) in sums.chunks_exact_mut(PANEL).enumerate() {
                            let at = (from + r) * columns + p * PANEL;
                            add_residual(&mut sums[..width], extras.residual, at);
                            output.write(at, &sums[..width]);
                        }
                    }
                });
            });
        })
    }
}

/// A gated product, `(a + bias_a) * gelu(b + bias_b)` with `(a, b)` the two halves of the columns.
///
/// `weight`: from [`Panels::from_gated_linear`]. `bias`: `2 * columns` numbers as torch keeps them.
/// `x (elements, rows, depth) -> (elements, rows, columns)`.
pub fn geglu(
    x: &[f32],
    shape: MatmulShape,
    weight: &Panels,
    bias: &[f32],
    columns: usize,
) -> Vec<f32> {
    let MatmulShape { elements, rows } = shape;
    let depth = weight.depth();
    assert_eq!(
        x.len(),
        elements * rows * depth,
        "left-hand side of a product"
    );
    assert_eq!(
        (bias.len(), weight.count()),
        (2 * columns, 2 * columns.div_ceil(PANEL)),
        "a gated layer has two halves"
    );
    let (bias_a, bias_b) = bias.split_at(columns);
    let a_extras = Extras {
        bias: Some(bias_a),
        ..Extras::NONE
    };
    let b_extras = Extras {
        bias: Some(bias_b),
        ..Extras::NONE
    };
    let blocks = Blocks::new(rows, 2 * depth, columns.div_ceil(PANEL));
    // SAFETY: as in `matmul`.
    unsafe {
        Output::fill(elements * rows * columns, |output| {
            blocks.for_each(elements, |element, rows_of_block, panels| {
                let from = element * rows + rows_of_block.start;
                let count = rows_of_block.len();
                let numbers = &x[from * depth..][..count * depth];
                let rows = Rows {
                    numbers,
                    stride: depth,
                    count,
                    taps: &[0],
                    depth,
                };
                with_scratch(|scratch| {
                    let (a, b) =
                        room(&mut scratch.sums, 2 * count * PANEL).split_at_mut(count * PANEL);
                    for p in panels {
                        multiply(rows, weight.panel(2 * p), a, PANEL);
                        multiply(rows, weight.panel(2 * p + 1), b, PANEL);
                        add_bias_and_activate(
                            a,
                            &a_extras.panel_bias(0, columns, p),
                            Activation::Identity,
                        );
                        add_bias_and_activate(
                            b,
                            &b_extras.panel_bias(0, columns, p),
                            Activation::Gelu,
                        );
                        let width = PANEL.min(columns - p * PANEL);
                        for (r, (a, b)) in a
                            .chunks_exact_mut(PANEL)
                            .zip(b.chunks_exact(PANEL))
                            .enumerate()
                        {
                            a.iter_mut().zip(b).for_each(|(a, b)| *a *= b);
                            output.write((from + r) * columns + p * PANEL, &a[..width]);
                        }
                    }
                });
            });
        })
    }
}

for_each_instruction_set! {
    /// For each row of 32 sums: adds `bias`, then applies `activation`.
    pub(super) fn add_bias_and_activate(sums: &mut [f32], bias: &[f32; PANEL], activation: Activation) {
        for row in sums.chunks_exact_mut(PANEL) {
            row.iter_mut().zip(bias).for_each(|(s, b)| *s += b);
        }
        math::activate_slice(sums, activation);
    }
}

/// Adds to `sums` the part of the residual that begins `at` its place in the result.
#[inline]
pub(super) fn add_residual(sums: &mut [f32], residual: Option<&[f32]>, at: usize) {
    if let Some(residual) = residual {
        let width = sums.len();
        sums.iter_mut()
            .zip(&residual[at..at + width])
            .for_each(|(s, r)| *s += r);
    }
}

/// How one element's product is cut into tasks. Depends on the shape of one element only.
pub(super) struct Blocks {
    rows: usize,
    panels: usize,
    rows_per_block: usize,
    panels_per_block: usize,
}

impl Blocks {
    /// Numbers of the left-hand side in a block: they stay in the second-level cache while the panels pass by.
    const INPUT: usize = 96 * 1024;
    /// Tasks that an element should give, so that a few threads end at about the same time.
    const WANTED: usize = 8;
    /// Multiplications below which another task is not worth its start (about 10 microseconds).
    const SMALLEST: usize = 1 << 20;

    /// For a product of `rows` rows of `depth` numbers with `panels` panels.
    fn new(rows: usize, depth: usize, panels: usize) -> Self {
        let work = rows.saturating_mul(depth).saturating_mul(panels * PANEL);
        let wanted = (work / Self::SMALLEST).clamp(1, Self::WANTED);
        // Multiples of 14 rows and of 6 keep the inner loop full.
        let fitting = (Self::INPUT / depth.max(1)).clamp(42, 420) / 42 * 42;
        let evenly = rows.div_ceil(wanted).next_multiple_of(42);
        Self::with_rows(rows, fitting.min(evenly), panels, wanted)
    }

    /// With `rows_per_block` given.
    pub(super) fn with_rows(
        rows: usize,
        rows_per_block: usize,
        panels: usize,
        wanted: usize,
    ) -> Self {
        let row_blocks = rows.div_ceil(rows_per_block).max(1);
        let panel_blocks = (wanted / row_blocks).clamp(1, panels.max(1));
        Self {
            rows,
            panels,
            rows_per_block,
            panels_per_block: panels.div_ceil(panel_blocks).max(1),
        }
    }

    /// Calls `task(element, rows, panels)` for every block of every element, on the threads of the current pool.
    pub(super) fn for_each(
        &self,
        elements: usize,
        task: impl Fn(usize, std::ops::Range<usize>, std::ops::Range<usize>) + Sync,
    ) {
        let row_blocks = self.rows.div_ceil(self.rows_per_block);
        let panel_blocks = self.panels.div_ceil(self.panels_per_block);
        let part =
            |index: usize, size: usize, end: usize| index * size..end.min((index + 1) * size);
        let run = |index: usize| {
            let (element, within) = (
                index / (row_blocks * panel_blocks),
                index % (row_blocks * panel_blocks),
            );
            let rows = part(within / panel_blocks, self.rows_per_block, self.rows);
            task(
                element,
                rows,
                part(within % panel_blocks, self.panels_per_block, self.panels),
            );
        };
        match elements * row_blocks * panel_blocks {
            0 => {}
            1 => run(0),
            count => (0..count).into_par_iter().with_max_len(1).for_each(run),
        }
    }
}
