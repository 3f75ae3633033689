//! The inner loop of every matrix product: some rows times one panel of 32 columns.
//!
//! Each sum runs over the inner dimension from first to last in one accumulator, so how rows are grouped and how the
//! inner dimension is cut changes nothing in the result.

use super::ahead::Ahead;
use super::panels::PANEL;
use super::simd::{InstructionSet, instruction_set};

/// Rows of the left-hand matrix as they lie in memory: row `r` begins at
/// `r / line * line_stride + r % line * stride` and is, for each tap in turn, the `depth` numbers from there plus `tap`
/// on. One tap of 0 and one line is an ordinary matrix; the taps of a convolution make its rows overlap.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    pub(super) numbers: &'a [T],
    pub(super) stride: usize,
    pub(super) count: usize,
    /// Rows of a line, at least 1; the last line may be shorter.
    pub(super) line: usize,
    pub(super) line_stride: usize,
    pub(super) taps: &'a [usize],
    pub(super) depth: usize,
    /// The products are added to the sums that are there.
    pub(super) adds: bool,
    /// What comes after the panel is fetched while it is used. Where rows are few, panels come from memory, and this is
    /// how long they take.
    pub(super) fetches: bool,
}

impl<'a, T> Rows<'a, T> {
    /// An ordinary matrix of `count` rows of `depth` numbers, row after row.
    pub(super) fn matrix(numbers: &'a [T], count: usize, stride: usize, depth: usize) -> Self {
        Self {
            numbers,
            stride,
            count,
            line: count.max(1),
            line_stride: 0,
            taps: &[0],
            depth,
            adds: false,
            fetches: false,
        }
    }

    /// The first `count` rows of a matrix, and the others.
    pub(super) fn split(self, count: usize) -> (Self, Self) {
        let part = |from: usize, count| Self {
            numbers: &self.numbers[from * self.stride..],
            count,
            line: count,
            ..self
        };
        (part(0, count), part(count, self.count - count))
    }

    /// Some numbers of each row at a time, with where they begin; the second piece adds to the sums of the first, and so on.
    /// For a matrix.
    pub(super) fn pieces(self, depth: usize) -> impl Iterator<Item = (usize, Self)>
    where
        T: 'a,
    {
        // One at least: without an inner dimension the sums are 0.
        (0..self.depth.max(1))
            .step_by(depth.max(1))
            .map(move |from| {
                let piece = Self {
                    numbers: &self.numbers[from..],
                    depth: depth.min(self.depth - from),
                    adds: from > 0,
                    ..self
                };
                (from, piece)
            })
    }

    /// Panics unless all rows lie in their numbers, `numbers` are enough for `panels` panels, and `sums` for their sums.
    /// Everything that unchecked reads and writes of the kernels rely on.
    pub(super) fn check(&self, numbers: usize, panels: usize, sums: usize, sums_stride: usize) {
        let last_tap = self
            .taps
            .iter()
            .max()
            .expect("a product has at least one tap");
        let last_line = (self.count - 1) / self.line;
        let longest = self.line.min(self.count) - 1;
        let last_of_last = (self.count - 1) % self.line;
        let end = (last_line * self.line_stride + last_of_last * self.stride)
            .max(last_line.saturating_sub(1) * self.line_stride + longest * self.stride);
        assert!(
            end + last_tap + self.depth <= self.numbers.len(),
            "rows reach beyond their matrix"
        );
        assert!(
            panels * self.taps.len() * self.depth * PANEL <= numbers,
            "panel is shorter than the inner dimension"
        );
        assert!(
            sums_stride >= panels * PANEL
                && (self.count - 1) * sums_stride + panels * PANEL <= sums,
            "no room for the sums"
        );
    }

    /// The lines one after the other, each an ordinary run of rows, with the number of its first row.
    pub(super) fn lines(self) -> impl Iterator<Item = (usize, Self)>
    where
        T: 'a,
    {
        (0..self.count).step_by(self.line).map(move |row| {
            let count = self.line.min(self.count - row);
            let line = Self {
                numbers: &self.numbers[row / self.line * self.line_stride..],
                count,
                line: count,
                line_stride: 0,
                ..self
            };
            (row, line)
        })
    }
}

/// Longest part of the inner dimension done in one pass over the rows: its part of the panel stays in the cache.
const PASS_DEPTH: usize = 256;

/// `sums[r * sums_stride + p * 32 + j] = rows[r] . panel[p][.., j]` for all rows, `count` panels and `j < 32`.
///
/// Each of `panels`: `taps * depth` rows of 32.
pub(super) fn multiply(
    rows: Rows<'_, f32>,
    panels: &[f32],
    count: usize,
    sums: &mut [f32],
    sums_stride: usize,
) {
    let panel_len = rows.taps.len() * rows.depth * PANEL;
    for p in 0..count {
        let panel = &panels[p * panel_len..][..panel_len];
        multiply_with(
            instruction_set(),
            rows,
            panel,
            &mut sums[p * PANEL..],
            sums_stride,
        );
    }
}

fn multiply_with(
    set: InstructionSet,
    rows: Rows<'_, f32>,
    panel: &[f32],
    sums: &mut [f32],
    sums_stride: usize,
) {
    if rows.count == 0 {
        return;
    }
    rows.check(panel.len(), 1, sums.len(), sums_stride);
    if rows.depth == 0 {
        if !rows.adds {
            (0..rows.count).for_each(|r| sums[r * sums_stride..][..PANEL].fill(0.0));
        }
        return;
    }
    let line = rows.line.min(rows.count);
    let groups = rows.count.div_ceil(line) * line.div_ceil(at_once(set, line));
    for pass in passes(rows.taps, rows.depth, PASS_DEPTH) {
        let at = pass.first_tap * rows.depth + pass.from;
        let len = pass.taps * pass.depth * PANEL;
        let next = panel.as_ptr().wrapping_add(at * PANEL + len);
        let mut ahead = if rows.fetches {
            Ahead::new(next, len, groups)
        } else {
            Ahead::none()
        };
        for (row, line) in rows.lines() {
            let pass = Pass {
                taps: &rows.taps[pass.first_tap..][..pass.taps],
                from: pass.from,
                depth: pass.depth,
                stride: rows.stride,
                sums_stride,
                panel: &panel[at * PANEL..],
                add: rows.adds || at > 0,
            };
            pass.run(
                set,
                line.numbers,
                line.count,
                &mut sums[row * sums_stride..],
                &mut ahead,
            );
        }
    }
}

/// Rows of a line of `count` that are done together.
fn at_once(set: InstructionSet, count: usize) -> usize {
    use InstructionSet::{Amx, Avx512, Avx512Bf16};
    let is_avx512 = matches!(set, Amx | Avx512Bf16 | Avx512);
    evenly(count, if is_avx512 { 14 } else { 6 })
}

/// Rows at a time, at most `most`, so that none of the groups is much smaller than the others: eight and eight make better
/// use of the registers than fourteen and two.
pub(super) fn evenly(count: usize, most: usize) -> usize {
    count.div_ceil(count.div_ceil(most).max(1)).max(1)
}

/// Which part of the inner dimension is done in one pass over the rows.
pub(super) struct PassPart {
    pub(super) first_tap: usize,
    pub(super) taps: usize,
    /// First number of each tap.
    pub(super) from: usize,
    /// Numbers of each tap.
    pub(super) depth: usize,
}

/// Cuts the inner dimension into parts of about `most` numbers: some taps, or a part of one.
pub(super) fn passes(taps: &[usize], depth: usize, most: usize) -> impl Iterator<Item = PassPart> {
    let piece = depth.min(most);
    let at_once = if piece == depth { most / piece } else { 1 };
    let count = taps.len();
    (0..count).step_by(at_once).flat_map(move |first_tap| {
        (0..depth).step_by(piece).map(move |from| PassPart {
            first_tap,
            taps: at_once.min(count - first_tap),
            from,
            depth: piece.min(depth - from),
        })
    })
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
    fn run(
        &self,
        set: InstructionSet,
        numbers: &[f32],
        count: usize,
        sums: &mut [f32],
        ahead: &mut Ahead,
    ) {
        use InstructionSet::{Amx, Avx512, Avx512Bf16};
        let at_once = at_once(set, count);
        for row in (0..count).step_by(at_once) {
            ahead.begin();
            let numbers = &numbers[row * self.stride..];
            let sums = &mut sums[row * self.sums_stride..];
            match set {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the processor has AVX-512 (`set`), and `multiply_with` asserted that rows, panel and sums
                // hold everything that `count` rows touch.
                Amx | Avx512Bf16 | Avx512 => unsafe {
                    self.avx512(at_once.min(count - row), numbers, sums, ahead)
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
    unsafe fn avx512(&self, rows: usize, numbers: &[f32], sums: &mut [f32], ahead: &mut Ahead) {
        let (a, c) = (numbers.as_ptr(), sums.as_mut_ptr());
        // SAFETY: handed on.
        unsafe {
            match rows {
                14 => self.avx512_rows::<14>(a, c, ahead),
                13 => self.avx512_rows::<13>(a, c, ahead),
                12 => self.avx512_rows::<12>(a, c, ahead),
                11 => self.avx512_rows::<11>(a, c, ahead),
                10 => self.avx512_rows::<10>(a, c, ahead),
                9 => self.avx512_rows::<9>(a, c, ahead),
                8 => self.avx512_rows::<8>(a, c, ahead),
                7 => self.avx512_rows::<7>(a, c, ahead),
                6 => self.avx512_rows::<6>(a, c, ahead),
                5 => self.avx512_rows::<5>(a, c, ahead),
                4 => self.avx512_rows::<4>(a, c, ahead),
                3 => self.avx512_rows::<3>(a, c, ahead),
                2 => self.avx512_rows::<2>(a, c, ahead),
                _ => self.avx512_rows::<1>(a, c, ahead),
            }
        }
    }

    /// # Safety
    /// `a` and `c` are readable and writable for `ROWS` rows of this pass.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn avx512_rows<const ROWS: usize>(&self, a: *const f32, c: *mut f32, ahead: &mut Ahead) {
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
                    ahead.go_on(k);
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
        for (count, stride, taps, depth) in [
            (1, 3, vec![0], 3),
            (31, 5, vec![0, 17, 40], 15),
            (15, 9, vec![2], 1),
            (17, 700, vec![0], 1000),
            (3, 7, vec![0, 9], 5000),
        ] {
            let a = numbers((count - 1) * stride + taps[taps.len() - 1] + depth);
            let panel = numbers(taps.len() * depth * PANEL);
            for set in InstructionSet::available() {
                let mut sums = vec![f32::NAN; count * 40];
                let rows = Rows {
                    taps: &taps,
                    ..Rows::matrix(&a, count, stride, depth)
                };
                multiply_with(set, rows, &panel, &mut sums, 40);
                if taps.len() == 1 {
                    let mut in_pieces = vec![f32::NAN; count * 40];
                    for (at, piece) in rows.pieces(300) {
                        multiply_with(set, piece, &panel[at * PANEL..], &mut in_pieces, 40);
                    }
                    let bits = |sums: &[f32]| sums.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&in_pieces), bits(&sums), "{set:?}: cut in pieces");
                }
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
