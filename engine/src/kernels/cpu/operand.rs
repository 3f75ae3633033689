//! The two formats that products are made of, and what a kernel needs to know about each.

use half::bf16;

use super::aligned::Aligned;
use super::attention::{BLOCK, LANES, Scores, Tokens};
use super::blocks::PanelNumber;
use super::math;
use super::output::Scratch;
use super::panels::{Format, PANEL, TAP_ALIGNMENT, TypedPanels};
use super::simd::{InstructionSet, for_each_instruction_set, instruction_set};
use super::tile::{self, Rows};
use super::tile_bf16;
#[cfg(target_arch = "x86_64")]
use super::vectors;

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

impl Buffer {
    /// The numbers, for another kernel to read.
    pub fn numbers(&self) -> Numbers<'_> {
        match self {
            Self::F32(numbers) => Numbers::F32(numbers),
            Self::Bf16(numbers) => Numbers::Bf16(numbers),
        }
    }

    /// The numbers in single precision.
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F32(numbers) => numbers,
            Self::Bf16(numbers) => numbers.into_iter().map(f32::from).collect(),
        }
    }

    /// The numbers in another format.
    #[must_use]
    pub fn in_format(self, format: Format) -> Self {
        match (self, format) {
            (Self::F32(numbers), Format::Bf16) => {
                Self::Bf16(numbers.into_iter().map(bf16::from_f32).collect())
            }
            (buffer, Format::F32) => Self::F32(buffer.into_f32()),
            (buffer, Format::Bf16) => buffer,
        }
    }
}

/// A format of products.
pub(super) trait Operand: PanelNumber + PartialEq {
    const ZERO: Self;
    /// Channels of a tap are filled up to a multiple of this.
    const TAP_ALIGNMENT: usize;

    fn from_f32(x: f32) -> Self;
    fn to_f32(self) -> f32;
    fn copy_f32(from: &[f32], to: &mut [Self]);
    fn copy_bf16(from: &[bf16], to: &mut [Self]);
    fn borrow<'a>(numbers: &Numbers<'a>) -> Option<&'a [Self]>;
    fn buffer(numbers: Vec<Self>) -> Buffer;
    /// The panels, if they are single precision.
    fn panels_f32<'a>(_panels: &TypedPanels<'a, Self>) -> Option<TypedPanels<'a, f32>> {
        None
    }

    /// Where number `column` of row `row` is in a panel.
    fn panel_index(row: usize, column: usize) -> usize;
    /// Writes each token as a column of a panel, from the first row on.
    fn put_columns(panel: &mut [Self], tokens: &Tokens<'_, Self>);
    /// Writes each token as a row of a panel, from the first column on.
    fn put_rows(panel: &mut [Self], tokens: &Tokens<'_, Self>);

    /// Functions of a number whose result is kept in this format: as exact as the format can show.
    fn exp(x: f32) -> f32;
    /// See [`Activation::Silu`].
    fn silu(x: f32) -> f32;
    /// See [`Activation::Gelu`].
    fn gelu(x: f32) -> f32;

    /// Softmax weights of the scores, as an attention asks for them. False if there are no vector functions for it.
    fn weigh_vectors(
        _of: &Scores,
        _scores: &[f32],
        _weights: &mut [Self],
        _width: usize,
        _highest: &[f32; BLOCK],
        _sums: &mut [[f32; LANES]; BLOCK],
    ) -> bool {
        false
    }
    /// `a = (a + a_bias) * gelu(b + b_bias)` for rows of 32. False if there are no vector functions for it.
    fn gate_vectors(
        _a: &mut [f32],
        _b: &[f32],
        _a_bias: &[f32; PANEL],
        _b_bias: &[f32; PANEL],
    ) -> bool {
        false
    }
    /// `to = pixel * scale + shift` for every pixel, then SiLU if asked for. False if there are no vector functions for it.
    fn scale_vectors(
        _pixels: &[f32],
        _scale: &[f32],
        _shift: &[f32],
        _to: &mut [Self],
        _silu: bool,
    ) -> bool {
        false
    }

    /// Rows whose sums of one panel are made at once: the sums stay in the first-level cache, or nearly, until they are
    /// written, and a panel is read from memory once for all of them.
    const ROWS_AT_ONCE: usize;
    /// Whether the kernel likes lines of `width` rows with a break after each better than a few more rows without one.
    fn wants_lines(width: usize) -> bool {
        width >= 8
    }
    /// `sums[r * sums_stride + p * 32 + j] = rows[r] . panel[p][.., j]` for all rows, `count` panels and `j < 32`; of the last
    /// panel `j < columns`, and the rest of its 32 sums is whatever it may be.
    fn multiply(
        rows: Rows<'_, Self>,
        panels: &[Self],
        count: usize,
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
    const ROWS_AT_ONCE: usize = 112;

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        x
    }

    #[inline(always)]
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

    fn panels_f32<'a>(panels: &TypedPanels<'a, Self>) -> Option<TypedPanels<'a, f32>> {
        Some(*panels)
    }

    #[inline(always)]
    fn panel_index(row: usize, column: usize) -> usize {
        row * PANEL + column
    }

    fn put_columns(panel: &mut [Self], tokens: &Tokens<'_, Self>) {
        for row in 0..tokens.width {
            for (column, to) in panel[row * PANEL..][..tokens.count].iter_mut().enumerate() {
                *to = tokens.token(column)[row];
            }
        }
    }

    fn put_rows(panel: &mut [Self], tokens: &Tokens<'_, Self>) {
        let rows = panel.as_chunks_mut::<PANEL>().0.iter_mut().enumerate();
        for (index, row) in rows.take(tokens.count) {
            row[..tokens.width].copy_from_slice(tokens.token(index));
        }
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

    fn multiply(
        rows: Rows<'_, Self>,
        panels: &[Self],
        count: usize,
        sums: &mut [f32],
        sums_stride: usize,
        _columns: usize,
    ) {
        tile::multiply(rows, panels, count, sums, sums_stride);
    }

    fn scratch(scratch: &mut Scratch) -> (&mut Aligned<Self>, &mut Aligned<f32>) {
        (&mut scratch.input, &mut scratch.sums)
    }
}

impl Operand for bf16 {
    const ZERO: Self = Self::ZERO;
    const TAP_ALIGNMENT: usize = TAP_ALIGNMENT;
    const ROWS_AT_ONCE: usize = 256;

    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        math::to_bf16(x)
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        math::from_bf16(self)
    }

    fn copy_f32(from: &[f32], to: &mut [Self]) {
        #[cfg(target_arch = "x86_64")]
        if has_vectors() {
            // SAFETY: the processor has the instructions.
            return unsafe { vectors::narrow(from, to) };
        }
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

    fn put_columns(panel: &mut [Self], tokens: &Tokens<'_, Self>) {
        put_columns(panel, tokens);
    }

    fn put_rows(panel: &mut [Self], tokens: &Tokens<'_, Self>) {
        put_rows(panel, tokens);
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

    #[cfg(target_arch = "x86_64")]
    fn weigh_vectors(
        of: &Scores,
        scores: &[f32],
        weights: &mut [Self],
        width: usize,
        highest: &[f32; BLOCK],
        sums: &mut [[f32; LANES]; BLOCK],
    ) -> bool {
        if has_vectors() {
            // SAFETY: the processor has the instructions.
            unsafe { vectors::weigh(of, scores, weights, width, highest, sums) };
        }
        has_vectors()
    }

    #[cfg(target_arch = "x86_64")]
    fn gate_vectors(
        a: &mut [f32],
        b: &[f32],
        a_bias: &[f32; PANEL],
        b_bias: &[f32; PANEL],
    ) -> bool {
        if has_vectors() {
            // SAFETY: the processor has the instructions.
            unsafe { vectors::gate(a, b, a_bias, b_bias) };
        }
        has_vectors()
    }

    #[cfg(target_arch = "x86_64")]
    fn scale_vectors(
        pixels: &[f32],
        scale: &[f32],
        shift: &[f32],
        to: &mut [Self],
        silu: bool,
    ) -> bool {
        match (has_vectors(), silu) {
            // SAFETY: the processor has the instructions.
            (true, true) => unsafe { vectors::scale::<true>(pixels, scale, shift, to) },
            // SAFETY: as above.
            (true, false) => unsafe { vectors::scale::<false>(pixels, scale, shift, to) },
            (false, _) => {}
        }
        has_vectors()
    }

    fn wants_lines(width: usize) -> bool {
        if instruction_set() == InstructionSet::Amx {
            // Whole tiles, or so many that a part of one does not matter.
            width.is_multiple_of(16) || width >= 48
        } else {
            width >= 8
        }
    }

    fn multiply(
        rows: Rows<'_, Self>,
        panels: &[Self],
        count: usize,
        sums: &mut [f32],
        sums_stride: usize,
        columns: usize,
    ) {
        tile_bf16::multiply(rows, panels, count, sums, sums_stride, columns);
    }

    fn scratch(scratch: &mut Scratch) -> (&mut Aligned<Self>, &mut Aligned<f32>) {
        (&mut scratch.input_bf16, &mut scratch.sums)
    }
}

/// Whether [`vectors`] can run.
#[cfg(target_arch = "x86_64")]
fn has_vectors() -> bool {
    instruction_set().is_faster_in_bf16()
}

for_each_instruction_set! {
    /// Rounds to the nearest bf16, ties to even.
    fn narrow(from: &[f32], to: &mut [bf16]) {
        from.iter().zip(to).for_each(|(x, to)| *to = math::to_bf16(*x));
    }
}

for_each_instruction_set! {
    /// See [`Operand::put_columns`].
    fn put_columns(panel: &mut [bf16], tokens: &Tokens<'_, bf16>) {
        let (pairs, _) = panel.as_chunks_mut::<2>();
        for row in (0..tokens.width).step_by(2) {
            let pairs = pairs[row / 2 * PANEL..][..tokens.count].iter_mut();
            for (column, pair) in pairs.enumerate() {
                let token = &tokens.token(column)[row..];
                *pair = match token {
                    [first, second, ..] => [*first, *second],
                    _ => [token[0], bf16::ZERO],
                };
            }
        }
    }
}

for_each_instruction_set! {
    /// See [`Operand::put_rows`].
    fn put_rows(panel: &mut [bf16], tokens: &Tokens<'_, bf16>) {
        let rows = panel.as_chunks_mut::<2>().0.as_chunks_mut::<PANEL>().0;
        for (index, pairs) in rows.iter_mut().enumerate().take(tokens.count.div_ceil(2)) {
            let first = tokens.token(2 * index);
            if 2 * index + 1 < tokens.count {
                let second = tokens.token(2 * index + 1);
                for ((pair, first), second) in pairs.iter_mut().zip(first).zip(second) {
                    *pair = [*first, *second];
                }
            } else {
                for (pair, first) in pairs.iter_mut().zip(first) {
                    *pair = [*first, bf16::ZERO];
                }
            }
        }
    }
}

for_each_instruction_set! {
    fn widen(from: &[bf16], to: &mut [f32]) {
        from.iter().zip(to).for_each(|(x, to)| *to = math::from_bf16(*x));
    }
}
