//! Matrix products: rows of activations times a packed weight, with what follows done while the result is in cache.

use std::ops::Range;

use super::blocks::BlockPanels;
use super::epilogue::{Extras, Place, finish, finish_gated};
use super::operand::{Buffer, Numbers, Operand};
use super::output::{Parts, fill, with_scratch};
use super::panels::{Format, PANEL, PanelVisitor, Panels, TypedPanels};
use super::parallel;
use super::tile::Rows;
use crate::kernels::Activation;

/// The left-hand side: `elements` independent matrices of `rows` rows, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatmulShape {
    /// Elements of the batch.
    pub elements: usize,
    /// Rows of each element.
    pub rows: usize,
}

/// `x (elements, rows, depth) -> (elements, rows, columns)` in the format `to`.
///
/// Panics when `x` or an extra is not as large as the shapes say.
pub fn matmul(
    x: Numbers<'_>,
    shape: MatmulShape,
    weight: &Panels,
    extras: &Extras<'_>,
    to: Format,
) -> Buffer {
    let MatmulShape { elements, rows } = shape;
    assert_eq!(
        x.len(),
        elements * rows * weight.depth(),
        "left-hand side of a product"
    );
    extras.check(
        elements,
        weight.columns(),
        elements * rows * weight.columns(),
    );
    assert!(
        extras.element_bias.is_none(),
        "an element's bias is a convolution's"
    );
    // Decided by the rows of one element, so that each has the same bits whatever else is in its batch.
    if let (1, Some(blocks)) = (rows, weight.blocks()) {
        return match to {
            Format::F32 => f32::buffer(single_rows(x, elements, blocks, extras)),
            Format::Bf16 => half::bf16::buffer(single_rows(x, elements, blocks, extras)),
        };
    }
    weight.visit(Matmul {
        x,
        rows: elements * rows,
        extras,
        to,
    })
}

/// Products of one row of each element with a weight in blocks.
fn single_rows<U: Operand>(
    x: Numbers<'_>,
    elements: usize,
    blocks: &BlockPanels,
    extras: &Extras<'_>,
) -> Vec<U> {
    let (depth, columns) = (blocks.depth(), blocks.columns());
    let mut vectors = vec![0.0; elements * depth];
    x.copy(0, &mut vectors);
    // SAFETY: each panel is one task's, and together they are all columns.
    unsafe {
        fill(elements * columns, |output| {
            parallel::for_each(columns.div_ceil(PANEL), |p| {
                with_scratch(|scratch| {
                    let (row, sums) = f32::scratch(scratch);
                    let sums = sums.room(elements * PANEL);
                    blocks.multiply(p, &vectors, row.room(depth), sums);
                    let bias = extras.panel_bias(0, columns, p);
                    let place = Place::rows(output, columns, p, 0, elements);
                    finish(sums, &bias, extras, &place);
                });
            });
        })
    }
}

struct Matmul<'a> {
    x: Numbers<'a>,
    rows: usize,
    extras: &'a Extras<'a>,
    to: Format,
}

impl PanelVisitor<Buffer> for Matmul<'_> {
    fn visit<T: Operand>(self, panels: TypedPanels<'_, T>) -> Buffer {
        match self.to {
            Format::F32 => f32::buffer(self.run(panels)),
            Format::Bf16 => half::bf16::buffer(self.run(panels)),
        }
    }
}

impl Matmul<'_> {
    fn run<T: Operand, U: Operand>(&self, panels: TypedPanels<'_, T>) -> Vec<U> {
        let columns = panels.columns;
        // SAFETY: the parts cover all panels, the blocks of each cover rows and panels once each, and every row is written
        // in its columns.
        unsafe {
            fill(self.rows * columns, |output| {
                panels
                    .for_each_part(|panels, first| self.run_part(&panels, first, columns, output));
            })
        }
    }

    /// Multiplies with some panels, of which the first is panel `of_part` of all.
    ///
    /// # Safety
    /// Nobody else writes these columns of `output`, which has room for all rows.
    unsafe fn run_part<T: Operand, U: Operand>(
        &self,
        panels: &TypedPanels<'_, T>,
        of_part: usize,
        columns: usize,
        output: &Parts<U>,
    ) {
        let blocks = Blocks::new::<T>(self.rows, panels.padded_depth(), panels.count());
        blocks.for_each(|rows, panel_range| {
            left_hand(self.x, rows, panels, |block, sums| {
                let width = |p: usize| PANEL.min(panels.columns - p * PANEL);
                let finish = |p: usize, first, count, sums: &mut [f32]| {
                    let p = of_part + p;
                    let bias = self.extras.panel_bias(0, columns, p);
                    let place = Place::rows(output, columns, p, first, count);
                    // SAFETY: handed on.
                    unsafe { finish(sums, &bias, self.extras, &place) };
                };
                let (piece, at_once) = block.pieces();
                for from in panel_range.clone().step_by(at_once) {
                    let group = from..panel_range.end.min(from + at_once);
                    for (first, rows) in block.parts() {
                        let len = rows.count * PANEL;
                        for (at, rows) in rows.pieces(piece) {
                            for (p, sums) in group.clone().zip(sums.chunks_mut(len)) {
                                let panel = &panels.panel(p)[at * PANEL..];
                                let panel = &panel[..rows.depth * PANEL];
                                T::multiply(rows, panel, 1, sums, PANEL, width(p));
                            }
                        }
                        for (p, sums) in group.clone().zip(sums.chunks_mut(len)) {
                            finish(p, first, rows.count, sums);
                        }
                    }
                }
            });
        });
    }
}

/// What a gated product does with its halves.
#[derive(Debug, Clone, Copy)]
pub struct GateExtras<'a> {
    /// `2 * columns` numbers as torch keeps them; none is all zeros.
    pub bias: Option<&'a [f32]>,
    /// Applied to the second half.
    pub gate: Activation,
    /// Of the result.
    pub columns: usize,
}

/// A gated product, `(a + bias_a) * gate(b + bias_b)` with `(a, b)` the two halves of the columns.
///
/// `weight`: from [`Panels::from_gated_linear`].
/// `x (elements, rows, depth) -> (elements, rows, columns)` in the format `to`.
pub fn gated(
    x: Numbers<'_>,
    shape: MatmulShape,
    weight: &Panels,
    extras: GateExtras<'_>,
    to: Format,
) -> Buffer {
    let GateExtras {
        bias,
        gate,
        columns,
    } = extras;
    let MatmulShape { elements, rows } = shape;
    assert_eq!(
        x.len(),
        elements * rows * weight.depth(),
        "left-hand side of a product"
    );
    assert_eq!(
        weight.count(),
        2 * columns.div_ceil(PANEL),
        "a gated layer has two halves"
    );
    assert!(
        bias.is_none_or(|bias| bias.len() == 2 * columns),
        "both halves of a gated layer have a bias"
    );
    weight.visit(Gated {
        x,
        rows: elements * rows,
        bias,
        gate,
        columns,
        to,
    })
}

struct Gated<'a> {
    x: Numbers<'a>,
    rows: usize,
    bias: Option<&'a [f32]>,
    gate: Activation,
    columns: usize,
    to: Format,
}

impl PanelVisitor<Buffer> for Gated<'_> {
    fn visit<T: Operand>(self, panels: TypedPanels<'_, T>) -> Buffer {
        match self.to {
            Format::F32 => f32::buffer(self.run(panels)),
            Format::Bf16 => half::bf16::buffer(self.run(panels)),
        }
    }
}

impl Gated<'_> {
    fn run<T: Operand, U: Operand>(&self, panels: TypedPanels<'_, T>) -> Vec<U> {
        let columns = self.columns;
        let halves = self.bias.map(|bias| bias.split_at(columns));
        let half = |bias| Extras {
            bias,
            activation: Activation::Identity,
            ..Extras::NONE
        };
        let of_halves = [half(halves.map(|h| h.0)), half(halves.map(|h| h.1))];
        // SAFETY: as in `matmul`; parts have an even number of panels, so pairs stay together.
        unsafe {
            fill(self.rows * columns, |output| {
                panels.for_each_part(|panels, first| {
                    self.run_part(&panels, first / 2, &of_halves, output);
                });
            })
        }
    }

    /// Multiplies with some pairs of panels, of which the first is pair `of_part` of all.
    ///
    /// # Safety
    /// Nobody else writes these columns of `output`, which has room for all rows.
    unsafe fn run_part<T: Operand, U: Operand>(
        &self,
        panels: &TypedPanels<'_, T>,
        of_part: usize,
        [a_extras, b_extras]: &[Extras<'_>; 2],
        output: &Parts<U>,
    ) {
        let columns = self.columns;
        let pairs = panels.count() / 2;
        let blocks = Blocks::new::<T>(self.rows, 2 * panels.padded_depth(), pairs);
        blocks.for_each(|rows, pair_range| {
            left_hand(self.x, rows, panels, |block, sums| {
                for p in pair_range {
                    let a_bias = a_extras.panel_bias(0, columns, of_part + p);
                    let b_bias = b_extras.panel_bias(0, columns, of_part + p);
                    for (first, rows) in block.parts() {
                        let (a, b) =
                            sums[..2 * rows.count * PANEL].split_at_mut(rows.count * PANEL);
                        T::multiply(rows, panels.panel(2 * p), 1, a, PANEL, PANEL);
                        T::multiply(rows, panels.panel(2 * p + 1), 1, b, PANEL, PANEL);
                        let place = Place::rows(output, columns, of_part + p, first, rows.count);
                        // SAFETY: handed on.
                        unsafe { finish_gated([a, b], &a_bias, &b_bias, self.gate, &place) };
                    }
                }
            });
        });
    }
}

/// Rows up to which most panels come from memory when they are used.
const FEW: usize = 1024;
/// Longest inner dimension whose rows stay in the second-level cache while the panels pass by.
const DEEP: usize = 2560;
/// What a longer one is cut into: all panels for one piece of the rows, then all for the next.
const PIECE: usize = 1280;
/// Panels whose sums wait in the second-level cache until all pieces are done.
const PANELS_AT_ONCE: usize = 20;

/// Some rows of the left-hand side.
struct LeftHand<'a, T> {
    /// Rows in all.
    of: usize,
    first: usize,
    count: usize,
    depth: usize,
    numbers: &'a [T],
}

impl<'a, T: Operand> LeftHand<'a, T> {
    /// Numbers of the rows that are used at a time, and the panels whose sums wait until all of them were.
    fn pieces(&self) -> (usize, usize) {
        if self.depth > DEEP {
            (PIECE, PANELS_AT_ONCE)
        } else {
            (self.depth, 1)
        }
    }

    /// The rows, some at a time, each time with the number of the first one.
    fn parts(&self) -> impl Iterator<Item = (usize, Rows<'a, T>)> {
        (0..self.count).step_by(T::ROWS_AT_ONCE).map(|from| {
            let count = T::ROWS_AT_ONCE.min(self.count - from);
            let numbers = &self.numbers[from * self.depth..][..count * self.depth];
            let rows = Rows {
                fetches: from == 0 && self.of <= FEW,
                ..Rows::matrix(numbers, count, self.depth, self.depth)
            };
            (self.first + from, rows)
        })
    }
}

/// Calls `with(rows of a block, room for the sums of a part and as many panels as are done at once)`; the rows are in
/// the format and filled up as the panels ask.
fn left_hand<T: Operand>(
    x: Numbers<'_>,
    rows: Range<usize>,
    panels: &TypedPanels<'_, T>,
    with: impl FnOnce(LeftHand<'_, T>, &mut [f32]),
) {
    let (depth, padded) = (panels.taps * panels.channels, panels.padded_depth());
    with_scratch(|scratch| {
        let (input, sums) = T::scratch(scratch);
        let numbers = match x.as_typed::<T>().filter(|_| depth == padded) {
            Some(typed) => &typed[rows.start * depth..rows.end * depth],
            None => {
                let copy = input.room(rows.len() * padded);
                if depth == padded {
                    x.copy(rows.start * depth, copy);
                } else {
                    for (r, row) in rows.clone().zip(copy.chunks_exact_mut(padded)) {
                        let (row, filling) = row.split_at_mut(depth);
                        x.copy(r * depth, row);
                        filling.fill(T::ZERO);
                    }
                }
                &*copy
            }
        };
        let block = LeftHand {
            of: x.len() / depth.max(1),
            first: rows.start,
            count: rows.len(),
            depth: padded,
            numbers,
        };
        // A gate has the sums of two panels at once.
        let at_once = block.pieces().1.max(2);
        with(block, sums.room(at_once * T::ROWS_AT_ONCE * PANEL));
    });
}

/// How a product is cut into tasks. Nothing in its result depends on it.
struct Blocks {
    rows: usize,
    panels: usize,
    rows_per_block: usize,
    panels_per_block: usize,
}

impl Blocks {
    /// Bytes of the left-hand side in a block: they stay in the second-level cache while the panels pass by.
    const INPUT: usize = 512 * 1024;
    /// Tasks that each thread should get, so that all end at about the same time.
    const TASKS: usize = 3;
    /// Multiplications below which another task is not worth its start (about a microsecond).
    const SMALLEST: usize = 1 << 18;

    /// For a product of `rows` rows of `depth` numbers with `panels` panels.
    fn new<T: Operand>(rows: usize, depth: usize, panels: usize) -> Self {
        let work = rows.saturating_mul(depth).saturating_mul(panels * PANEL);
        let threads = rayon::current_num_threads();
        let wanted = if threads == 1 {
            1
        } else {
            (work / Self::SMALLEST).clamp(1, Self::TASKS * threads)
        };
        let fitting = (Self::INPUT / (depth.max(1) * size_of::<T>())).max(T::ROWS_AT_ONCE);
        let mut row_blocks = rows.div_ceil(fitting).max(1);
        // Weights are read once if each is one task's: rows are cut only when there are not panels enough.
        let mut panel_blocks = 1;
        if row_blocks < wanted {
            if rows * size_of::<T>() * depth > 2 * Self::INPUT || panels < wanted {
                row_blocks = wanted.min(rows.div_ceil(T::ROWS_AT_ONCE)).max(row_blocks);
            }
            panel_blocks = wanted.div_ceil(row_blocks).min(panels.max(1));
        }
        Self {
            rows,
            panels,
            rows_per_block: rows.div_ceil(row_blocks).next_multiple_of(16).max(1),
            panels_per_block: panels.div_ceil(panel_blocks).max(1),
        }
    }

    /// Calls `task(rows, panels)` for every block.
    fn for_each(&self, task: impl Fn(Range<usize>, Range<usize>) + Sync) {
        let part =
            |index: usize, size: usize, end: usize| index * size..end.min((index + 1) * size);
        let panel_blocks = self.panels.div_ceil(self.panels_per_block);
        let row_blocks = self.rows.div_ceil(self.rows_per_block);
        parallel::for_each(row_blocks * panel_blocks, |index| {
            task(
                part(index / panel_blocks, self.rows_per_block, self.rows),
                part(index % panel_blocks, self.panels_per_block, self.panels),
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inner dimensions that are cut and that are not, odd numbers of rows, more panels than wait at once, and none at all.
    #[test]
    fn products_of_any_depth_are_right_in_both_formats() {
        for (rows, depth, columns) in [(77, 3000, 700), (300, 2561, 33), (33, 2560, 40), (3, 0, 5)]
        {
            let numbers = |n: usize| -> Vec<f32> {
                let digit = |i: usize| (i * 7919 % 1013) as f32 / 512.0 - 1.0;
                (0..n)
                    .map(|i| half::bf16::from_f32(digit(i)).to_f32())
                    .collect()
            };
            let (x, weight) = (numbers(rows * depth), numbers(columns * depth));
            for format in [Format::F32, Format::Bf16] {
                let panels = Panels::from_linear(&weight, columns, depth, format);
                let shape = MatmulShape { elements: 1, rows };
                let result = matmul(Numbers::F32(&x), shape, &panels, &Extras::NONE, Format::F32);
                let Buffer::F32(result) = result else {
                    panic!("another format than was asked for")
                };
                assert_eq!(result.len(), rows * columns);
                for (i, got) in result.iter().enumerate().step_by(7) {
                    let (r, c) = (i / columns, i % columns);
                    let exact: f64 = (0..depth)
                        .map(|k| f64::from(x[r * depth + k]) * f64::from(weight[c * depth + k]))
                        .sum();
                    let error = (f64::from(*got) - exact).abs();
                    assert!(
                        error < 1e-2,
                        "{format:?} {rows}x{depth} row {r} column {c}: {error}"
                    );
                }
            }
        }
    }

    #[test]
    fn blocks_cover_rows_and_panels_once() {
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                for (rows, depth, panels) in [
                    (1, 1280, 40),
                    (77, 768, 10),
                    (4096, 320, 80),
                    (8192, 320, 1),
                    (128, 5120, 40),
                    (0, 5, 3),
                ] {
                    let seen: Vec<std::sync::atomic::AtomicU32> =
                        (0..rows * panels).map(|_| 0.into()).collect();
                    Blocks::new::<f32>(rows, depth, panels).for_each(|rows, of_panels| {
                        for (r, p) in rows.flat_map(|r| of_panels.clone().map(move |p| (r, p))) {
                            seen[r * panels + p].fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    });
                    assert!(
                        seen.into_iter().all(|n| n.into_inner() == 1),
                        "{rows} {panels}"
                    );
                }
            });
        }
    }
}
