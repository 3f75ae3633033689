//! The inner loop of products of bf16 numbers: some rows times one panel of 32 columns, summed in f32.
//!
//! As in [`super::tile`], each sum is one chain in the order of the inner dimension, whatever rows are done together.

use half::bf16;

use super::math;
use super::panels::PANEL;
use super::simd::{InstructionSet, instruction_set};
use super::tile::{PassPart, Rows, evenly, passes};

/// Longest part of the inner dimension done in one pass over the rows: its part of the panel stays in the cache.
const PASS_DEPTH: usize = 2048;

/// `sums[r * sums_stride + p * 32 + j] = rows[r] . panel[p][.., j]` for all rows, `count` panels, and of the last one
/// `j < columns`.
///
/// Each of `panels`: `taps * depth / 2` rows of 32 pairs. The depth is even.
pub(super) fn multiply(
    rows: Rows<'_, bf16>,
    panels: &[bf16],
    count: usize,
    sums: &mut [f32],
    sums_stride: usize,
    columns: usize,
) {
    multiply_with(
        instruction_set(),
        rows,
        panels,
        count,
        sums,
        sums_stride,
        columns,
    );
}

fn multiply_with(
    set: InstructionSet,
    rows: Rows<'_, bf16>,
    panels: &[bf16],
    count: usize,
    sums: &mut [f32],
    sums_stride: usize,
    columns: usize,
) {
    if rows.count == 0 {
        return;
    }
    rows.check(panels.len(), count, sums.len(), sums_stride);
    assert!(rows.depth.is_multiple_of(2), "bf16 numbers come in pairs");
    if rows.depth == 0 {
        if !rows.adds {
            (0..rows.count).for_each(|r| sums[r * sums_stride..][..count * PANEL].fill(0.0));
        }
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if set == InstructionSet::Amx {
        assert!(rows.depth.is_multiple_of(super::amx::DEPTH), "whole tiles");
        // SAFETY: the set is there (`set`), and rows, panel and sums were checked above.
        unsafe { super::amx::multiply(rows, panels, count, sums, sums_stride, columns) };
        return;
    }
    let panel_len = rows.taps.len() * rows.depth * PANEL;
    for p in 0..count {
        let columns = if p + 1 == count { columns } else { PANEL };
        let panel = &panels[p * panel_len..][..panel_len];
        multiply_panel(
            set,
            rows,
            panel,
            &mut sums[p * PANEL..],
            sums_stride,
            columns,
        );
    }
}

fn multiply_panel(
    set: InstructionSet,
    rows: Rows<'_, bf16>,
    panel: &[bf16],
    sums: &mut [f32],
    sums_stride: usize,
    columns: usize,
) {
    for pass in passes(rows.taps, rows.depth, PASS_DEPTH) {
        for (row, line) in rows.lines() {
            let sums = &mut sums[row * sums_stride..];
            let part = Part {
                rows: line,
                pass: &pass,
                panel: &panel[(pass.first_tap * rows.depth + pass.from) * PANEL..],
                sums_stride,
                columns,
            };
            part.run(set, sums);
        }
    }
}

/// One line of rows and a part of the inner dimension.
struct Part<'a> {
    rows: Rows<'a, bf16>,
    pass: &'a PassPart,
    panel: &'a [bf16],
    sums_stride: usize,
    columns: usize,
}

impl Part<'_> {
    fn run(&self, set: InstructionSet, sums: &mut [f32]) {
        match set {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has the instructions (`set`), and `multiply_with` checked rows, panel and sums.
            InstructionSet::Avx512Bf16 => unsafe { self.avx512_bf16(sums) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has AVX-512 (`set`).
            InstructionSet::Avx512 => unsafe { self.avx512(sums) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has AVX2 and FMA (`set`).
            InstructionSet::Avx2 => unsafe { self.avx2(sums) },
            _ => self.any::<{ cfg!(target_arch = "aarch64") }>(sums),
        }
    }

    fn taps(&self) -> impl Iterator<Item = (usize, usize)> {
        let taps = &self.rows.taps[self.pass.first_tap..][..self.pass.taps];
        // Offset in the rows, and in the panel.
        taps.iter()
            .enumerate()
            .map(|(t, tap)| (tap + self.pass.from, t * self.rows.depth * PANEL))
    }

    fn adds(&self) -> bool {
        self.rows.adds || self.pass.first_tap > 0 || self.pass.from > 0
    }

    /// # Safety
    /// The rows, the part of the panel and the sums of all rows are there.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn avx512_bf16(&self, sums: &mut [f32]) {
        const MOST: usize = 14;
        let narrow = self.columns <= PANEL / 2;
        let at_once = if narrow {
            MOST
        } else {
            evenly(self.rows.count, MOST)
        };
        for row in (0..self.rows.count).step_by(at_once) {
            let a = self.rows.numbers[row * self.rows.stride..].as_ptr();
            let c = sums[row * self.sums_stride..].as_mut_ptr();
            // SAFETY: handed on: `row` and the rows after it, as many as the count has.
            unsafe {
                match (at_once.min(self.rows.count - row), narrow) {
                    (14, false) => self.avx512_bf16_rows::<14, 2>(a, c),
                    (13, false) => self.avx512_bf16_rows::<13, 2>(a, c),
                    (12, false) => self.avx512_bf16_rows::<12, 2>(a, c),
                    (11, false) => self.avx512_bf16_rows::<11, 2>(a, c),
                    (10, false) => self.avx512_bf16_rows::<10, 2>(a, c),
                    (9, false) => self.avx512_bf16_rows::<9, 2>(a, c),
                    (8, false) => self.avx512_bf16_rows::<8, 2>(a, c),
                    (7, false) => self.avx512_bf16_rows::<7, 2>(a, c),
                    (6, false) => self.avx512_bf16_rows::<6, 2>(a, c),
                    (5, false) => self.avx512_bf16_rows::<5, 2>(a, c),
                    (4, false) => self.avx512_bf16_rows::<4, 2>(a, c),
                    (3, false) => self.avx512_bf16_rows::<3, 2>(a, c),
                    (2, false) => self.avx512_bf16_rows::<2, 2>(a, c),
                    (_, false) => self.avx512_bf16_rows::<1, 2>(a, c),
                    (14, true) => self.avx512_bf16_rows::<14, 1>(a, c),
                    (rows, true) => {
                        for r in 0..rows {
                            self.avx512_bf16_rows::<1, 1>(
                                a.add(r * self.rows.stride),
                                c.add(r * self.sums_stride),
                            );
                        }
                    }
                }
            }
        }
    }

    /// # Safety
    /// `a` and `c` are readable and writable for `ROWS` rows of this part.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn avx512_bf16_rows<const ROWS: usize, const VECTORS: usize>(
        &self,
        a: *const bf16,
        c: *mut f32,
    ) {
        use std::arch::x86_64::{
            __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512,
            _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
        };
        // SAFETY: both are 512 bits of bf16 pairs.
        let pairs = |x: __m512i| unsafe { std::mem::transmute::<__m512i, __m512bh>(x) };
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        // SAFETY: all reads of `a`, the panel and `c` lie in the ranges that the caller vouches for: rows `0..ROWS`,
        // the taps plus `depth` numbers in pairs, 32 columns. `a` may be unaligned.
        unsafe {
            if self.adds() {
                for (r, row) in sums.iter_mut().enumerate() {
                    for (v, sum) in row.iter_mut().enumerate() {
                        *sum = _mm512_loadu_ps(c.add(r * self.sums_stride + v * 16));
                    }
                }
            }
            for (tap, in_panel) in self.taps() {
                let a = a.add(tap);
                let mut b = self.panel.as_ptr().add(in_panel);
                for k in (0..self.pass.depth).step_by(2) {
                    let mut columns = [_mm512_loadu_si512(b.cast()); VECTORS];
                    for (v, column) in columns.iter_mut().enumerate() {
                        *column = _mm512_loadu_si512(b.add(v * 32).cast());
                    }
                    b = b.add(2 * PANEL);
                    for (r, row) in sums.iter_mut().enumerate() {
                        // Known not to overflow; a check would stand in the innermost loop of all.
                        let at = r.wrapping_mul(self.rows.stride).wrapping_add(k);
                        let pair = a.add(at).cast::<i32>().read_unaligned();
                        let pair = pairs(_mm512_set1_epi32(pair));
                        for (v, sum) in row.iter_mut().enumerate() {
                            *sum = _mm512_dpbf16_ps(*sum, pair, pairs(columns[v]));
                        }
                    }
                }
            }
            for (r, row) in sums.iter().enumerate() {
                for (v, sum) in row.iter().enumerate() {
                    _mm512_storeu_ps(c.add(r * self.sums_stride + v * 16), *sum);
                }
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
    fn avx512(&self, sums: &mut [f32]) {
        self.any::<true>(sums);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(&self, sums: &mut [f32]) {
        self.any::<true>(sums);
    }

    /// In plain Rust, half a panel at a time; compiled for what the caller's instructions are.
    #[inline(always)]
    fn any<const FUSED: bool>(&self, sums: &mut [f32]) {
        for half in [0, PANEL / 2] {
            for row in (0..self.rows.count).step_by(4) {
                match 4.min(self.rows.count - row) {
                    4 => self.any_rows::<4, FUSED>(half, row, sums),
                    3 => self.any_rows::<3, FUSED>(half, row, sums),
                    2 => self.any_rows::<2, FUSED>(half, row, sums),
                    _ => self.any_rows::<1, FUSED>(half, row, sums),
                }
            }
        }
    }

    #[inline(always)]
    fn any_rows<const ROWS: usize, const FUSED: bool>(
        &self,
        half: usize,
        first: usize,
        sums: &mut [f32],
    ) {
        const HALF: usize = PANEL / 2;
        let at = |r: usize| (first + r) * self.sums_stride + half;
        let mut totals = [[0f32; HALF]; ROWS];
        if self.adds() {
            for (r, total) in totals.iter_mut().enumerate() {
                total.copy_from_slice(&sums[at(r)..][..HALF]);
            }
        }
        for (tap, in_panel) in self.taps() {
            let rows: [&[bf16]; ROWS] = std::array::from_fn(|r| {
                &self.rows.numbers[(first + r) * self.rows.stride + tap..][..self.pass.depth]
            });
            let panel = self.panel[in_panel..][..self.pass.depth * PANEL].chunks_exact(2 * PANEL);
            for (k, b) in panel.enumerate() {
                let b: &[bf16; 2 * HALF] =
                    b[2 * half..].first_chunk().expect("half a panel's pairs");
                for which in [0, 1] {
                    let b: [f32; HALF] = std::array::from_fn(|j| math::from_bf16(b[2 * j + which]));
                    for (row, total) in rows.iter().zip(&mut totals) {
                        let v = math::from_bf16(row[2 * k + which]);
                        for (sum, b) in total.iter_mut().zip(b) {
                            *sum = if FUSED {
                                v.mul_add(b, *sum)
                            } else {
                                v * b + *sum
                            };
                        }
                    }
                }
            }
        }
        for (r, total) in totals.iter().enumerate() {
            sums[at(r)..][..HALF].copy_from_slice(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize) -> Vec<bf16> {
        (0..n)
            .map(|i| math::to_bf16(((i * 7919 % 1013) as f32 - 506.0) / 509.0))
            .collect()
    }

    /// Every instruction set of this machine against sums in `f64`: rows that overlap, lines, a cut inner dimension,
    /// fewer rows than a tile has, and narrow panels.
    #[test]
    fn products_are_right_on_every_instruction_set() {
        for (count, line, stride, taps, depth, columns) in [
            (1_usize, 1, 32, vec![0], 32, 32),
            (31, 31, 6, vec![0, 17, 40], 32, 32),
            (15, 15, 9, vec![2], 64, 7),
            (16, 16, 64, vec![0], 64, 16),
            (48, 16, 5, vec![0, 3], 32, 20),
            (75, 25, 4, vec![0, 1], 96, 32),
            (40, 8, 4, vec![0, 1], 32, 32),
            (33, 33, 7, vec![0, 9], 4096 + 32, 32),
            (256, 256, 640, vec![0], 640, 32),
            (77, 77, 512, vec![0], 1056, 10),
            (5, 5, 7, vec![0], 640, 32),
            (
                256,
                16,
                640,
                (0..9).map(|t| (t / 3 * 18 + t % 3) * 640).collect(),
                640,
                32,
            ),
            (
                64,
                8,
                512,
                (0..9).map(|t| (t / 3 * 10 + t % 3) * 512).collect(),
                512,
                32,
            ),
        ] {
            let line_stride = line * stride + 11;
            let a = numbers(count.div_ceil(line) * line_stride + taps[taps.len() - 1] + depth);
            let panel = numbers(taps.len() * depth * PANEL);
            for set in InstructionSet::available() {
                let mut sums = vec![f32::NAN; count * 40];
                let rows = Rows {
                    numbers: &a,
                    stride,
                    count,
                    line,
                    line_stride,
                    taps: &taps,
                    depth,
                    adds: false,
                    fetches: count > 100,
                };
                multiply_with(set, rows, &panel, 1, &mut sums, 40, columns);
                if taps.len() == 1 && line == count {
                    let mut in_pieces = vec![f32::NAN; count * 40];
                    for (at, piece) in rows.pieces(160) {
                        let panel = &panel[at * PANEL..];
                        multiply_with(set, piece, panel, 1, &mut in_pieces, 40, columns);
                    }
                    for (pieces, sums) in in_pieces.chunks(40).zip(sums.chunks(40)) {
                        let bits = |sums: &[f32]| -> Vec<u32> {
                            sums[..columns].iter().map(|x| x.to_bits()).collect()
                        };
                        assert_eq!(bits(pieces), bits(sums), "{set:?}: cut in pieces");
                    }
                }
                #[cfg(target_arch = "x86_64")]
                super::super::amx::rest();
                for r in 0..count {
                    for j in 0..columns {
                        let first = r / line * line_stride + r % line * stride;
                        let exact: f64 = (0..taps.len() * depth)
                            .map(|k| {
                                let a = a[first + taps[k / depth] + k % depth];
                                let b = panel[(k / 2 * PANEL + j) * 2 + k % 2];
                                a.to_f64() * b.to_f64()
                            })
                            .sum();
                        let got = f64::from(sums[r * 40 + j]);
                        assert!(
                            (got - exact).abs() < 1e-3,
                            "{set:?} row {r} column {j} of {depth}: {got} not {exact}"
                        );
                    }
                }
            }
        }
    }
}
