//! What is done to the sums of a product before they are written: bias, activation, residual, format.

use super::math;
use super::operand::Operand;
use super::output::Parts;
use super::panels::PANEL;
use super::simd::for_each_instruction_set;
use crate::kernels::Activation;

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

/// Where the sums of one panel go: row `(line, r)` of them to row `first_row + line * line_step + r * row_step` of the
/// result.
pub(super) struct Place<'a, U> {
    pub(super) output: &'a Parts<U>,
    pub(super) columns: usize,
    pub(super) panel: usize,
    pub(super) first_row: usize,
    /// Lines, and rows of each that are wanted.
    pub(super) lines: usize,
    pub(super) line: usize,
    /// From one line to the next: rows of the sums, and rows of the result.
    pub(super) sums_pitch: usize,
    pub(super) line_step: usize,
    pub(super) row_step: usize,
}

impl<'a, U> Place<'a, U> {
    /// Rows one after the other.
    pub(super) fn rows(
        output: &'a Parts<U>,
        columns: usize,
        panel: usize,
        first_row: usize,
        count: usize,
    ) -> Self {
        Self {
            output,
            columns,
            panel,
            first_row,
            lines: 1,
            line: count,
            sums_pitch: count,
            line_step: count,
            row_step: 1,
        }
    }

    /// Row of the sums, and place of its first number in the result, of row `r` of line `line`.
    #[inline(always)]
    fn of(&self, line: usize, r: usize) -> (usize, usize) {
        let row = self.first_row + line * self.line_step + r * self.row_step;
        (
            line * self.sums_pitch + r,
            row * self.columns + self.panel * PANEL,
        )
    }

    #[inline(always)]
    fn width(&self) -> usize {
        PANEL.min(self.columns - self.panel * PANEL)
    }
}

/// Finishes the rows of one panel's sums and writes them to their place.
///
/// # Safety
/// The rows and columns of `place` are written by this call alone.
pub(super) unsafe fn finish<U: Operand>(
    sums: &mut [f32],
    bias: &[f32; PANEL],
    extras: &Extras<'_>,
    place: &Place<'_, U>,
) {
    // Activations take registers; a function for each leaves the others theirs.
    let residual = extras.residual;
    // SAFETY: handed on.
    unsafe {
        match extras.activation {
            Activation::Identity => finish_plain(sums, bias, residual, place),
            activation => {
                activate_rows(sums, bias, activation);
                finish_plain(sums, &[0.0; PANEL], residual, place);
            }
        }
    }
}

for_each_instruction_set! {
    fn activate_rows(sums: &mut [f32], bias: &[f32; PANEL], activation: Activation) {
        for row in sums.chunks_exact_mut(PANEL) {
            row.iter_mut().zip(bias).for_each(|(s, b)| *s += b);
        }
        math::activate_slice(sums, activation);
    }
}

/// # Safety
/// As of [`finish`].
unsafe fn finish_plain<U: Operand>(
    sums: &[f32],
    bias: &[f32; PANEL],
    residual: Option<&[f32]>,
    place: &Place<'_, U>,
) {
    plain_rows(sums, bias, residual, place);
}

for_each_instruction_set! {
    fn plain_rows<U: Operand>(sums: &[f32], bias: &[f32; PANEL], residual: Option<&[f32]>, place: &Place<'_, U>) {
        let width = place.width();
        let rows = sums.as_chunks::<PANEL>().0;
        for line in 0..place.lines {
            for r in 0..place.line {
                let (row, at) = place.of(line, r);
                // SAFETY: the caller of `finish` vouches that nobody else writes these numbers.
                let to = unsafe { place.output.part(at, width) };
                let residual = residual.map(|residual| &residual[at..at + width]);
                write(&rows[row], bias, residual, to);
            }
        }
    }
}

#[inline(always)]
fn write<U: Operand>(
    sums: &[f32; PANEL],
    bias: &[f32; PANEL],
    residual: Option<&[f32]>,
    to: &mut [U],
) {
    // A whole panel is the usual case, and fixed sizes need no loops.
    if let Some(to) = to.first_chunk_mut::<PANEL>() {
        match residual {
            Some(residual) => {
                let Some(residual) = residual.first_chunk::<PANEL>() else {
                    return;
                };
                for j in 0..PANEL {
                    to[j] = U::from_f32(sums[j] + bias[j] + residual[j]);
                }
            }
            None => {
                for j in 0..PANEL {
                    to[j] = U::from_f32(sums[j] + bias[j]);
                }
            }
        }
        return;
    }
    for (j, to) in to.iter_mut().enumerate() {
        let residual = residual.map_or(0.0, |residual| residual[j]);
        *to = U::from_f32(sums[j] + bias[j] + residual);
    }
}

/// Finishes a gated product: `(a + a_bias) * gate(b + b_bias)`. `a` and `b` are rows of 32 sums.
///
/// # Safety
/// As of [`finish`].
pub(super) unsafe fn finish_gated<U: Operand>(
    [a, b]: [&mut [f32]; 2],
    a_bias: &[f32; PANEL],
    b_bias: &[f32; PANEL],
    gate: Activation,
    place: &Place<'_, U>,
) {
    if gate != Activation::Gelu {
        activate_rows(b, b_bias, gate);
        gate_activated(a, b, a_bias);
    } else if !U::gate_vectors(a, b, a_bias, b_bias) {
        gate_rows::<U>(a, b, a_bias, b_bias);
    }
    // SAFETY: handed on.
    unsafe { finish_plain(a, &[0.0; PANEL], None, place) };
}

for_each_instruction_set! {
    fn gate_rows<U: Operand>(a: &mut [f32], b: &[f32], a_bias: &[f32; PANEL], b_bias: &[f32; PANEL]) {
        for (a, b) in a.as_chunks_mut::<PANEL>().0.iter_mut().zip(b.as_chunks::<PANEL>().0) {
            for j in 0..PANEL {
                a[j] = (a[j] + a_bias[j]) * U::gelu(b[j] + b_bias[j]);
            }
        }
    }
}

for_each_instruction_set! {
    fn gate_activated(a: &mut [f32], b: &[f32], a_bias: &[f32; PANEL]) {
        for (a, b) in a.as_chunks_mut::<PANEL>().0.iter_mut().zip(b.as_chunks::<PANEL>().0) {
            for j in 0..PANEL {
                a[j] = (a[j] + a_bias[j]) * b[j];
            }
        }
    }
}
