//! The two formats that products are made of, and what a kernel needs to know about each.

use half::bf16;

use super::aligned::{Aligned, Number};
use super::math;
use super::output::Scratch;
use super::panels::{PANEL, TAP_ALIGNMENT};
use super::simd::{InstructionSet, for_each_instruction_set, instruction_set};
use super::tile::{self, Rows};
use super::tile_bf16;

/// Numbers that a kernel reads: a result of another kernel, in the format that it wrote.
#[derive(Debug, Clone, Copy)]
pub enum Numbers<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision, for products.
    Bf16(&'a [bf16]),
}

/// Numbers that a kernel wrote.
#[derive(Debug, Clone)]
pub enum Buffer {
    /// Single precision.
    F32(Vec<f32>),
    /// Half precision, for products.
    Bf16(Vec<bf16>),
}

impl Numbers<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::Bf16(numbers) => numbers.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `to.len()` numbers from `at` on, in another format if that is asked for.
    pub(super) fn copy<T: Operand>(&self, at: usize, to: &mut [T]) {
        match self {
            Self::F32(numbers) => T::copy_f32(&numbers[at..at + to.len()], to),
            Self::Bf16(numbers) => T::copy_bf16(&numbers[at..at + to.len()], to),
        }
    }

    /// All of them as they are, if their format is `T`.
    pub(super) fn as_typed<T: Operand>(&self) -> Option<&[T]> {
        T::borrow(self)
    }
}

/// A format of products.
pub(super) trait Operand: Number + PartialEq {
    const ZERO: Self;
    /// Channels of a tap are filled up to a multiple of this.
    const TAP_ALIGNMENT: usize;

    fn from_f32(x: f32) -> Self;
    #[cfg(test)]
    fn to_f32(self) -> f32;
    fn copy_f32(from: &[f32], to: &mut [Self]);
    fn copy_bf16(from: &[bf16], to: &mut [Self]);
    fn borrow<'a>(numbers: &Numbers<'a>) -> Option<&'a [Self]>;
    fn buffer(numbers: Vec<Self>) -> Buffer;

    /// Where number `column` of row `row` is in a panel.
    fn panel_index(row: usize, column: usize) -> usize;
    /// Writes `numbers` from the first row of a panel on in one column.
    fn put_column(panel: &mut [Self], column: usize, numbers: &[Self]) {
        for (row, number) in numbers.iter().enumerate() {
            panel[Self::panel_index(row, column)] = *number;
        }
    }

    /// Writes `numbers` from the first column of a panel on in one row.
    fn put_row(panel: &mut [Self], row: usize, numbers: &[Self]) {
        let to = &mut panel[Self::panel_index(row, 0)..];
        let step = Self::panel_index(0, 1);
        for (to, number) in to.iter_mut().step_by(step).zip(numbers) {
            *to = *number;
        }
    }

    /// Functions of a number whose result is kept in this format: as exact as the format can show.
    fn exp(x: f32) -> f32;
    /// See [`Activation::Silu`].
    fn silu(x: f32) -> f32;
    /// See [`Activation::Gelu`].
    fn gelu(x: f32) -> f32;

    /// Whether the kernel likes rows in lines of 16 better than a few more rows without a break.
    fn wants_lines() -> bool;
    /// `sums[r * sums_stride + j] = rows[r] . panel[.., j]` for all rows and `j < columns <= 32`. The rest of each 32
    /// sums is whatever it may be.
    fn multiply(
        rows: Rows<'_, Self>,
        panel: &[Self],
        sums: &mut [f32],
        sums_stride: usize,
        columns: usize,
    );
    /// This thread's room for a left-hand side, and its room for sums.
    fn scratch(scratch: &mut Scratch) -> (&mut Aligned<Self>, &mut Aligned<f32>);
}

impl Operand for f32 {
    const ZERO: Self = 0.0;
    const TAP_ALIGNMENT: usize = 1;

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        x
    }

    #[cfg(test)]
    fn to_f32(self) -> f32 {
        self
    }

    fn copy_f32(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }

    fn copy_bf16(from: &[bf16], to: &mut [Self]) {
        widen(from, to);
    }

    fn borrow<'a>(numbers: &Numbers<'a>) -> Option<&'a [Self]> {
        match numbers {
            Numbers::F32(numbers) => Some(numbers),
            Numbers::Bf16(_) => None,
        }
    }

    fn buffer(numbers: Vec<Self>) -> Buffer {
        Buffer::F32(numbers)
    }

    #[inline(always)]
    fn panel_index(row: usize, column: usize) -> usize {
        row * PANEL + column
    }

    #[inline(always)]
    fn exp(x: f32) -> f32 {
        math::exp(x)
    }

    #[inline(always)]
    fn silu(x: f32) -> f32 {
        math::silu(x)
    }

    #[inline(always)]
    fn gelu(x: f32) -> f32 {
        math::gelu(x)
    }

    fn wants_lines() -> bool {
        false
    }

    fn multiply(
        rows: Rows<'_, Self>,
        panel: &[Self],
        sums: &mut [f32],
        sums_stride: usize,
        _columns: usize,
    ) {
        tile::multiply(rows, panel, sums, sums_stride);
    }

    fn scratch(scratch: &mut Scratch) -> (&mut Aligned<Self>, &mut Aligned<f32>) {
        (&mut scratch.input, &mut scratch.sums)
    }
}

impl Operand for bf16 {
    const ZERO: Self = Self::ZERO;
    const TAP_ALIGNMENT: usize = TAP_ALIGNMENT;

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        math::to_bf16(x)
    }

    #[cfg(test)]
    fn to_f32(self) -> f32 {
        math::from_bf16(self)
    }

    fn copy_f32(from: &[f32], to: &mut [Self]) {
        narrow(from, to);
    }

    fn copy_bf16(from: &[bf16], to: &mut [Self]) {
        to.copy_from_slice(from);
    }

    fn borrow<'a>(numbers: &Numbers<'a>) -> Option<&'a [Self]> {
        match numbers {
            Numbers::F32(_) => None,
            Numbers::Bf16(numbers) => Some(numbers),
        }
    }

    fn buffer(numbers: Vec<Self>) -> Buffer {
        Buffer::Bf16(numbers)
    }

    #[inline(always)]
    fn panel_index(row: usize, column: usize) -> usize {
        (row / 2 * PANEL + column) * 2 + row % 2
    }

    #[inline(always)]
    fn exp(x: f32) -> f32 {
        math::exp_to_bf16(x)
    }

    #[inline(always)]
    fn silu(x: f32) -> f32 {
        math::silu_to_bf16(x)
    }

    #[inline(always)]
    fn gelu(x: f32) -> f32 {
        math::gelu_to_bf16(x)
    }

    fn wants_lines() -> bool {
        instruction_set() == InstructionSet::Amx
    }

    fn multiply(
        rows: Rows<'_, Self>,
        panel: &[Self],
        sums: &mut [f32],
        sums_stride: usize,
        columns: usize,
    ) {
        tile_bf16::multiply(rows, panel, sums, sums_stride, columns);
    }

    fn scratch(scratch: &mut Scratch) -> (&mut Aligned<Self>, &mut Aligned<f32>) {
        (&mut scratch.input_bf16, &mut scratch.sums)
    }
}

for_each_instruction_set! {
    /// Rounds to the nearest bf16, ties to even.
    fn narrow(from: &[f32], to: &mut [bf16]) {
        from.iter().zip(to).for_each(|(x, to)| *to = math::to_bf16(*x));
    }
}

for_each_instruction_set! {
    fn widen(from: &[bf16], to: &mut [f32]) {
        from.iter().zip(to).for_each(|(x, to)| *to = math::from_bf16(*x));
    }
}
