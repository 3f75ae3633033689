//! The inner loop of every matrix product: some rows times one panel of 32 columns.
//!
//! Each sum runs over the inner dimension from first to last in one accumulator, so how rows are grouped and how the
//! inner dimension is cut changes nothing in the result.

use super::panels::PANEL;
use super::simd::{InstructionSet, instruction_set};

/// Rows of the left-hand matrix as they lie in memory: row `r` is, for each tap in turn, the `depth` numbers from
/// `r * stride + tap` on. One tap of 0 is an ordinary matrix; the taps of a convolution make its rows overlap.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) stride: usize,
    pub(super) count: usize,
    pub(super) taps: &'a [usize],
    pub(super) depth: usize,
}

/// Longest part of the inner dimension done in one pass over the rows: its part of the panel stays in the cache.
const PASS_DEPTH: usize = 2048;

/// `sums[r * sums_stride + j] = rows[r] . panel[.., j]` for all rows and `j < 32`.
///
/// `panel`: `taps * depth` rows of 32.
pub(super) fn multiply(rows: Rows<'_>, panel: &[f32], sums: &mut [f32], sums_stride: usize) {
    multiply_with(instruction_set(), rows, panel, sums, sums_stride);
}

fn multiply_with(
    set: InstructionSet,
    rows: Rows<'_>,
    panel: &[f32],
    sums: &mut [f32],
    sums_stride: usize,
) {
    let Rows {
        numbers,
        stride,
        count,
        taps,
        depth,
    } = rows;
    if count == 0 {
        return;
    }
    let last_tap = taps.iter().max().expect("a product has at least one tap");
    // Everything that the unchecked reads and writes below rely on.
    assert!(
        (count - 1) * stride + last_tap + depth <= numbers.len(),
        "rows reach beyond their matrix"
    );
    assert!(
        taps.len() * depth * PANEL <= panel.len(),
        "panel is shorter than the inner dimension"
    );
    assert!(
        sums_stride >= PANEL && (count - 1) * sums_stride + PANEL <= sums.len(),
        "no room for the sums"
    );
    if depth == 0 {
        (0..count).for_each(|r| sums[r * sums_stride..][..PANEL].fill(0.0));
        return;
    }

    let piece = depth.min(PASS_DEPTH);
    let taps_at_once = if piece == depth {
        PASS_DEPTH / piece
    } else {
        1
    };
    let mut first = true;
    for (group, taps) in taps.chunks(taps_at_once).enumerate() {
        for from in (0..depth).step_by(piece) {
            let pass = Pass {
                taps,
                from,
                depth: piece.min(depth - from),
                stride,
                sums_stride,
                panel: &panel[(group * taps_at_once * depth + from) * PANEL..],
                add: !first,
            };
            pass.run(set, numbers, count, sums);
            first = false;
        }
    }
}

/// One pass over the rows with a part of the inner dimension.
struct Pass<'a> {
    taps: &'a [usize],
    from: usize,
    depth: usize,
    stride: usize,
    sums_stride: usize,
    panel: &'a [f32],
    add: bool,
}

impl Pass<'_> {
    fn run(&self, set: InstructionSet, numbers: &[f32], count: usize, sums: &mut [f32]) {
        let at_once = if set == InstructionSet::Avx512 { 14 } else { 6 };
        for row in (0..count).step_by(at_once) {
            let numbers = &numbers[row * self.stride..];
            let sums = &mut sums[row * self.sums_stride..];
            match set {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the processor has AVX-512 (`set`), and `multiply_with` asserted that rows, panel and sums
                // hold everything that `count` rows touch.
                InstructionSet::Avx512 => unsafe {
                    self.avx512(at_once.min(count - row), numbers, sums)
                },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the processor has AVX2 and FMA (`set`).
                InstructionSet::Avx2 => unsafe {
                    self.avx2(at_once.min(count - row), numbers, sums)
                },
                _ => self.any::<{ cfg!(target_arch = "aarch64") }>(
                    at_once.min(count - row),
                    numbers,
                    sums,
                ),
            }
        }
    }

    /// # Safety
    /// `numbers` and `sums` hold `rows` rows of this pass, `panel` its part of the inner dimension.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn avx512(&self, rows: usize, numbers: &[f32], sums: &mut [f32]) {
        let (a, c) = (numbers.as_ptr(), sums.as_mut_ptr());
        // SAFETY: handed on.
        unsafe {
            match rows {
                14 => self.avx512_rows::<14>(a, c),
                13 => self.avx512_rows::<13>(a, c),
                12 => self.avx512_rows::<12>(a, c),
                11 => self.avx512_rows::<11>(a, c),
                10 => self.avx512_rows::<10>(a, c),
                9 => self.avx512_rows::<9>(a, c),
                8 => self.avx512_rows::<8>(a, c),
                7 => self.avx512_rows::<7>(a, c),
                6 => self.avx512_rows::<6>(a, c),
                5 => self.avx512_rows::<5>(a, c),
                4 => self.avx512_rows::<4>(a, c),
                3 => self.avx512_rows::<3>(a, c),
                2 => self.avx512_rows::<2>(a, c),
                _ => self.avx512_rows::<1>(a, c),
            }
        }
    }

    /// # Safety
    /// `a` and `c` are readable and writable for `ROWS` rows of this pass.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn avx512_rows<const ROWS: usize>(&self, a: *const f32, c: *mut f32) {
        use std::arch::x86_64::{
            _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
        };
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        let mut b = self.panel.as_ptr();
        // SAFETY: all reads of `a`, `b` and `c` lie in the ranges that the caller vouches for: rows `0..ROWS`, the
        // taps plus `from + depth` numbers, 32 columns.
        unsafe {
            if self.add {
                for (r, sum) in sums.iter_mut().enumerate() {
                    sum[0] = _mm512_loadu_ps(c.add(r * self.sums_stride));
                    sum[1] = _mm512_loadu_ps(c.add(r * self.sums_stride + 16));
                }
            }
            for &tap in self.taps {
                let a = a.add(tap + self.from);
                for k in 0..self.depth {
                    let (b0, b1) = (_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16)));
                    b = b.add(PANEL);
                    for (r, sum) in sums.iter_mut().enumerate() {
                        // Known not to overflow; a check would stand in the innermost loop of all.
                        let v = _mm512_set1_ps(*a.add(r.wrapping_mul(self.stride).wrapping_add(k)));
                        sum[0] = _mm512_fmadd_ps(v, b0, sum[0]);
                        sum[1] = _mm512_fmadd_ps(v, b1, sum[1]);
                    }
                }
            }
            for (r, sum) in sums.iter().enumerate() {
                _mm512_storeu_ps(c.add(r * self.sums_stride), sum[0]);
                _mm512_storeu_ps(c.add(r * self.sums_stride + 16), sum[1]);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(&self, rows: usize, numbers: &[f32], sums: &mut [f32]) {
        self.any::<true>(rows, numbers, sums);
    }

    /// The same in plain Rust, half a panel at a time; compiled for what the caller's instructions are.
    #[inline(always)]
    fn any<const FUSED: bool>(&self, rows: usize, numbers: &[f32], sums: &mut [f32]) {
        for half in [0, PANEL / 2] {
            match rows {
                6 => self.any_rows::<6, FUSED>(half, numbers, sums),
                5 => self.any_rows::<5, FUSED>(half, numbers, sums),
                4 => self.any_rows::<4, FUSED>(half, numbers, sums),
                3 => self.any_rows::<3, FUSED>(half, numbers, sums),
                2 => self.any_rows::<2, FUSED>(half, numbers, sums),
                _ => self.any_rows::<1, FUSED>(half, numbers, sums),
            }
        }
    }

    #[inline(always)]
    fn any_rows<const ROWS: usize, const FUSED: bool>(
        &self,
        half: usize,
        numbers: &[f32],
        sums: &mut [f32],
    ) {
        const HALF: usize = PANEL / 2;
        let mut totals = [[0f32; HALF]; ROWS];
        if self.add {
            for (r, total) in totals.iter_mut().enumerate() {
                total.copy_from_slice(&sums[r * self.sums_stride + half..][..HALF]);
            }
        }
        for (t, &tap) in self.taps.iter().enumerate() {
            let rows: [&[f32]; ROWS] = std::array::from_fn(|r| {
                &numbers[r * self.stride + tap + self.from..][..self.depth]
            });
            let panel =
                self.panel[t * self.depth * PANEL..][..self.depth * PANEL].chunks_exact(PANEL);
            for (k, b) in panel.enumerate() {
                let b: &[f32; HALF] = b[half..].first_chunk().expect("half a panel's row");
                for (row, total) in rows.iter().zip(&mut totals) {
                    let v = row[k];
                    for (sum, &b) in total.iter_mut().zip(b) {
                        *sum = if FUSED {
                            v.mul_add(b, *sum)
                        } else {
                            v * b + *sum
                        };
                    }
                }
            }
        }
        for (r, total) in totals.iter().enumerate() {
            sums[r * self.sums_stride + half..][..HALF].copy_from_slice(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 % 1013) as f32 - 506.0) / 509.0)
            .collect()
    }

    /// Every instruction set of this machine, against sums in `f64`; rows that overlap, and a cut inner dimension.
    #[test]
    fn products_are_right_on_every_instruction_set() {
        let mut sets = vec![InstructionSet::Portable];
        if instruction_set() != InstructionSet::Portable {
            sets.push(InstructionSet::Avx2);
        }
        if instruction_set() == InstructionSet::Avx512 {
            sets.push(InstructionSet::Avx512);
        }
        for (count, stride, taps, depth) in [
            (1, 3, vec![0], 3),
            (31, 5, vec![0, 17, 40], 15),
            (15, 9, vec![2], 1),
            (3, 7, vec![0, 9], 5000),
        ] {
            let a = numbers((count - 1) * stride + taps[taps.len() - 1] + depth);
            let panel = numbers(taps.len() * depth * PANEL);
            for &set in &sets {
                let mut sums = vec![f32::NAN; count * 40];
                let rows = Rows {
                    numbers: &a,
                    stride,
                    count,
                    taps: &taps,
                    depth,
                };
                multiply_with(set, rows, &panel, &mut sums, 40);
                for r in 0..count {
                    for j in 0..PANEL {
                        let exact: f64 = taps
                            .iter()
                            .enumerate()
                            .flat_map(|(t, tap)| (0..depth).map(move |k| (t * depth + k, tap + k)))
                            .map(|(row, at)| {
                                f64::from(a[r * stride + at]) * f64::from(panel[row * PANEL + j])
                            })
                            .sum();
                        let got = f64::from(sums[r * 40 + j]);
                        assert!(
                            (got - exact).abs() < 1e-3,
                            "{set:?} row {r} column {j}: {got} not {exact}"
                        );
                    }
                }
            }
        }
    }
}
