//! From blocks to the panels that the kernels multiply with, some at a time while a product runs.

use std::cell::RefCell;

use half::bf16;

use super::super::aligned::{Aligned, Number};
use super::super::math;
use super::super::output::Parts;
use super::super::panels::PANEL;
use super::super::parallel;
use super::super::simd::for_each_instruction_set;
use super::{Block, BlockMatrix, BlockVisitor, transpose};

/// Bytes of panels that are there at a time. They come out of the third-level cache while rows pass by.
const AT_ONCE: usize = 8 << 20;

/// A weight in blocks, cut into panels when it is used.
#[derive(Debug, Clone)]
pub(in super::super) struct BlockPanels {
    pub(super) matrix: BlockMatrix,
    /// Whether panels of the first and of the second half of the rows alternate.
    pub(super) is_gated: bool,
}

impl BlockPanels {
    pub(in super::super) fn new(matrix: BlockMatrix, is_gated: bool) -> Self {
        assert!(
            !is_gated || matrix.rows().is_multiple_of(2),
            "a gated layer has two halves"
        );
        Self { matrix, is_gated }
    }

    /// Columns of the product: with what fills up the panels where it is gated.
    pub(in super::super) fn columns(&self) -> usize {
        if self.is_gated {
            2 * (self.matrix.rows() / 2).next_multiple_of(PANEL)
        } else {
            self.matrix.rows()
        }
    }

    pub(in super::super) fn depth(&self) -> usize {
        self.matrix.columns()
    }

    pub(in super::super) fn bytes(&self) -> usize {
        self.matrix.bytes()
    }

    /// Calls `with(panels, number of the first one)` for all panels, some at a time and an even number unless it is the end.
    pub(in super::super) fn for_each<T: PanelNumber>(&self, mut with: impl FnMut(&[T], usize)) {
        let len = self.depth() * PANEL;
        let count = self.columns().div_ceil(PANEL);
        let fitting = AT_ONCE / (len * size_of::<T>());
        // As many each time, so that the last time is worth its start.
        let times = count.div_ceil(fitting.max(2));
        let at_once = count.div_ceil(times.max(1)).next_multiple_of(2);
        // Taken, not borrowed: what `with` does may come here again on this thread.
        let mut room = T::room().take();
        for first in (0..count).step_by(at_once) {
            let panels = room.room(at_once.min(count - first) * len);
            let parts = Parts::new(panels);
            parallel::for_each(panels.len() / len, |p| {
                // SAFETY: each panel is one task's.
                let panel = unsafe { parts.part(p * len, len) };
                self.decode(first + p, panel);
            });
            with(panels, first);
        }
        T::room().set(room);
    }

    /// Writes panel `p`.
    fn decode<T: PanelNumber>(&self, p: usize, panel: &mut [T]) {
        let rows = self.matrix.rows();
        let (from, end) = if self.is_gated {
            let half = rows / 2;
            let from = p / 2 * PANEL;
            (p % 2 * half + from, p % 2 * half + half)
        } else {
            (p * PANEL, rows)
        };
        let rows: [&[u8]; PANEL] = std::array::from_fn(|column| {
            if from + column < end {
                self.matrix.row(from + column)
            } else {
                &[]
            }
        });
        struct Decode<'a, T>([&'a [u8]; PANEL], &'a mut [T]);
        impl<T: PanelNumber> BlockVisitor<()> for Decode<'_, T> {
            fn visit<B: Block>(self) {
                let Self(rows, panel) = self;
                decode::<Of<B, T>>(rows, panel);
            }
        }
        self.matrix.format().visit(Decode(rows, panel));
    }
}

/// A format of panels.
pub(in super::super) trait PanelNumber: Number {
    /// This thread's room for panels, kept between products.
    fn room() -> &'static std::thread::LocalKey<RefCell<Aligned<Self>>>;

    /// Writes numbers `tile[column][row]` as rows of the panel, from its beginning on.
    fn put(panel: &mut [Self], tile: &[[f32; TILE]; PANEL]);
}

/// Rows of a panel that are decoded at once.
pub(in super::super) const TILE: usize = 32;

impl PanelNumber for f32 {
    fn room() -> &'static std::thread::LocalKey<RefCell<Aligned<Self>>> {
        thread_local!(static ROOM: RefCell<Aligned<f32>> = RefCell::default());
        &ROOM
    }

    #[inline(always)]
    fn put(panel: &mut [Self], tile: &[[f32; TILE]; PANEL]) {
        let rows = words_mut::<_, PANEL>(&mut panel[..TILE * PANEL]);
        let columns = words::<_, TILE>(tile.as_flattened());
        for (columns, at) in columns.chunks_exact(16).zip([0, 16]) {
            for (rows, first) in rows.chunks_exact_mut(16).zip([0, 16]) {
                transpose::square(columns, first, rows, at);
            }
        }
    }
}

impl PanelNumber for bf16 {
    fn room() -> &'static std::thread::LocalKey<RefCell<Aligned<Self>>> {
        thread_local!(static ROOM: RefCell<Aligned<bf16>> = RefCell::default());
        &ROOM
    }

    #[inline(always)]
    fn put(panel: &mut [Self], tile: &[[f32; TILE]; PANEL]) {
        let mut pairs = [[0_u32; TILE / 2]; PANEL];
        for (pairs, column) in pairs.iter_mut().zip(tile) {
            for (pair, numbers) in pairs.iter_mut().zip(column.as_chunks::<2>().0) {
                let [a, b] = numbers.map(|x| u32::from(math::to_bf16(x).to_bits()));
                *pair = a | b << 16;
            }
        }
        let rows = words_mut::<_, PANEL>(&mut panel[..TILE * PANEL]);
        for (columns, at) in pairs.chunks_exact(16).zip([0, 16]) {
            transpose::square(columns, 0, rows, at);
        }
    }
}

/// The numbers as rows of words of four bytes, which they fill.
#[inline(always)]
fn words<T: Number, const WIDTH: usize>(numbers: &[T]) -> &[[u32; WIDTH]] {
    // SAFETY: numbers are plain bits of any value.
    let (before, words, after) = unsafe { numbers.align_to::<[u32; WIDTH]>() };
    assert!(before.is_empty() && after.is_empty(), "numbers fill words");
    words
}

/// As [`words`], to be written.
#[inline(always)]
fn words_mut<T: Number, const WIDTH: usize>(numbers: &mut [T]) -> &mut [[u32; WIDTH]] {
    // SAFETY: numbers are plain bits of any value.
    let (before, words, after) = unsafe { numbers.align_to_mut::<[u32; WIDTH]>() };
    assert!(before.is_empty() && after.is_empty(), "numbers fill words");
    words
}

/// A format of blocks and one of panels.
trait Decoding {
    type Block: Block;
    type Number: PanelNumber;
}

struct Of<B, T>(std::marker::PhantomData<(B, T)>);

impl<B: Block, T: PanelNumber> Decoding for Of<B, T> {
    type Block = B;
    type Number = T;
}

/// Tiles of the longest block.
const TILES: usize = 8;

for_each_instruction_set! {
    /// Writes the columns `rows`, of which the empty ones are all zeros.
    fn decode<D: Decoding>(rows: [&[u8]; PANEL], panel: &mut [D::Number]) {
        let (numbers, bytes) = (D::Block::NUMBERS, D::Block::BYTES);
        let mut tiles = [[[0.0; TILE]; PANEL]; TILES];
        let mut block_numbers = [0.0; TILES * TILE];
        for (block, part) in panel.chunks_exact_mut(numbers * PANEL).enumerate() {
            for (column, row) in rows.iter().enumerate() {
                if row.is_empty() {
                    continue;
                }
                D::Block::decode(&row[block * bytes..][..bytes], &mut block_numbers[..numbers]);
                for (tile, numbers) in tiles.iter_mut().zip(block_numbers[..numbers].as_chunks::<TILE>().0) {
                    tile[column] = *numbers;
                }
            }
            for (tile, part) in tiles.iter().zip(part.chunks_exact_mut(TILE * PANEL)) {
                D::Number::put(part, tile);
            }
        }
    }
}
