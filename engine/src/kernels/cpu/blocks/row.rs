//! Products with few vectors, straight from the blocks: a panel is worth its making only where many rows pass by it.

use super::super::panels::PANEL;
use super::super::simd::for_each_instruction_set;
use super::{Block, BlockPanels, BlockVisitor};

/// Sums that are made side by side.
const LANES: usize = 64;

impl BlockPanels {
    /// `sums[e * 32 + j] = x[e] . column j of panel p`, in single precision.
    ///
    /// `x`: vectors of the depth one after the other. `row`: room for as many numbers as the depth. A gated weight has none.
    pub(in super::super) fn multiply(
        &self,
        p: usize,
        x: &[f32],
        row: &mut [f32],
        sums: &mut [f32],
    ) {
        assert!(
            !self.is_gated,
            "a gated weight is multiplied in pairs of panels"
        );
        let columns = PANEL.min(self.matrix.rows() - p * PANEL);
        struct Multiply<'a>(&'a [u8], &'a [f32], &'a mut [f32], &'a mut [f32]);
        impl BlockVisitor<()> for Multiply<'_> {
            fn visit<B: Block>(self) {
                let Self(bytes, x, row, sums) = self;
                multiply::<B>(bytes, x, row, sums);
            }
        }
        for column in 0..columns {
            let bytes = self.matrix.row(p * PANEL + column);
            let sums = &mut sums[column..];
            self.matrix
                .format()
                .visit(Multiply(bytes, x, &mut *row, sums));
        }
    }
}

for_each_instruction_set! {
    /// The sums are 32 numbers from each other.
    fn multiply<B: Block>(bytes: &[u8], x: &[f32], row: &mut [f32], sums: &mut [f32]) {
        let blocks = bytes.chunks_exact(B::BYTES);
        for (block, numbers) in blocks.zip(row.chunks_exact_mut(B::NUMBERS)) {
            B::decode(block, numbers);
        }
        for (x, sum) in x.chunks_exact(row.len()).zip(sums.iter_mut().step_by(PANEL)) {
            *sum = dot(row, x);
        }
    }
}

/// In an order that depends on the length alone.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let mut add = |a: &[f32], b: &[f32]| {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    };
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        add(a, b);
    }
    add(a_rest, b_rest);
    let mut width = LANES / 2;
    while width > 0 {
        for at in 0..width {
            lanes[at] += lanes[at + width];
        }
        width /= 2;
    }
    lanes[0]
}
