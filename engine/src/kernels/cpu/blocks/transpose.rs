//! Rows to columns, sixteen at a time.

/// Side of a square that is turned at once: a vector of AVX-512.
const SIDE: usize = 16;

/// `to[k][j] = from[j][k]` for columns of `to` from `at` on: 16 rows of 16 words become columns.
#[inline(always)]
pub(super) fn square<const WIDTH: usize, const TO: usize>(
    from: &[[u32; WIDTH]],
    first: usize,
    to: &mut [[u32; TO]],
    at: usize,
) {
    assert!(
        from.len() == SIDE && to.len() == SIDE && first + SIDE <= WIDTH && at + SIDE <= TO,
        "a square that is not there"
    );
    #[cfg(target_arch = "x86_64")]
    {
        use super::super::simd::{InstructionSet, instruction_set};
        if matches!(
            instruction_set(),
            InstructionSet::Amx | InstructionSet::Avx512Bf16 | InstructionSet::Avx512
        ) {
            // SAFETY: the processor has AVX-512; 16 rows of 16 words are in both (asserted).
            unsafe {
                let from = from.as_ptr().cast::<u32>().add(first);
                let to = to.as_mut_ptr().cast::<u32>().add(at);
                avx512(from, WIDTH, to, TO);
            }
            return;
        }
    }
    for (k, row) in to.iter_mut().enumerate() {
        for (to, from) in row[at..at + SIDE].iter_mut().zip(from) {
            *to = from[first + k];
        }
    }
}

/// # Safety
/// 16 rows of 16 words are readable at `from`, writable at `to`, so many words apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
    use std::arch::x86_64::{
        _mm512_loadu_si512, _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_unpackhi_epi32,
        _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    };
    // SAFETY: the rows are there (this function's contract).
    let row = |j: usize| unsafe { _mm512_loadu_si512(from.add(j * from_stride).cast()) };
    // Within each quarter of the vectors: words of two rows, then of four.
    let mut fours = [row(0); SIDE];
    for group in 0..4 {
        let [a, b, c, d] = std::array::from_fn(|j| row(4 * group + j));
        let (ab, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (cd, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        fours[4 * group] = _mm512_unpacklo_epi64(ab, cd);
        fours[4 * group + 1] = _mm512_unpackhi_epi64(ab, cd);
        fours[4 * group + 2] = _mm512_unpacklo_epi64(ab_high, cd_high);
        fours[4 * group + 3] = _mm512_unpackhi_epi64(ab_high, cd_high);
    }
    // `fours[4 * group + k]` has number `4 * q + k` of the group's rows in its quarter `q`.
    for k in 0..4 {
        let [a, b, c, d] = std::array::from_fn(|group| fours[4 * group + k]);
        let (ab, ab_odd) = (
            _mm512_shuffle_i32x4::<0x88>(a, b),
            _mm512_shuffle_i32x4::<0xdd>(a, b),
        );
        let (cd, cd_odd) = (
            _mm512_shuffle_i32x4::<0x88>(c, d),
            _mm512_shuffle_i32x4::<0xdd>(c, d),
        );
        let rows = [
            (k, _mm512_shuffle_i32x4::<0x88>(ab, cd)),
            (4 + k, _mm512_shuffle_i32x4::<0x88>(ab_odd, cd_odd)),
            (8 + k, _mm512_shuffle_i32x4::<0xdd>(ab, cd)),
            (12 + k, _mm512_shuffle_i32x4::<0xdd>(ab_odd, cd_odd)),
        ];
        for (row, words) in rows {
            // SAFETY: the row is there (this function's contract).
            unsafe { _mm512_storeu_si512(to.add(row * to_stride).cast(), words) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(j: usize, k: usize) -> u32 {
        u32::try_from(100 * j + k).unwrap()
    }

    #[test]
    fn rows_become_columns_and_nothing_else_is_written() {
        let from: [[u32; 40]; SIDE] =
            std::array::from_fn(|j| std::array::from_fn(|k| number(j, k)));
        let mut to = [[7; 33]; SIDE];
        square(&from, 24, &mut to, 17);
        for (k, row) in to.iter().enumerate() {
            for (column, word) in row.iter().enumerate() {
                let expected = match column.checked_sub(17) {
                    Some(j) if j < SIDE => number(j, 24 + k),
                    _ => 7,
                };
                assert_eq!(*word, expected, "{k} {column}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "a square that is not there")]
    fn squares_end_with_their_rows() {
        square(&[[0_u32; 20]; SIDE], 5, &mut [[0; 32]; SIDE], 0);
    }
}
