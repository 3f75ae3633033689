//! Numbers in blocks that share a scale: what GGUF files hold.
//!
//! A row of a matrix is cut into blocks of 32 or 256 numbers, each a few bits wide. The layouts and the arithmetic are
//! ggml's `dequantize_row_*`, in single precision and in its order, so the numbers are the same bit for bit.

mod k;
mod legacy;
mod matrix;
mod panel;
mod row;
#[cfg(test)]
mod tests;
mod transpose;

pub use matrix::BlockMatrix;
pub(super) use panel::{BlockPanels, PanelNumber};

use super::simd::for_each_instruction_set;

/// How the numbers of a block are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockFormat {
    /// Four bits and a scale for 32 numbers.
    Q4_0,
    /// Four bits, a scale and a least number.
    Q4_1,
    /// Five bits and a scale.
    Q5_0,
    /// Five bits, a scale and a least number.
    Q5_1,
    /// Eight bits and a scale.
    Q8_0,
    /// Two bits; of 256 numbers, each 16 have a scale and a least number of four bits.
    Q2K,
    /// Three bits; each 16 numbers have a scale of six bits.
    Q3K,
    /// Four bits; each 32 numbers have a scale and a least number of six bits.
    Q4K,
    /// Five bits, else as the one before.
    Q5K,
    /// Six bits; each 16 numbers have a scale of eight bits.
    Q6K,
}

/// One format's layout.
trait Block {
    const NUMBERS: usize;
    const BYTES: usize;

    /// `bytes` has `BYTES`, `numbers` has `NUMBERS`.
    fn decode(bytes: &[u8], numbers: &mut [f32]);
}

/// Something to do with a format whose layout is known.
trait BlockVisitor<R> {
    fn visit<B: Block>(self) -> R;
}

impl BlockFormat {
    /// The name that users know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q8_0 => "q8_0",
            Self::Q2K => "q2_k",
            Self::Q3K => "q3_k",
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
        }
    }

    /// Numbers in a block.
    pub fn numbers(self) -> usize {
        struct Numbers;
        impl BlockVisitor<usize> for Numbers {
            fn visit<B: Block>(self) -> usize {
                B::NUMBERS
            }
        }
        self.visit(Numbers)
    }

    /// Bytes of a block.
    pub fn bytes(self) -> usize {
        struct Bytes;
        impl BlockVisitor<usize> for Bytes {
            fn visit<B: Block>(self) -> usize {
                B::BYTES
            }
        }
        self.visit(Bytes)
    }

    /// Bytes of a row of `numbers`, which is a whole number of blocks.
    pub fn row_bytes(self, numbers: usize) -> usize {
        numbers / self.numbers() * self.bytes()
    }

    /// The numbers of whole blocks.
    ///
    /// Panics when `bytes` and `numbers` are not the same number of blocks.
    pub fn decode(self, bytes: &[u8], numbers: &mut [f32]) {
        struct Decode<'a>(&'a [u8], &'a mut [f32]);
        impl BlockVisitor<()> for Decode<'_> {
            fn visit<B: Block>(self) {
                decode_blocks::<B>(self.0, self.1);
            }
        }
        assert!(
            numbers.len().is_multiple_of(self.numbers())
                && bytes.len() == self.row_bytes(numbers.len()),
            "whole blocks are decoded"
        );
        self.visit(Decode(bytes, numbers));
    }

    fn visit<R>(self, with: impl BlockVisitor<R>) -> R {
        match self {
            Self::Q4_0 => with.visit::<legacy::Q4_0>(),
            Self::Q4_1 => with.visit::<legacy::Q4_1>(),
            Self::Q5_0 => with.visit::<legacy::Q5_0>(),
            Self::Q5_1 => with.visit::<legacy::Q5_1>(),
            Self::Q8_0 => with.visit::<legacy::Q8_0>(),
            Self::Q2K => with.visit::<k::Q2K>(),
            Self::Q3K => with.visit::<k::Q3K>(),
            Self::Q4K => with.visit::<k::Q4K>(),
            Self::Q5K => with.visit::<k::Q5K>(),
            Self::Q6K => with.visit::<k::Q6K>(),
        }
    }
}

for_each_instruction_set! {
    fn decode_blocks<B: Block>(bytes: &[u8], numbers: &mut [f32]) {
        let blocks = bytes.chunks_exact(B::BYTES);
        for (block, numbers) in blocks.zip(numbers.chunks_exact_mut(B::NUMBERS)) {
            B::decode(block, numbers);
        }
    }
}

/// A number in half precision at `at`.
#[inline(always)]
fn half_at(bytes: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}
